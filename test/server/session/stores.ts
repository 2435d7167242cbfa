/**
 * The memory store with a hand on its appends: the test holds them, or loses their answer. What is held or lost is the
 * call around the real store; the store itself is the one that embedders use.
 */
import { MemoryStore } from "../../../server/store/memory.ts";
import type { AppendItem, AppendResult } from "../../../server/store/store.ts";
import { deferred, type Deferred } from "../../support/wait.ts";

type Fault = "not written" | "written, and the answer lost";

export class TestStore extends MemoryStore {
  #fault: Fault | undefined;
  #wanted: (batch: readonly AppendItem[]) => boolean = () => true;
  #gate: { arrived: Deferred<void>; open: Deferred<void> } | undefined;

  /** The next append (that the test wants) comes to nothing certain. */
  failNext(fault: Fault, wanted: (batch: readonly AppendItem[]) => boolean = () => true): void {
    this.#fault = fault;
    this.#wanted = wanted;
  }

  /** Holds the next append; resolves when it is there, with the way to let it go on. */
  async holdNext(): Promise<() => void> {
    const gate = { arrived: deferred(), open: deferred() };
    this.#gate = gate;
    await gate.arrived.promise;
    return () => gate.open.resolve();
  }

  override async append(batch: readonly AppendItem[]): Promise<AppendResult[]> {
    const gate = this.#gate;
    if (gate !== undefined) {
      this.#gate = undefined;
      gate.arrived.resolve();
      await gate.open.promise;
    }
    const fault = this.#fault;
    if (fault === undefined || !this.#wanted(batch)) return super.append(batch);
    this.#fault = undefined;
    if (fault !== "not written") await super.append(batch);
    throw new Error("the disk is gone");
  }
}
