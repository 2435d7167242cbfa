/**
 * The public list of `haulout/protocol`: types, codec, fold, errors, versions. Imports no zod, so a browser can take it
 * whole; the schemas are `haulout/protocol/schemas`.
 */
export type * from "./content.ts";
export type { EntryBody, EntryBodyOf, EntryType, EventFrame } from "./entries.ts";
export type {
  ClientFrame,
  ClientFrameInput,
  ClientFrameInputOf,
  ClientFrameOf,
  ClientFrameType,
  DayUsage,
  HistoryMessage,
  ListedAgent,
  ListedTool,
  NoticeType,
  OpenCall,
  OpenRequest,
  OpenRun,
  PartKind,
  Partial,
  QueuedInput,
  RequestType,
  ResultOf,
  ServerFrame,
  ServerFrameOf,
  ServerFrameType,
  SessionState,
  Tally,
  UserBudget,
} from "./frames.ts";
export {
  decodeBinary,
  decodeText,
  decodeTrusted,
  EncodedFrame,
  encodeFrame,
  encodeJsonFrame,
  transcodeToJson,
} from "./codec.ts";
export { afterClose, CLOSE_CODES, ERROR_CODES, ERRORS, ProtocolError } from "./errors.ts";
export type { AfterClose, CloseCause, ErrorCode } from "./errors.ts";
export { newId, SESSION_ID } from "./ids.ts";
export type { IdPrefix } from "./ids.ts";
export { checkJsonValue, scanJson, scanMsgpack } from "./scan.ts";
export { cut, fold, RETAIN_BYTES, RETAIN_MESSAGES, roleOf } from "./state.ts";
export { messageSize } from "./size.ts";
export { addUsage, dayOf, NO_USAGE } from "./usage.ts";
export { checkPayload, cutText, measure, toJsonValue } from "./values.ts";
export * from "./version.ts";
