/**
 * The checkpoint of a session: unfinished text in the one slot that the store has for it, about once a second. Owns when it
 * is written and its form; never the log. What is in the slot is only ever shown or taken back, so it is not fsynced.
 */
import { decodeTrusted, encodeFrame } from "../../protocol/codec.ts";
import type { Partial } from "../../protocol/frames.ts";
import type { Log } from "../observe/log.ts";
import type { Grant, Store } from "../store/store.ts";
import type { Deadlines } from "../tool/deadlines.ts";

const CHECKPOINT_MS = 1000;

export interface Checkpoint {
  /** The head when it was written. */
  readonly seq: number;
  /** The step that `partial` is a message of. */
  readonly step: number;
  readonly partial?: Partial | undefined;
  /** The process stopped on purpose: going on does not count as a restart of the step. */
  readonly planned?: true | undefined;
}

export function decodeCheckpoint(body: Uint8Array | undefined): Checkpoint | undefined {
  return body && (decodeTrusted(body) as Checkpoint);
}

export class Checkpointer {
  readonly #services: { readonly store: Store; readonly deadlines: Deadlines; readonly log: Log };
  #due: (() => void) | undefined;

  constructor(services: { readonly store: Store; readonly deadlines: Deadlines; readonly log: Log }) {
    this.#services = services;
  }

  /** Text has grown: the slot is written within a second, with what there is then. */
  touch(grant: Grant, read: () => Checkpoint): void {
    this.#due ??= this.#services.deadlines.after(CHECKPOINT_MS, () => {
      this.#due = undefined;
      void this.write(grant, read());
    });
  }

  /** Nothing more is to be written. */
  stop(): void {
    this.#due?.();
    this.#due = undefined;
  }

  async write(grant: Grant, checkpoint: Checkpoint): Promise<void> {
    try {
      const { seq, step, partial, planned } = checkpoint;
      const body = {
        seq,
        step,
        ...(partial === undefined ? {} : { partial }),
        ...(planned ? { planned } : {}),
      };
      await this.#services.store.checkpoint(grant, encodeFrame(body));
    } catch (error) {
      this.#services.log.warn({ session: grant.id, err: error }, "a checkpoint could not be written");
    }
  }
}
