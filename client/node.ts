/**
 * For providers that may crash, in Node: a folder that keeps the client's instance and the results that the server has
 * not confirmed, so that the process after this one is the same provider and sends them. Owns the files; what is kept,
 * and for how long, is the ledger's (calls.ts). Nothing of `haulout/client` imports this file.
 */
import { createHash, randomUUID } from "node:crypto";
import { chmod, link, mkdir, open, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { CallReference, KeptResult, ResultStore } from "./calls.ts";

const INSTANCE = "instance";
const LOCK = "lock";
const RESULT = /^[0-9a-f]{64}\.json$/;

/** What `connect` takes: `connect({ url, ...(await keepIn("./provider")) })`. */
export interface KeptProvider {
  readonly instance: string;
  readonly results: ResultStore;
}

/**
 * Opens the folder, or makes it (mode 0700: the instance in it is a secret). One process at a time: it is this one's until
 * it ends. A result is on the disk, fsynced, before it is sent. Rejects when another process has it, and with what the file
 * system says; a file that is no result is left alone.
 */
export async function keepIn(directory: string): Promise<KeptProvider> {
  await mkdir(directory, { recursive: true, mode: 0o700 });
  await chmod(directory, 0o700);
  await take(directory);
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

/** Two processes would be one provider, and each forget what the other keeps. */
async function take(directory: string): Promise<void> {
  const path = join(directory, LOCK);
  const own = `${path}.${randomUUID()}`;
  await writeFile(own, JSON.stringify({ pid: process.pid, started: (await statOf(process.pid))?.started }));
  try {
    while (!(await isLinked(own, path))) {
      const held = await readOrNothing(path);
      if (held === undefined) continue;
      const { pid, started } = JSON.parse(held) as { pid: number; started?: string };
      if (await isAnother(pid, started)) throw new Error(`${directory} is in use by process ${pid}`);
      await rename(path, `${own}.stale`);
      // Somebody else was faster: it is theirs.
      if ((await readOrNothing(`${own}.stale`)) !== held) await link(`${own}.stale`, path);
    }
  } finally {
    await rm(own, { force: true });
    await rm(`${own}.stale`, { force: true });
  }
}

async function isLinked(own: string, path: string): Promise<boolean> {
  try {
    await link(own, path);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST") return false;
    throw error;
  }
}

async function isAnother(pid: number, started: string | undefined): Promise<boolean> {
  if (pid === process.pid) return false;
  try {
    process.kill(pid, 0);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ESRCH") return false;
  }
  // Where the system tells: the number may be another process's by now, or that of one that is dead.
  const stat = await statOf(pid);
  return stat === undefined || (stat.state !== "Z" && (started === undefined || stat.started === started));
}

/** What Linux knows of a process. */
async function statOf(pid: number): Promise<{ state: string; started: string } | undefined> {
  const text = await readOrNothing(`/proc/${pid}/stat`);
  const fields = text?.slice(text.lastIndexOf(")") + 2).split(" ");
  return fields === undefined ? undefined : { state: fields[0]!, started: fields[19]! };
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
