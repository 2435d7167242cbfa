/**
 * The public list of `haulout/protocol/schemas`: zod schemas of every frame and entry, for servers, tests and tools that
 * validate. Browsers take `haulout/protocol` instead.
 */
export * from "./content.ts";
export { entryBodies, eventFrame } from "./entries.ts";
export {
  clientFrames,
  finishedRun,
  historyMessage,
  listedAgent,
  listedTool,
  notices,
  openCall,
  openRequest,
  openRun,
  partial,
  queuedInput,
  requests,
  results,
  serverFrames,
  sessionState,
} from "./frames.ts";
