/**
 * The memory store with a hand on its appends: the test holds them, or loses their answer, or hides what recovery looks for. What is held or lost is the
 * call around the real store; the store itself is the one that embedders use.
 */
import { decodeTrusted } from "../../../protocol/codec.ts";
import type { EntryType, EventFrame } from "../../../protocol/entries.ts";
import { MemoryStore } from "../../../server/store/memory.ts";
import { StoreUnavailableError } from "../../../server/store/store.ts";
import type { AppendItem, AppendResult, StoredEntry } from "../../../server/store/store.ts";
import { deferred, type Deferred } from "../../support/wait.ts";

/** Whether a batch brings an entry of this type. */
export function brings(type: EntryType): (batch: readonly AppendItem[]) => boolean {
  return (batch) =>
    batch.some((item) =>
      item.entries.some((bytes) => (decodeTrusted(bytes) as EventFrame).event.type === type),
    );
}

type Fault = "not written" | "written, and the answer lost";

export class TestStore extends MemoryStore {
  #fault: Fault | undefined;
  #wanted: (batch: readonly AppendItem[]) => boolean = () => true;
  #reads = Infinity;
  #hidden = false;
  refusedReads = 0;
  #gate: { arrived: Deferred<void>; open: Deferred<void> } | undefined;

  /** The next append (that the test wants) comes to nothing certain. */
  failNext(fault: Fault, wanted: (batch: readonly AppendItem[]) => boolean = () => true): void {
    this.#fault = fault;
    this.#wanted = wanted;
  }

  /** Lets so many more reads through, and none after. */
  failReads(after: number): void {
    this.#reads = after;
  }

  override read(...given: Parameters<MemoryStore["read"]>): Promise<StoredEntry[]> {
    if (this.#reads-- > 0) return super.read(...given);
    this.refusedReads++;
    return Promise.reject(new StoreUnavailableError("the disk is gone"));
  }

  /** Whether recovery finds nothing to do. */
  hideOrphans(hidden: boolean): void {
    this.#hidden = hidden;
  }

  override orphans(limit: number): Promise<string[]> {
    return this.#hidden ? Promise.resolve([]) : super.orphans(limit);
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
