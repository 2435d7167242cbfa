/**
 * For providers that may crash, in Node: a folder that keeps the client's instance and the results that the server has
 * not confirmed, so that the process after this one is the same provider and sends them. Owns the files; what is kept,
 * and for how long, is the ledger's (calls.ts). Nothing of `haulout/client` imports this file.
 */
import { createHash, randomUUID } from "node:crypto";
import { chmod, mkdir, open, readdir, readFile, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import type { CallReference, KeptResult, ResultStore } from "./calls.ts";

const INSTANCE = "instance";
const RESULT = /^[0-9a-f]{64}\.json$/;

/** What `connect` takes: `connect({ url, ...(await keepIn("./provider")) })`. */
export interface KeptProvider {
  readonly instance: string;
  readonly results: ResultStore;
}

/**
 * Opens the folder, or makes it (mode 0700: the instance in it is a secret). One process at a time. A result is on the
 * disk, fsynced, before it is sent. Rejects with what the file system says; a file that is no result is left alone.
 */
export async function keepIn(directory: string): Promise<KeptProvider> {
  await mkdir(directory, { recursive: true, mode: 0o700 });
  await chmod(directory, 0o700);
  const write = (name: string, text: string): Promise<void> => writeDurably(directory, name, text);
  let instance = await readOrNothing(join(directory, INSTANCE));
  if (instance === undefined) {
    instance = randomUUID();
    await write(INSTANCE, instance);
  }
  const kept: { readonly at: number; readonly result: KeptResult }[] = [];
  for (const name of await readdir(directory)) {
    if (!RESULT.test(name)) continue;
    const text = await readOrNothing(join(directory, name));
    if (text !== undefined) kept.push(JSON.parse(text) as { at: number; result: KeptResult });
  }
  kept.sort((one, other) => one.at - other.at);
  return {
    instance,
    results: {
      kept: kept.map(({ result }) => result),
      keep: (result) => write(nameOf(result), JSON.stringify({ at: Date.now(), result })),
      // Should it come back after a power cut, the server says that it has it.
      forget: (reference) => rm(join(directory, nameOf(reference)), { force: true }),
    },
  };
}

function nameOf({ session, call, attempt }: CallReference): string {
  const name = JSON.stringify([session, call, attempt]);
  return `${createHash("sha256").update(name).digest("hex")}.json`;
}

async function readOrNothing(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}

/** The whole text under the name, or nothing of it, wherever the power goes. */
async function writeDurably(directory: string, name: string, text: string): Promise<void> {
  const path = join(directory, name);
  const beside = `${path}.${randomUUID()}.part`;
  const file = await open(beside, "wx", 0o600);
  try {
    await file.writeFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(beside, path);
  const folder = await open(directory, "r");
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}
