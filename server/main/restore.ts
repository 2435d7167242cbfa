/**
 * `haulout restore DIR --data NEWDIR`: makes a data directory of a backup, with no server. Owns arguments, the manifest's
 * check and what is printed. Never writes into a directory that holds anything.
 */
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { BACKUP_VERSION, MANIFEST_FILE, RECORDS_FILE, manifest } from "../../protocol/archive.ts";
import { readHeader, readRecords } from "../../protocol/archive.ts";
import { restore } from "../session/restore.ts";
import { MisuseError, RefusedError, parse, plural, printable } from "./options.ts";

const HELP = `usage: haulout restore DIR --data NEWDIR

Makes a data directory of a backup that haulout backup wrote, and checks every record on the way. NEWDIR must be new or
empty; it becomes a store only when all is in. Start the server on it with HAULOUT_DATA=NEWDIR.

  --data NEWDIR  the directory to make
  --help         print this
`;

export async function runRestore(args: string[]): Promise<number> {
  const { values, positionals } = parse("restore", args, { data: { type: "string" } }, 1);
  if (values.help === true) {
    process.stdout.write(HELP);
    return 0;
  }
  const [folder] = positionals;
  const directory = values.data;
  if (folder === undefined) throw new MisuseError("restore: which backup? haulout restore DIR --data NEWDIR");
  // Never the usual directory by default: it is the one that must not be touched.
  if (typeof directory !== "string") throw new MisuseError("restore: --data says which directory to make");
  try {
    const { sessions, entries, deleted } = await restoreFrom(folder, directory);
    process.stdout.write(
      `${plural(sessions, "session")}, ${plural(entries, "entry", "entries")}, ${deleted} deleted in ${directory}\n`,
    );
    return 0;
  } catch (error) {
    if (!(error instanceof Error) || error.name.startsWith("Store")) throw error;
    throw new RefusedError(printable(error.message), { cause: error });
  }
}

async function restoreFrom(folder: string, directory: string) {
  const path = join(folder, MANIFEST_FILE);
  const text = await readFile(path, "utf8").catch((cause: unknown) => {
    throw new Error(
      `${folder} has no ${MANIFEST_FILE}: it is no backup, or one that did not come to its end`,
      {
        cause,
      },
    );
  });
  const what = { format: "haulout-backup", version: BACKUP_VERSION, name: path } as const;
  const said = readHeader(manifest, what, text);
  const hash = createHash("sha256");
  let bytes = 0;
  async function* pieces(): AsyncGenerator<Uint8Array, void> {
    for await (const piece of createReadStream(join(folder, RECORDS_FILE)) as AsyncIterable<Buffer>) {
      hash.update(piece);
      bytes += piece.length;
      yield piece;
    }
  }
  return restore(directory, readRecords(pieces()), (found) => {
    const whole =
      bytes === said.bytes &&
      hash.digest("hex") === said.sha256 &&
      found.sessions === said.sessions &&
      found.entries === said.entries &&
      found.deleted === said.deleted;
    if (!whole) throw new Error(`${folder} is not what its ${MANIFEST_FILE} says: it was changed or cut`);
  });
}
