/**
 * The model of an agent as a runtime serves it. Owns the order in which what stands around a model is put there: its
 * fallbacks, the guard over the files that it is shown, its price. Never asks one.
 */
import type { Agent } from "../agent/agent.ts";
import { FileGuard } from "../model/addresses.ts";
import { chooseModels } from "../model/fallback.ts";
import { guarded } from "../model/guarded.ts";
import type { Model } from "../model/model.ts";
import { priced } from "../model/prices.ts";
import type { RuntimeOptions } from "./options.ts";

/** `model`: for agents that name none of the options' own. */
export function servedModels(model: Model, options: RuntimeOptions): (agent: Agent) => Model {
  const choose = chooseModels((name) => options.models?.(name) ?? model);
  const files = new FileGuard(options);
  return (agent) => priced(guarded(choose(agent), files), options.prices);
}
