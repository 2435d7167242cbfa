/**
 * The rows of the embedded store that say how far somebody has read in a session. Owns their form and their way to the
 * disk: all that wait go in one write, not fsynced, and of two marks the later one stays. Never knows what a message is.
 */
import type { Level } from "./directory.ts";
import type { Lane } from "./lane.ts";
import { Kind, markKey, rangeOf, seal, sessionKey, uint48, unseal } from "./layout.ts";
import { guard, rowsOf, type Report } from "./rows.ts";
import { liveRow } from "./scan.ts";
import { StoreDamagedError, type ReadMark } from "./store.ts";

interface Waiting {
  readonly id: string;
  readonly key: Buffer;
  readonly mark: ReadMark;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

export class Marks {
  readonly #lane: Lane;
  #waiting: Waiting[] = [];

  constructor(lane: Lane) {
    this.#lane = lane;
  }

  write(id: string, user: string, mark: ReadMark): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ id, key: markKey(id, user), mark, resolve, reject });
      if (this.#waiting.length === 1) void this.#flush();
    });
  }

  async #flush(): Promise<void> {
    let taken: Waiting[] = [];
    const take = (): Waiting[] => {
      taken = this.#waiting;
      this.#waiting = [];
      return taken;
    };
    try {
      await this.#lane.write({
        ids: new Set<string>(),
        sync: false,
        prepare: async (level) => {
          // What one write takes must be what was read for it.
          const marks = take();
          const keys = marks.flatMap(({ id, key }) => [sessionKey(Kind.session, id), key]);
          return { marks, rows: await level.getMany(keys) };
        },
        build: (batch, { marks, rows }) => {
          const last = new Map<string, ReadMark>();
          for (const [at, { id, key, mark }] of marks.entries()) {
            if (liveRow(id, sessionKey(Kind.session, id), rows[2 * at]) === undefined) continue;
            const name = key.toString("latin1");
            const stored = rows[2 * at + 1];
            const before = last.get(name) ?? (stored && readMark(id, key, stored));
            if (before !== undefined && before.seq >= mark.seq) continue;
            last.set(name, mark);
            batch.put(key, seal(key, uint48(mark.seq), uint48(mark.messages)));
          }
          return { result: undefined };
        },
      });
      for (const { resolve } of taken) resolve();
    } catch (error) {
      for (const { reject } of taken.length > 0 ? taken : take()) reject(error);
    }
  }
}

/** The marks of a user in these sessions, in their order. */
export async function readMarks(
  level: Level,
  user: string,
  ids: readonly string[],
): Promise<(ReadMark | undefined)[]> {
  const keys = ids.map((id) => markKey(id, user));
  const values = await level.getMany(keys);
  return ids.map((id, at) => {
    const value = values[at];
    return value === undefined ? undefined : readMark(id, keys[at]!, value);
  });
}

/** The checksum of each. */
export function inspectMarks(level: Level, report: Report): Promise<unknown> {
  return rowsOf(level, rangeOf(Kind.mark), {}, report, (key, value) => {
    const id = key.toString("latin1", 1, key.indexOf(0, 1));
    guard(id, report, () => readMark(id, key, value));
  });
}

function readMark(id: string, key: Buffer, value: Buffer): ReadMark {
  const body = unseal(id, key, value, "a read mark");
  if (body.length !== 12) throw new StoreDamagedError(id, undefined, "a read mark is cut short");
  return { seq: body.readUIntBE(0, 6), messages: body.readUIntBE(6, 6) };
}
