/**
 * A server process that dies at one step of a tool call: of SIGKILL right before or right after the append that holds a
 * certain entry. Argument: directory; each line of stdin arms it: `before tool-result`. Owns that one death.
 */
import { createInterface } from "node:readline";
import { decodeTrusted } from "../../protocol/codec.ts";
import type { EventFrame } from "../../protocol/entries.ts";
import { startServer } from "../../server/server.ts";
import { EmbeddedStore } from "../../server/store/embedded.ts";

const [directory = ""] = process.argv.slice(2);
let armed = "";
const die = (): void => void process.kill(process.pid, "SIGKILL");

const store = await EmbeddedStore.open(directory);
const append = store.append.bind(store);
store.append = async (batch) => {
  const types = batch.flatMap(({ entries }) =>
    entries.map((bytes) => (decodeTrusted(bytes) as EventFrame).event.type as string),
  );
  if (types.some((type) => armed === `before ${type}`)) die();
  const results = await append(batch);
  if (types.some((type) => armed === `after ${type}`)) die();
  return results;
};
const server = await startServer({ port: 0, store, log: "error", providerGraceMs: 30_000 });
createInterface({ input: process.stdin }).on("line", (line) => {
  armed = line;
  console.log(`armed: ${line}`);
});
console.log(`listening on port ${server.port}`);
