/**
 * A client's person in chaos: what it does when it is shown a request, by what was drawn for it: approves, edits, denies,
 * contradicts itself, comes late or at the instant of expiry. Owns when it says what; the answers are ./chaos-player.ts's.
 */
import type { JsonValue } from "../../protocol/content.ts";
import type { EntryBody, EntryBodyOf } from "../../protocol/entries.ts";
import { deferred, type Deferred } from "../support/wait.ts";
import type { Player, Said } from "./chaos-player.ts";
import type { Reaction } from "./chaos-schedule.ts";

/** By when a question is answered that somebody must answer, for it expires only after an hour. */
const ANSWER_MS = 100;

export class Answerer {
  readonly #player: Player;
  readonly #reactions: readonly Reaction[];
  readonly #always: boolean;
  /** Requests that it was shown and not the end of. */
  readonly #open = new Map<string, Deferred<void>>();
  #seen = 0;
  #saying = 0;

  /** `always`: it answers every question. */
  constructor(player: Player, reactions: readonly Reaction[], always: boolean) {
    this.#player = player;
    this.#reactions = reactions;
    this.#always = always;
  }

  /** It has something to say yet, or waits for the reply. */
  get busy(): boolean {
    return this.#saying > 0;
  }

  /** Told of every entry that its client is shown, in order. */
  see(event: EntryBody): void {
    if (event.type === "request-resolved") {
      this.#open.get(event.request)?.resolve();
      this.#open.delete(event.request);
    } else if (event.type === "request-opened") {
      this.#open.set(event.request, deferred());
      this.#saying++;
      this.#react(event, this.#reactions[this.#seen++ % this.#reactions.length]!)
        .catch((error: unknown) => this.#player.problems.push(String(error)))
        .finally(() => this.#saying--);
    }
  }

  async #react(asked: EntryBodyOf<"request-opened">, { kind, ms }: Reaction): Promise<void> {
    const { request, expiresAt } = asked;
    const say = (said: Said): Promise<void> => this.#player.answer(request, said);
    const yes = yesTo(asked, kind === "edit");
    const no = { decision: "deny", reason: `${this.#player.client.name} said ${kind}` } as const;
    if (asked.kind === "question" && (kind === "at-expiry" || this.#always)) await pause(ANSWER_MS);
    else if (kind === "none") return;
    else if (kind === "late") await this.#open.get(request)?.promise;
    else if (kind === "at-expiry") await pause(expiresAt - Date.now());
    else await pause(ms);
    if (kind === "twice") await Promise.all([say(yes), say(yes)]);
    else if (kind === "both") await Promise.all([say(yes), say(no)]);
    else await say(kind === "deny" ? no : yes);
  }
}

function yesTo({ kind, subject }: EntryBodyOf<"request-opened">, edits: boolean): Said {
  if (kind === "question") return { answers: { go: edits ? "no" : "yes", why: "chaos" } };
  if (!edits) return { decision: "approve" };
  const { input } = subject as { input: Record<string, JsonValue> };
  return { decision: "approve", input: { ...input, edited: true } };
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, Math.max(0, ms)));
}
