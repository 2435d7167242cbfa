/**
 * The first message of a connection: one frame, a hello, of a version that the server takes. Owns the rules for it, which
 * close follows which refusal, and the answer; never a connection's state, and no frame after the first.
 */
import { decodeBinary, decodeText } from "../../protocol/codec.ts";
import { ProtocolError, type CloseCause } from "../../protocol/errors.ts";
import type { ServerFrameOf } from "../../protocol/frames.ts";
import { MAX_FRAME_BYTES, MAX_PAYLOAD_BYTES, PROTOCOL_VERSION } from "../../protocol/version.ts";
import type { Identity } from "../auth/identity.ts";
import { isExpiry, type Hello } from "../auth/method.ts";
import { describe, readFrame, usableId } from "./inbound.ts";
import type { RawFrame } from "./inbox.ts";

export interface Refusal {
  readonly error: ProtocolError;
  readonly cause: CloseCause;
  /** The id to answer under. */
  readonly id: number | undefined;
}

/** The frames of a message, decoded as they are asked for. */
export function decodeMessage(data: Buffer, isBinary: boolean): Generator<RawFrame, void> {
  return isBinary ? decodeBinary(data) : decodeText(data.toString("utf8"));
}

/** Reads the first message. Throws only what is no ProtocolError. */
export function readFirst(data: Buffer, isBinary: boolean, maxHelloBytes: number): Hello | Refusal {
  let raw: RawFrame | undefined;
  try {
    if (data.length > maxHelloBytes) {
      throw new ProtocolError("too-large", `the first message may have ${maxHelloBytes} bytes`);
    }
    const [first, second] = decodeMessage(data, isBinary);
    raw = first;
    const hello = readHello(first!);
    if (second !== undefined) throw new ProtocolError("bad-frame", "hello comes in a message of its own");
    return hello;
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
    return refusalOf(error, raw === undefined ? undefined : usableId(raw));
  }
}

export function refusalOf(error: ProtocolError, id: number | undefined): Refusal {
  return { error, cause: closeCause(error), id };
}

function readHello(raw: RawFrame): Hello {
  if (raw["type"] !== "hello") {
    throw new ProtocolError("hello-required", "the first frame is hello", { details: describe(raw) });
  }
  // Before the shape: a hello of another version may well look different.
  if (Number.isSafeInteger(raw["protocol"]) && raw["protocol"] !== PROTOCOL_VERSION) {
    const details = { supported: [PROTOCOL_VERSION] };
    throw new ProtocolError("unsupported-protocol", "no common version", { details });
  }
  return readFrame(raw) as Hello;
}

function closeCause(error: ProtocolError): CloseCause {
  if (error.code === "unsupported-protocol") return "unsupported-version";
  if (error.code === "unauthenticated") return isExpiry(error) ? "token-expired" : "bad-token";
  if (error.code === "forbidden" || error.code === "rate-limited") return error.code;
  // It may be taken later: the client is to come back.
  return error.retryable ? "overloaded" : "malformed";
}

export function welcomeFrame(
  { hello, identity }: { readonly hello: Hello; readonly identity: Identity },
  about: {
    readonly connection: string;
    readonly node: string;
    readonly pingMs: number;
    readonly maxInFlight: number;
    readonly maxQueue: number;
  },
): ServerFrameOf<"welcome"> {
  return {
    type: "welcome",
    ...(hello.id === undefined ? {} : { id: hello.id }),
    protocol: PROTOCOL_VERSION,
    connection: about.connection,
    user: identity.user,
    node: about.node,
    pingMs: about.pingMs,
    limits: {
      maxFrame: MAX_FRAME_BYTES,
      maxInFlight: about.maxInFlight,
      maxPayload: MAX_PAYLOAD_BYTES,
      maxQueue: about.maxQueue,
    },
    features: [],
  };
}
