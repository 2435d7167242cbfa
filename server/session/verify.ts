/**
 * Whether a data directory holds what it should: every log folded again from its first entry and compared with what the
 * store says of the session. Owns the meaning of entries in that check; the rows are inspect.ts's. Works offline, on a
 * directory that no server holds, and never writes.
 */
import { access } from "node:fs/promises";
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { decodeBinary, decodeTrusted, encodeFrame } from "../../protocol/codec.ts";
import { entryBodies, eventFrame, type EventFrame } from "../../protocol/entries.ts";
import type { SessionState } from "../../protocol/frames.ts";
import { fold } from "../../protocol/state.ts";
import { Handle } from "../store/handle.ts";
import { inspect, type Audit, type StoredState, type Totals } from "../store/inspect.ts";
import type { Report } from "../store/rows.ts";
import { StoreOpenError, type IndexRow } from "../store/store.ts";
import { decodeInfo, indexRow } from "./listing.ts";
import { keyOf } from "./keys.ts";
import { Stored } from "./stored.ts";

/**
 * Reports each fault as it is found. Throws StoreLockedError while a server has the directory, StoreOpenError when there
 * is no store in it or it cannot be opened.
 */
export async function verify(directory: string, report: Report): Promise<Totals> {
  const there = await access(join(directory, "CURRENT")).then(
    () => true,
    () => false,
  );
  if (!there) throw new StoreOpenError(`data directory ${directory} holds no store`);
  const handle = await Handle.open(directory, {});
  try {
    return await handle.use((level) => inspect(level, (id, state) => new LogAudit(id, state), report));
  } finally {
    await handle.close();
  }
}

/** Folds one log and says what is wrong with each entry. */
export class LogAudit implements Audit {
  readonly #id: string;
  readonly #snapshot: StoredState | undefined;
  #state: SessionState | undefined;
  #broken = false;

  constructor(id: string, snapshot: StoredState | undefined) {
    this.#id = id;
    this.#snapshot = snapshot;
  }

  /** As of the last entry that folded. */
  get state(): SessionState | undefined {
    return this.#state;
  }

  entry(seq: number, { epoch, bytes }: { epoch: number; bytes: Uint8Array }): string[] {
    const problems: string[] = [];
    try {
      const [frame, ...more] = [...decodeBinary(bytes)];
      if (more.length > 0) problems.push("it is more than one frame");
      problems.push(...shapeProblems(frame));
      const entry = frame as unknown as EventFrame;
      if (entry.session !== this.#id) problems.push(`it names the session ${entry.session}`);
      if (entry.seq !== seq) problems.push(`it calls itself entry ${entry.seq}`);
      if (entry.epoch !== epoch) problems.push(`it says epoch ${entry.epoch}, its row ${epoch}`);
      if (!this.#broken) this.#state = fold(this.#state, entry);
    } catch (error) {
      this.#broken = true;
      problems.push(error instanceof Error ? error.message : String(error));
    }
    if (seq === this.#snapshot?.seq && !this.#broken && !this.#equalsSnapshot(this.#snapshot.body))
      problems.push("the snapshot as of here is not what the log folds to");
    return problems;
  }

  #equalsSnapshot(body: Uint8Array): boolean {
    const stored = Stored.decode(body)?.state();
    // Of another version of fold: whoever loads the session folds anew.
    return stored === undefined || isDeepStrictEqual(stored, decodeTrusted(encodeFrame(this.#state!)));
  }

  keyOf({ bytes }: { bytes: Uint8Array }): ReturnType<typeof keyOf> {
    try {
      return keyOf(decodeTrusted(bytes) as EventFrame);
    } catch {
      return undefined;
    }
  }

  requests(): Uint8Array | undefined {
    return this.#broken || this.#state === undefined ? undefined : indexRow(this.#state).requests;
  }

  end(index: IndexRow): string[] {
    if (this.#broken || this.#state === undefined) return [];
    const state = this.#state;
    const problems: string[] = [];
    if (state.run === undefined && state.calls.length > 0)
      problems.push(`${state.calls.length} calls are open without a run`);
    const expected = indexRow(state);
    if (expected.open !== index.open)
      problems.push(
        expected.open
          ? "a run, an input or a request is open, its row says none is"
          : "its row says that something is open, nothing is",
      );
    if (!isDeepStrictEqual(expected.readers.toSorted(), index.readers.toSorted()))
      problems.push("its row has other readers than the log has members");
    // A row from before sessions were counted names none.
    if (index.owner !== undefined && index.owner !== expected.owner)
      problems.push("its row names another owner than the log");
    if (!isDeepStrictEqual(lasting(expected), lasting(index)))
      problems.push("its row describes it otherwise");
    return problems;
  }
}

function shapeProblems(frame: unknown): string[] {
  const { event } = (frame ?? {}) as { event?: { type?: string } };
  // A later version's entry: fold passes over it, too.
  if (event?.type !== undefined && !Object.hasOwn(entryBodies, event.type)) return [];
  const { error } = eventFrame.safeParse(frame);
  return (error?.issues ?? []).map((issue) => `${issue.path.join(".")}: ${issue.message}`);
}

/** What of a row is written whenever it changes; the rest may lag behind the log. */
function lasting(row: IndexRow): unknown {
  const { id, agent, owner, title, metadata, createdAt, forkedFrom, state } = decodeInfo(row);
  return { id, agent, owner, title, metadata, createdAt, forkedFrom, closed: state === "closed" };
}
