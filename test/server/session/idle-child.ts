/**
 * A process that creates sessions in a store on disk, lets them fall idle, and says what is left in memory. Arguments:
 * directory, sessions. Run with --expose-gc. Prints one line of JSON: sessions in the registry, heap before and after.
 */
import { scriptedModel } from "../../../server/model/scripted.ts";
import { Runtime } from "../../../server/runtime.ts";
import { EmbeddedStore } from "../../../server/store/embedded.ts";

const [directory = "", count = "0"] = process.argv.slice(2);
const AT_ONCE = 500;

const store = await EmbeddedStore.open(directory);
const runtime = new Runtime(scriptedModel, [], { store, idleMs: 20 });
await runtime.start();
await runtime.addAgent({ name: "demo" });

function heap(): number {
  globalThis.gc!();
  globalThis.gc!();
  return process.memoryUsage().heapUsed;
}

async function emptied(): Promise<void> {
  while (runtime.registry.size > 0) {
    await runtime.registry.unloadIdle(0);
    await new Promise((resolve) => setImmediate(resolve));
  }
}

async function create(sessions: number): Promise<void> {
  for (let made = 0; made < sessions; made += AT_ONCE) {
    await Promise.all(Array.from({ length: AT_ONCE }, () => runtime.createSession("demo", "ada")));
  }
}

// What the first sessions cost once (compiled code, caches of the store) is not what sessions cost.
await create(2 * AT_ONCE);
await emptied();
const before = heap();
await create(Number(count));
await emptied();
const after = heap();
const registry = runtime.registry.size;
const [last] = (await store.list({ limit: 1 })).items;
await runtime.sendTo(last!.id, "hello", "ada");
process.stdout.write(`${JSON.stringify({ registry, before, after, answered: true })}\n`);
await runtime.close();
