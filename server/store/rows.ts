/**
 * Walking over rows that may be damaged: a fault is reported and the walk goes on as far as it can. Owns what a fault is
 * and the words for damage; what rows should hold is asked elsewhere.
 */
import { readError, reason, type Level } from "./directory.ts";
import { StoreDamagedError } from "./store.ts";

/** One thing that is wrong; `seq` where it is about one entry. */
export interface Fault {
  readonly session?: string;
  readonly seq?: number;
  readonly problem: string;
}

export type Report = (fault: Fault) => void;

const PAGE = 250;
const PAGE_BYTES = 256 * 1024;

/** Calls `look` with each row of a range; false when a block cannot be read, which is reported. */
export async function rowsOf(
  level: Level,
  range: { readonly gte: Buffer; readonly lt: Buffer },
  about: Pick<Fault, "session">,
  report: Report,
  look: (key: Buffer, value: Buffer) => Promise<void> | void,
): Promise<boolean> {
  const rows = level.iterator({ ...range, highWaterMarkBytes: PAGE_BYTES });
  try {
    for (;;) {
      let page: [Buffer, Buffer][];
      try {
        page = await rows.nextv(PAGE);
      } catch (error) {
        const known = readError(about.session ?? "(any)", error);
        if (!(known instanceof StoreDamagedError)) throw known;
        report({ ...about, problem: `rows of kind ${range.gte[0]} cannot be read: ${reason(error)}` });
        return false;
      }
      if (page.length === 0) return true;
      for (const [key, value] of page) await look(key, value);
    }
  } finally {
    await rows.close();
  }
}

/** What `read` answers, or undefined when it finds damage, which is reported. */
export function guard<T>(session: string, report: Report, read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    const seq = error instanceof StoreDamagedError ? error.seq : undefined;
    const where = `session ${session}${seq === undefined ? "" : ` entry ${seq}`}: `;
    const problem = reason(error).replace(where, "");
    report({ session, ...(seq === undefined ? {} : { seq }), problem });
    return undefined;
  }
}
