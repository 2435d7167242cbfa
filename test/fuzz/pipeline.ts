/**
 * What every inbound message goes through before anything acts on it: scan, decode, shape, payload bounds. Answers how it
 * ended and checks what must hold of any input; throws when it does not. Never opens a socket.
 */
import { decodeBinary, decodeText, encodeFrame, encodeJsonFrame } from "../../protocol/codec.ts";
import { ProtocolError } from "../../protocol/errors.ts";
import { serverFrames } from "../../protocol/frames.ts";
import { scanMsgpack } from "../../protocol/scan.ts";
import { checkPayload, measure } from "../../protocol/values.ts";
import { MAX_FRAME_BYTES, MAX_FRAME_DEPTH, MAX_FRAME_ITEMS } from "../../protocol/version.ts";
import { errorFrame, readFrame, usableId } from "../../server/socket/inbound.ts";
import type { Input } from "./inputs.ts";

export type Ending = "accepted" | "too-large" | "bad-frame" | "unknown-frame";

/** The ending of each frame in the message. */
export function takeIn(input: Input): Ending[] {
  const endings: Ending[] = [];
  try {
    const frames = typeof input === "string" ? decodeText(input) : decodeBinary(input);
    for (const raw of frames) endings.push(takeFrame(raw));
  } catch (error) {
    endings.push(refusal(error));
  }
  return endings;
}

function takeFrame(raw: Record<string, unknown>): Ending {
  const { depth, items } = measure(raw);
  must(depth <= MAX_FRAME_DEPTH && items <= MAX_FRAME_ITEMS, "the scan let in more than its bounds");
  // Costs more than all the rest; the frame itself says whether, so that a counterexample stays one.
  if (items % 4 === 0) survives(raw);
  try {
    const frame = readFrame(raw);
    for (const [name, value] of Object.entries(frame)) checkPayload(name, value);
    survives(frame);
    return "accepted";
  } catch (error) {
    return refusal(error, usableId(raw));
  }
}

/** A refusal is one of ours, and the frame that says so is itself a good frame. */
function refusal(error: unknown, id?: number): Ending {
  if (!(error instanceof ProtocolError)) throw error;
  const frame = errorFrame(error, id);
  serverFrames.error.parse(frame);
  const bytes = encodeFrame(frame);
  must(bytes.length < 4096, "an error that is as large as what it refuses");
  scanMsgpack(bytes);
  const { code } = error;
  if (code !== "bad-frame" && code !== "unknown-frame" && code !== "too-large") throw error;
  return code;
}

/** What came in can go out again in both encodings, and nothing is lost on the way. */
function survives(frame: object): void {
  const bytes = encodeFrame(frame);
  const line = encodeJsonFrame(frame);
  must(bytes.length <= 2 * MAX_FRAME_BYTES, "grew without bound");
  // As JSON, which has one zero.
  for (const back of [...decodeBinary(bytes), ...decodeText(line)]) {
    must(encodeJsonFrame(back) === line, "changed on the way");
  }
}

function must(condition: boolean, what: string): void {
  if (!condition) throw new Error(what);
}
