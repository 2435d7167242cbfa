/**
 * A server process for the chaos of tool calls: as `haulout serve` on the embedded store, with short patience for
 * providers, so that a seed is over in seconds. Argument: directory. Owns nothing but those settings.
 */
import { startServer } from "../../server/server.ts";
import { ACCEPT_MS, CANCEL_MS, GRACE_MS, NO_PROVIDER_MS } from "./tools-rules.ts";

const [directory = ""] = process.argv.slice(2);
const server = await startServer({
  port: 0,
  data: directory,
  log: "error",
  providerGraceMs: GRACE_MS,
  runtime: {
    router: { noProviderMs: NO_PROVIDER_MS, supersededGraceMs: GRACE_MS },
    timings: { acceptMs: ACCEPT_MS, cancelMs: CANCEL_MS },
  },
});
console.log(`listening on port ${server.port}`);
