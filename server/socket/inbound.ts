/**
 * From a decoded map to a typed client frame, and from a refusal to the error frame that says it. Pure functions: owns the
 * validation of shapes and what an error may quote from a frame; never a connection's state.
 */
import type { z } from "zod";
import type { JsonValue } from "../../protocol/content.ts";
import { ProtocolError } from "../../protocol/errors.ts";
import {
  clientFrames,
  requests,
  type ClientFrame,
  type RequestType,
  type ServerFrameOf,
} from "../../protocol/frames.ts";
import type { RawFrame } from "./inbox.ts";

const schemas = new Map<unknown, z.ZodType>(Object.entries(clientFrames));
const MAX_QUOTED = 128;

/** Throws ProtocolError `bad-frame` or `unknown-frame`; the details name the frame, the message the field. */
export function readFrame(raw: RawFrame): ClientFrame {
  const type = raw["type"];
  if (typeof type !== "string") throw new ProtocolError("bad-frame", "type: a string is required");
  const schema = schemas.get(type);
  if (schema === undefined) {
    const message = `no frame of type ${quote(type)}`;
    throw new ProtocolError("unknown-frame", message, { details: describe(raw) });
  }
  const result = schema.safeParse(raw);
  if (result.success) return result.data as ClientFrame;
  const issue = result.error.issues[0]!;
  const field = quote(issue.path.map(String).join(".")) || "frame";
  throw new ProtocolError("bad-frame", `${field}: ${quote(issue.message)}`, {
    details: { ...describe(raw), field },
  });
}

/** True for frames that are answered by `ok` or `error`. */
export function isRequest(frame: ClientFrame): frame is Extract<ClientFrame, { type: RequestType }> {
  return isRequestType(frame.type);
}

export function isRequestType(type: unknown): type is RequestType {
  return typeof type === "string" && Object.hasOwn(requests, type);
}

/** The id of a frame, if it has one that an answer can carry. */
export function usableId(raw: RawFrame): number | undefined {
  const id = raw["id"];
  return Number.isInteger(id) && (id as number) >= 0 && (id as number) <= 0xffff_ffff
    ? (id as number)
    : undefined;
}

/** What an error may say about a frame: its type, and what it is about where that is short. */
export function describe(raw: RawFrame): Record<string, JsonValue> {
  const details: Record<string, JsonValue> = {};
  if (typeof raw["type"] === "string") details["frame"] = quote(raw["type"]);
  for (const name of ["session", "call"]) {
    const value = raw[name];
    if (typeof value === "string" && value.length <= MAX_QUOTED) details[name] = value;
  }
  if (Number.isSafeInteger(raw["attempt"])) details["attempt"] = raw["attempt"] as number;
  return details;
}

/** The `error` frame of a refusal. Without an id, its details should name the frame. */
export function errorFrame(error: ProtocolError, id?: number): ServerFrameOf<"error"> {
  const { code, message, retryable, retryAfterMs, details } = error;
  return {
    type: "error",
    ...(id === undefined ? {} : { id }),
    code,
    message,
    retryable,
    ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
    ...(details === undefined ? {} : { details: details as Record<string, JsonValue> }),
  };
}

function quote(text: string): string {
  // Cut between code points, or the answer itself would be malformed.
  return text.length <= MAX_QUOTED ? text : text.slice(0, MAX_QUOTED).replace(/[\ud800-\udbff]$/, "");
}
