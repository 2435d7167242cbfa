/**
 * A data directory made of the records of a backup. Owns their order and their proof: each log is folded as it comes, and
 * the first record that does not fit ends the restore. What follows from a log (index row, keys) is made of it, not copied.
 */
import { decodeTrusted } from "../../protocol/codec.ts";
import type { ArchiveRecord } from "../../protocol/archive.ts";
import type { Usage } from "../../protocol/content.ts";
import type { EventFrame } from "../../protocol/entries.ts";
import { addUsage, NO_USAGE } from "../../protocol/usage.ts";
import { Restorer } from "../store/restore.ts";
import { indexRow } from "./listing.ts";
import { LogAudit } from "./verify.ts";

export interface Restored {
  readonly sessions: number;
  readonly entries: number;
  readonly deleted: number;
}

interface Current {
  readonly id: string;
  readonly audit: LogAudit;
  seq: number;
  epoch: number;
}

/**
 * `check` is asked when all records are in, before the directory becomes a store; what it throws leaves it unusable. Throws
 * StoreOpenError for a directory that is not empty, Error naming session and seq for a record that does not fit.
 */
export async function restore(
  directory: string,
  records: AsyncIterable<ArchiveRecord>,
  check: (restored: Restored) => void,
): Promise<Restored> {
  const restorer = await Restorer.create(directory);
  const restored = { sessions: 0, entries: 0, deleted: 0 };
  let current: Current | undefined;
  let used: { readonly user: string; readonly total: Usage } | undefined;
  try {
    for await (const record of records) {
      if ("entry" in record) {
        current = await takeEntry(restorer, current, record.entry);
        restored.entries++;
        continue;
      }
      if ("tally" in record) {
        const { user, usage } = record.tally;
        used = { user, total: addUsage(used?.user === user ? used.total : NO_USAGE, usage) };
        await restorer.tally(record.tally, used.total);
        continue;
      }
      const { session, head = 0, deletedAt } = record.end;
      if (current !== undefined && current.id !== session) throw unfinished(current);
      if (deletedAt !== undefined) {
        await restorer.deleted(session, deletedAt);
        restored.deleted++;
      } else if ((current?.seq ?? 0) !== head) {
        throw new Error(`session ${session}: its log has ${current?.seq ?? 0} of ${head} entries`);
      } else if (current?.audit.state !== undefined) {
        await restorer.session(session, head, indexRow(current.audit.state));
        restored.sessions++;
      }
      current = undefined;
    }
    if (current !== undefined) throw unfinished(current);
    check(restored);
    await restorer.finish();
    return restored;
  } catch (error) {
    await restorer.close();
    throw error;
  }
}

async function takeEntry(
  restorer: Restorer,
  before: Current | undefined,
  bytes: Uint8Array,
): Promise<Current> {
  const frame = decodeTrusted(bytes) as EventFrame;
  const { session: id, epoch } = frame;
  if (before !== undefined && before.id !== id) throw unfinished(before);
  const current = before ?? { id, audit: new LogAudit(id, undefined), seq: 0, epoch: 0 };
  const seq = ++current.seq;
  const problems = current.audit.entry(seq, { epoch, bytes });
  if (epoch < current.epoch) problems.push(`epoch ${epoch} comes after epoch ${current.epoch}`);
  current.epoch = epoch;
  const [problem] = problems;
  if (problem !== undefined) throw new Error(`session ${id} entry ${seq}: ${problem}`);
  await restorer.entry(id, epoch, seq, bytes);
  const used = current.audit.keyOf({ bytes });
  if (used !== undefined) await restorer.key(id, used.user, used.key, seq);
  return current;
}

function unfinished({ id, seq }: Current): Error {
  return new Error(`session ${id}: its log ends at entry ${seq} without saying so`);
}
