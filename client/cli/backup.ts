/**
 * `haulout backup DIR`: copies every session of a running server into a folder of this machine. Owns the two files and
 * their order: the manifest is written when everything else is on the disk. The server never writes a file for a client.
 */
import { createHash } from "node:crypto";
import { mkdirSync, readdirSync, renameSync } from "node:fs";
import { open, type FileHandle } from "node:fs/promises";
import { join } from "node:path";
import { BACKUP_VERSION, encodeRecord, MANIFEST_FILE, RECORDS_FILE } from "../../protocol/archive.ts";
import type { Manifest } from "../../protocol/archive.ts";
import { encodeFrame } from "../../protocol/codec.ts";
import type { EventFrame } from "../../protocol/entries.ts";
import type { Client } from "../client.ts";
import { COMMON_HELP, connectAs, firstOnline, parse, UsageError } from "./options.ts";
import { jsonLine } from "./text.ts";

const HELP = `usage: haulout backup DIR [options]

Writes all sessions of a running server into the folder DIR, which must be empty or new; needs the right admin. A folder
without ${MANIFEST_FILE} is a backup that did not come to its end. To use one: haulout restore DIR --data NEWDIR

${COMMON_HELP.replace("print every frame from the server as a line of JSON, and nothing else", "print the manifest as a line of JSON, and nothing else")}
`;

const BUFFER_BYTES = 1024 * 1024;

export async function backup(args: string[]): Promise<number> {
  const { common, positionals } = parse(args, {}, 1);
  if (common.help) {
    process.stdout.write(HELP);
    return 0;
  }
  const [folder] = positionals;
  if (folder === undefined) throw new UsageError("which folder? haulout backup DIR");
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  if (readdirSync(folder).length > 0) throw new Error(`${folder} is not empty`);
  const client = connectAs({ ...common, json: false });
  try {
    await firstOnline(client, common);
    const writer = new RecordWriter(await open(join(folder, RECORDS_FILE), "wx", 0o600));
    const written = await copy(client, writer);
    await writeManifest(folder, written);
    const { sessions, entries, deleted, damaged } = written;
    process.stdout.write(
      common.json
        ? `${jsonLine(written)}\n`
        : `${sessions} sessions, ${entries} entries, ${deleted} deleted ids in ${folder}\n`,
    );
    for (const id of damaged)
      process.stderr.write(`haulout backup: ${id} is damaged; its log is here up to the damage\n`);
    return damaged.length === 0 ? 0 : 1;
  } finally {
    client.close();
  }
}

async function copy(client: Client, writer: RecordWriter): Promise<Manifest> {
  const createdAt = Date.now();
  let sessions = 0;
  let entries = 0;
  let deleted = 0;
  const damaged: string[] = [];
  // Entries come before the answer of the page that sent them.
  let page: EventFrame[] = [];
  client.on("frame", (frame) => {
    if (frame.type === "event") page.push(frame);
  });
  let cursor: string | undefined;
  do {
    page = [];
    const answer = await client.request("backup", cursor === undefined ? {} : { cursor }, {
      timeoutMs: 120_000,
    });
    // Both are in the order of ids; what is left belongs to a session that the next page goes on with.
    let next = 0;
    const writeEntriesOf = async (session?: string): Promise<void> => {
      for (; next < page.length; next++) {
        const entry = page[next]!;
        if (session !== undefined && entry.session !== session) return;
        await writer.write(encodeRecord({ entry: encodeFrame(entry) }));
        entries++;
      }
    };
    for (const end of answer.sessions) {
      await writeEntriesOf(end.session);
      await writer.write(encodeRecord({ end }));
    }
    await writeEntriesOf();
    for (const tally of answer.tallies ?? []) await writer.write(encodeRecord({ tally }));
    for (const end of answer.sessions) {
      if (end.deletedAt === undefined) sessions++;
      else deleted++;
      if (end.damaged) damaged.push(end.session);
    }
    ({ cursor } = answer);
  } while (cursor !== undefined);
  const file = await writer.close();
  return {
    format: "haulout-backup",
    version: BACKUP_VERSION,
    createdAt,
    sessions,
    entries,
    deleted,
    damaged,
    ...file,
  };
}

class RecordWriter {
  readonly #file: FileHandle;
  readonly #hash = createHash("sha256");
  #waiting: Uint8Array[] = [];
  #waitingBytes = 0;
  #bytes = 0;

  constructor(file: FileHandle) {
    this.#file = file;
  }

  async write(record: Uint8Array): Promise<void> {
    this.#hash.update(record);
    this.#waiting.push(record);
    this.#waitingBytes += record.length;
    if (this.#waitingBytes >= BUFFER_BYTES) await this.#flush();
  }

  async #flush(): Promise<void> {
    this.#bytes += this.#waitingBytes;
    const waiting = this.#waiting;
    this.#waiting = [];
    this.#waitingBytes = 0;
    if (waiting.length > 0) await this.#file.writeFile(Buffer.concat(waiting));
  }

  /** On the disk, and closed. */
  async close(): Promise<{ bytes: number; sha256: string }> {
    await this.#flush();
    await this.#file.sync();
    await this.#file.close();
    return { bytes: this.#bytes, sha256: this.#hash.digest("hex") };
  }
}

/** Whole or not there at all, whenever the process or the machine ends. */
async function writeManifest(folder: string, manifest: Manifest): Promise<void> {
  const path = join(folder, MANIFEST_FILE);
  const file = await open(`${path}.part`, "w", 0o600);
  await file.writeFile(`${JSON.stringify(manifest)}\n`);
  await file.sync();
  await file.close();
  renameSync(`${path}.part`, path);
  const directory = await open(folder, "r");
  await directory.sync();
  await directory.close();
}
