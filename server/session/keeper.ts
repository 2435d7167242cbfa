/**
 * Keeps the floor from whoever has left: looks whenever the floor changes or who is here, and gives it back to nobody when
 * its holder stays away. Owns that wait alone; who may have the floor is decided in floor.ts.
 */
import type { EntryBody } from "../../protocol/entries.ts";
import type { SessionState } from "../../protocol/frames.ts";
import { floorOf } from "../../protocol/queue.ts";
import type { Presence } from "./presence.ts";

export interface FloorOptions {
  /** How long whoever holds the floor may be away before nobody holds it, ms (10 000). */
  readonly floorGraceMs?: number;
}

/** What it needs of its session. */
export interface KeptSession {
  readonly state: SessionState;
  readonly presence: Pick<Presence, "find">;
  exclusive<T>(command: () => Promise<T>): Promise<T>;
  append(entries: readonly { readonly body: EntryBody }[]): Promise<unknown>;
  background(work: () => Promise<void>, fault: string): void;
}

/** Watches over the holder: who is away for too long holds the floor no more. */
export class FloorKeeper {
  readonly #session: KeptSession;
  readonly #graceMs: number;
  readonly #after: (ms: number, work: () => void) => () => void;
  #awaited: string | undefined;
  #endWait: () => void = () => {};

  constructor(
    session: KeptSession,
    after: (ms: number, work: () => void) => () => void,
    options: FloorOptions = {},
  ) {
    this.#session = session;
    this.#after = after;
    this.#graceMs = options.floorGraceMs ?? 10_000;
  }

  /** The floor has changed, or who is here. */
  look(): void {
    const { holder } = floorOf(this.#session.state);
    const away =
      holder !== undefined && this.#session.presence.find(holder) === undefined ? holder : undefined;
    if (away === this.#awaited) return;
    this.#endWait();
    this.#awaited = away;
    if (away === undefined) return;
    this.#endWait = this.#after(this.#graceMs, () => {
      this.#awaited = undefined;
      this.#session.background(() => this.#free(away), "the floor of who left could not be freed");
    });
  }

  #free(holder: string): Promise<void> {
    const session = this.#session;
    return session.exclusive(async () => {
      const floor = floorOf(session.state);
      if (floor.holder !== holder || session.presence.find(holder) !== undefined) return;
      await session.append([{ body: { type: "floor-changed", mode: floor.mode } }]);
    });
  }
}
