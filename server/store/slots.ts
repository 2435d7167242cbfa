/**
 * The two slots of a session that are not part of its log: the checkpoint and the snapshot. Owns their way to the disk:
 * all that wait go in one write, not fsynced, in the order given. Never blocks an append for longer than that write.
 */
import type { Lane } from "./lane.ts";
import type { Owners } from "./owners.ts";

interface Slot {
  readonly id: string;
  readonly epoch: number;
  readonly key: Buffer;
  /** null clears the slot. */
  readonly value: Buffer | null;
  readonly resolve: (written: boolean) => void;
  readonly reject: (error: unknown) => void;
}

const NO_IDS: ReadonlySet<string> = new Set();

export class Slots {
  readonly #lane: Lane;
  readonly #owners: Owners<unknown>;
  #waiting: Slot[] = [];

  constructor(lane: Lane, owners: Owners<unknown>) {
    this.#lane = lane;
    this.#owners = owners;
  }

  /** False: the grant is gone. */
  write(
    grant: { readonly id: string; readonly epoch: number },
    key: Buffer,
    value: Buffer | null,
  ): Promise<boolean> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ id: grant.id, epoch: grant.epoch, key, value, resolve, reject });
      if (this.#waiting.length === 1) void this.#flush();
    });
  }

  async #flush(): Promise<void> {
    let taken: Slot[] = [];
    try {
      const written = await this.#lane.write({
        ids: NO_IDS,
        sync: false,
        prepare: async () => {},
        build: (batch) => {
          taken = this.#waiting;
          this.#waiting = [];
          const passed = taken.map((slot) => this.#owners.under(slot) !== undefined);
          taken.forEach(({ key, value }, at) => {
            if (!passed[at]) return;
            if (value === null) batch.del(key);
            else batch.put(key, value);
          });
          return { result: passed };
        },
      });
      taken.forEach((slot, at) => slot.resolve(written[at] === true));
    } catch (error) {
      if (taken.length === 0) {
        taken = this.#waiting;
        this.#waiting = [];
      }
      for (const slot of taken) slot.reject(error);
    }
  }
}
