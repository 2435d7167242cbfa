/**
 * The public list of `haulout/client`, for browsers and Node: connect, watch and drive sessions, provide tools.
 * Everything else in this folder is internal.
 */
export { connect } from "./client.ts";
export type { Client } from "./client.ts";
export type { ClientEvents, ClientStatus, ConnectOptions, CreateSessionOptions } from "./options.ts";
export type { AttachOptions, SessionEvents } from "./attachment.ts";
export type { BackoffOptions } from "./backoff.ts";
export type { CallContext, KeptResult, ResultStore } from "./calls.ts";
export type { ConnectionState } from "./connection.ts";
export type { TextDelta } from "./live.ts";
export type { Presence, PresentUser } from "./presence.ts";
export { parseMetrics, readMetrics } from "./metrics.ts";
export type { Sample } from "./metrics.ts";
export type { OutboxLimits, PlainRequest, RequestOptions } from "./requests.ts";
export type { InputOf, Schema, StandardSchema } from "./schema.ts";
export type { ForkOptions, SendOptions, SessionHandle } from "./session.ts";
export type { ProvidedTools, ProvideOptions, ToolDefinition, ToolDefinitions, ToolsOf } from "./tools.ts";
export type { WebSocketConstructor } from "./transport.ts";
export type { Watching, WatchingEvents, WatchingOptions } from "./watching.ts";
export type { RunFinished, TurnEvent } from "./turn.ts";
export type { ShownMessage } from "./view.ts";
export type {
  Actor,
  Content,
  DataPart,
  FilePart,
  JsonValue,
  Message,
  MessagePart,
  ReasoningPart,
  Role,
  SendMode,
  SessionInfo,
  TextPart,
  ToolPart,
  Usage,
} from "../protocol/content.ts";
export type { EntryBodyOf, EventFrame } from "../protocol/entries.ts";
export type {
  HistoryMessage,
  ListedAgent,
  ListedProvider,
  ListedRequest,
  ListedTool,
  OpenCall,
  OpenRequest,
  QueuedInput,
  SearchHit,
  ServerFrame,
  ServerFrameOf,
  SessionState,
} from "../protocol/frames.ts";
export { newId } from "../protocol/ids.ts";
export type { Question } from "../protocol/people.ts";
export { ProtocolError } from "../protocol/errors.ts";
export type { ErrorCode } from "../protocol/errors.ts";
