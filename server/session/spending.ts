/**
 * What is used in a user's name: which entries count and for whom, what is left of a budget, and what a user may be told.
 * Owns that the sender of a run bears what it uses, and whoever asks for a summary what that does. The sums are the store's.
 */
import type { Actor, Usage } from "../../protocol/content.ts";
import type { EventFrame } from "../../protocol/entries.ts";
import type { OpenRun, ResultOf } from "../../protocol/frames.ts";
import type { Tally } from "../../protocol/lists.ts";
import { dayOf } from "../../protocol/usage.ts";
import { listedBudget, sessionOverrun, userOverrun, type Budgets, type Overrun } from "../agent/budget.ts";
import type { Store } from "../store/store.ts";

/** Days that are told of, today among them. */
const TOLD_DAYS = 31;
const DAY_MS = 86_400_000;

/** What an entry adds to a user's tally; `run`: the one that was open as it came. */
export function tallyOf(entry: EventFrame, run: OpenRun | undefined): Tally | undefined {
  const usage = usageOf(entry);
  const actor = entry.run === undefined ? entry.actor : run?.actor;
  if (usage === undefined || actor?.kind !== "user") return undefined;
  return { user: actor.id, day: dayOf(entry.at), usage };
}

/** The same that fold adds to the session's. */
function usageOf({ event }: EventFrame): Usage | undefined {
  return event.type === "step-finished" || event.type === "compacted" ? event.usage : undefined;
}

export class Spending {
  readonly #store: Pick<Store, "spent">;
  readonly #budgets: Budgets;
  readonly #now: () => number;

  constructor(store: Pick<Store, "spent">, budgets: Budgets, now: () => number) {
    this.#store = store;
    this.#budgets = budgets;
    this.#now = now;
  }

  /** What keeps a model from being called for this session in this user's name, if anything. */
  async overrun(usage: Usage | undefined, { kind, id }: Actor): Promise<Overrun | undefined> {
    const over = sessionOverrun(usage, this.#budgets);
    if (over !== undefined || this.#budgets.user === undefined || kind !== "user") return over;
    const now = this.#now();
    return userOverrun(await this.#store.spent(id, dayOf(now)), this.#budgets, now);
  }

  /** What was used in a user's name, the newest day first. */
  async of(user: string): Promise<ResultOf<"usage">> {
    const since = Math.max(0, dayOf(this.#now()) - (TOLD_DAYS - 1) * DAY_MS);
    const { total, days } = await this.#store.spent(user, since);
    const budget = listedBudget(this.#budgets);
    return { user, total, days: days.toReversed(), ...(budget === undefined ? {} : { budget }) };
  }
}
