/**
 * A chain of models as one: each is asked in turn until one begins to answer. Owns the order and how long a model that
 * failed is left out; never asks another one after the first part, and never waits (retries are the loop's).
 */
import { ModelError } from "./model.ts";
import type { Model, ModelPart, ModelRequest } from "./model.ts";

export interface FallbackOptions {
  /** How long a model that failed for reasons of its own comes last, ms. Default 30 000; its retry-after if longer. */
  readonly coolDownMs?: number;
  /** ms; Date.now unless told. */
  readonly now?: () => number;
}

/** What of an agent chooses its model. */
export interface ModelNames {
  readonly model: string;
  readonly fallback?: readonly string[] | undefined;
}

/** The model of each agent, made of those that `find` knows by name; one chain per definition, for what it remembers. */
export function chooseModels<T extends ModelNames>(find: (name: string) => Model): (agent: T) => Model {
  const chains = new WeakMap<T, Model>();
  return (agent) => {
    const { model, fallback = [] } = agent;
    if (fallback.length === 0) return find(model);
    let chain = chains.get(agent);
    if (chain === undefined) {
      chain = withFallback([find(model), ...fallback.map(find)]);
      chains.set(agent, chain);
    }
    return chain;
  };
}

/** Failures of this request alone: the next one may well succeed. */
const OF_THE_REQUEST = new Set(["bad-request", "context-overflow", "refused", "unsupported"]);

/** The chain is known by the name of its first model; the part that finishes an answer names who gave it. */
export function withFallback(models: readonly [Model, ...Model[]], options: FallbackOptions = {}): Model {
  const { coolDownMs = 30_000, now = Date.now } = options;
  const [first] = models;
  if (models.length === 1) return first;
  const restUntil = new Map<Model, number>();
  const rested = (model: Model): number => (now() < (restUntil.get(model) ?? 0) ? 1 : 0);

  async function* stream(request: ModelRequest, signal: AbortSignal): AsyncGenerator<ModelPart, void> {
    let failed: unknown;
    const errors: ModelError[] = [];
    for (const model of models.toSorted((a, b) => rested(a) - rested(b))) {
      let begun = false;
      try {
        for await (const part of model.stream(request, signal)) {
          begun = true;
          yield part.type === "finish" ? { ...part, model: part.model ?? model.id } : part;
        }
        return;
      } catch (error) {
        if (begun || signal.aborted) throw error;
        failed = error;
        if (error instanceof ModelError) errors.push(error);
        const code = error instanceof ModelError ? error.code : "internal";
        if (!OF_THE_REQUEST.has(code)) {
          const retryAfterMs = error instanceof ModelError ? (error.retryAfterMs ?? 0) : 0;
          restUntil.set(model, now() + Math.max(coolDownMs, retryAfterMs));
        }
      }
    }
    throw summary(errors) ?? failed;
  }

  return { id: first.id, stream };
}

/** The failure that gives most hope: the soonest retry, else what the first model said. */
function summary(errors: readonly ModelError[]): ModelError | undefined {
  const hopeful = errors.filter((error) => error.retryable);
  const wait = (error: ModelError): number => error.retryAfterMs ?? 0;
  return hopeful.toSorted((a, b) => wait(a) - wait(b))[0] ?? errors[0];
}
