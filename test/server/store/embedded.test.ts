/**
 * The embedded store passes the contract, on a clock that the tests hold.
 * What only this home promises stands in ../../fault/store-*.test.ts.
 */
import { EmbeddedStore } from "../../../server/store/embedded.ts";
import { storeContract } from "../../contract/store.ts";
import { temporaryDirectory } from "../../support/process.ts";

storeContract("embedded", async () => {
  let now = 1_700_000_000_000;
  return {
    store: await EmbeddedStore.open(temporaryDirectory(), { now: () => now }),
    now: () => now,
    advance: async (ms) => void (now += ms),
  };
});
