/**
 * Reads a damaged store: `node store-damage-child.js <directory> <sessions> <entries>`. For each line on stdin it opens the store,
 * reads the sessions `ses_x0` on, and prints how many of them came `right`, `damaged` or `unreadable` as a line of JSON, or
 * `closed`: the store could not be opened. Ends with code 1 if anything but the truth or an honest error comes. A process of
 * its own, for at some damage the engine ends its process.
 */
import { createInterface } from "node:readline";
import { EmbeddedStore } from "../../server/store/embedded.ts";
import { StoreDamagedError, StoreOpenError, StoreUnavailableError } from "../../server/store/store.ts";
import { texts } from "../contract/store-support.ts";
import { assert } from "../support/suite.ts";
import { contentOf } from "./store-load.ts";

const [directory = "", sessions = "0", entries = "0"] = process.argv.slice(2);

for await (const _ of createInterface({ input: process.stdin })) {
  const seen: Record<string, number> = {};
  const count = (outcome: string): void => void (seen[outcome] = (seen[outcome] ?? 0) + 1);
  const opened = await EmbeddedStore.open(directory).catch((error: unknown) => {
    assert.instance(error, StoreOpenError);
    return undefined;
  });
  if (opened === undefined) count("closed");
  else {
    for (let at = 0; at < Number(sessions); at++) count(await whole(opened, `ses_x${at}`));
    await opened.close();
  }
  console.log(JSON.stringify(seen));
}

async function whole(opened: EmbeddedStore, id: string): Promise<"right" | "damaged" | "unreadable"> {
  try {
    const loaded = await opened.load(id);
    assert.is(loaded?.head, Number(entries), `${id} has another head`);
    const found = await texts(opened, id);
    assert.is(found.length, Number(entries));
    found.forEach((text, at) =>
      assert.ok(text === contentOf(id, at + 1), `${id} ${at + 1} holds something else`),
    );
    return "right";
  } catch (error) {
    if (error instanceof StoreDamagedError) return "damaged";
    if (error instanceof StoreUnavailableError) return "unreadable";
    throw error;
  }
}
