/**
 * The one suite that every store passes, whatever its home. Owns what the interface means; a home adds only a file that
 * opens it: `storeContract("memory", async () => ({ store, now, advance }))`. Every test gets a store of its own and
 * closes it. Time is the home's: `advance` makes leases end without waiting for them.
 */
import { agentsContract } from "./store-agents.ts";
import { listsContract } from "./store-lists.ts";
import { logContract } from "./store-log.ts";
import { marksContract } from "./store-marks.ts";
import { modelContract } from "./store-model.ts";
import { ownersContract } from "./store-owners.ts";
import { searchContract } from "./store-search.ts";
import { talliesContract } from "./store-tallies.ts";
import type { MakeStore } from "./store-support.ts";

export function storeContract(name: string, makeStore: MakeStore): void {
  logContract(name, makeStore);
  ownersContract(name, makeStore);
  listsContract(name, makeStore);
  talliesContract(name, makeStore);
  marksContract(name, makeStore);
  agentsContract(name, makeStore);
  searchContract(name, makeStore);
  modelContract(name, makeStore);
}
