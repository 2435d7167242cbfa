/**
 * What tests of backup share: a directory with more in it than fits one page, the commands as processes, and two
 * directories compared log by log. Owns no test.
 */
import { randomBytes } from "node:crypto";
import { EmbeddedStore } from "../../server/store/embedded.ts";
import { verify } from "../../server/session/verify.ts";
import * as commands from "../../server/session/commands.ts";
import { spawnNode, temporaryDirectory, type TestProcess } from "../support/process.ts";
import { compiled } from "../support/root.ts";
import { caller, closeRuntimes, readLog, startRuntime } from "../support/runtime.ts";
import { assert } from "../support/suite.ts";

export function haulout(args: readonly string[], url?: string): TestProcess {
  const env = url === undefined ? {} : { HAULOUT_URL: url };
  return spawnNode([compiled("server/main.ts"), ...args], { cwd: temporaryDirectory(), env });
}

export async function run(
  args: readonly string[],
  url?: string,
): Promise<{ code: number | null; out: string; err: string }> {
  const child = haulout(args, url);
  const { code } = await child.exited;
  return { code, out: child.stdout.join("\n"), err: child.stderr.join("\n") };
}

/** Sessions with runs, keys, one deleted, and as many changes of random content as asked for, about 20 KiB each. */
export async function fill(directory: string, sessions: number, changes: number): Promise<string[]> {
  const store = await EmbeddedStore.open(directory);
  const test = await startRuntime({ store });
  const ids = Array.from({ length: sessions }, (_, at) => `ses_${at}`);
  const { registry } = test.runtime;
  await Promise.all(
    ids.map(async (session) => {
      await test.session({ session, title: `the title of ${session}` });
      await test.run(session, `hello from ${session}`, { key: `key ${session}` });
      for (let at = 0; at < changes; at++) {
        const metadata = { at, text: randomBytes(15_000).toString("base64") };
        await registry.with(session, (held) => commands.update(held, caller("ada"), { metadata }));
      }
    }),
  );
  await test.session({ session: "gone" });
  await test.remove("gone");
  await store.purged();
  await closeRuntimes();
  return ids;
}

/** Every log of `ids`, as JSON. */
export async function logsIn(directory: string, ids: readonly string[]): Promise<Map<string, string>> {
  const store = await EmbeddedStore.open(directory);
  const logs = new Map<string, string>();
  for (const id of ids) logs.set(id, JSON.stringify(await readLog(store, id)));
  await store.close();
  return logs;
}

export async function assertSound(directory: string): Promise<void> {
  const faults: string[] = [];
  await verify(directory, ({ session, seq, problem }) => faults.push(`${session} ${seq ?? ""}: ${problem}`));
  assert.equal(faults, []);
}
