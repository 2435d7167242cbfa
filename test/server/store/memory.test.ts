/**
 * The memory store passes the contract, on a clock that the tests hold.
 * What only this home promises stands nowhere else: it promises nothing more.
 */
import { MemoryStore } from "../../../server/store/memory.ts";
import { storeContract } from "../../contract/store.ts";

storeContract("memory", async () => {
  let now = 1_700_000_000_000;
  return {
    store: new MemoryStore({ now: () => now }),
    now: () => now,
    advance: async (ms) => void (now += ms),
  };
});
