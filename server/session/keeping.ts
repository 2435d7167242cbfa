/**
 * When the folded state of a session is stored: every so many entries while it is in memory, so that a process that is
 * killed leaves little to fold, and when it leaves memory. Owns that measure; no append waits for it, and it goes with
 * whatever else the store writes without fsync.
 */
import type { SessionState } from "../../protocol/frames.ts";
import type { Log } from "../observe/log.ts";
import type { Grant, Store } from "../store/store.ts";
import { encodeState } from "./stored.ts";

const SNAPSHOT_EVERY = 500;
/** Fewer entries since than this are folded again at less than the state's write. */
const WORTH_IT = 64;
/** A state is stored anew once the entries since are this part of it: what is written stays in proportion to the log. */
const SHARE = 1 / 8;

export class StateKeeper {
  readonly #store: Pick<Store, "snapshot">;
  readonly #log: Log;
  readonly #every: number;
  /** Of the state that is stored. */
  #seq: number;
  #size = 0;
  /** Bytes of the entries since. */
  #bytes = 0;
  #storing = false;

  /** `every`: entries between two stored states; 500 unless told. `seq`: as of which one is stored already. */
  constructor(services: { store: Pick<Store, "snapshot">; log: Log }, every = SNAPSHOT_EVERY, seq = 0) {
    this.#store = services.store;
    this.#log = services.log;
    this.#every = every;
    this.#seq = seq;
  }

  /** Entries of so many bytes were committed, and led to this state. */
  added(grant: Grant, state: SessionState, bytes: number): void {
    this.#bytes += bytes;
    if (this.#storing || state.seq - this.#seq < this.#every || this.#bytes < this.#size * SHARE) return;
    this.#storing = true;
    this.#keep(grant, state)
      .catch((error: unknown) =>
        this.#log.warn({ session: grant.id, err: error }, "a state could not be stored"),
      )
      .finally(() => (this.#storing = false));
  }

  /** The session leaves memory. */
  async leave(grant: Grant, state: SessionState): Promise<void> {
    if (state.seq - this.#seq >= WORTH_IT) await this.#keep(grant, state);
  }

  async #keep(grant: Grant, state: SessionState): Promise<void> {
    this.#seq = state.seq;
    this.#bytes = 0;
    const body = await encodeState(state);
    this.#size = body.length;
    await this.#store.snapshot(grant, state.seq, body);
  }
}
