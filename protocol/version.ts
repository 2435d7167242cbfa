/**
 * Version, subprotocol names and the fixed sizes of the wire. Owns every number that both sides must agree on;
 * never a limit that a server may choose (those are announced in `welcome.limits`).
 */

export const PROTOCOL_VERSION = 1;

export const SUBPROTOCOL_MSGPACK = "haulout.v1.msgpack";
export const SUBPROTOCOL_JSON = "haulout.v1.json";

/** How one connection writes its frames: MessagePack maps in binary messages, or JSON lines in text messages. */
export type Encoding = "msgpack" | "json";

/** Bytes of one frame in MessagePack, and of one inbound WebSocket message. */
export const MAX_FRAME_BYTES = 1024 * 1024;
/** Bytes of the first frame. */
export const MAX_HELLO_BYTES = 16 * 1024;
/** Containers inside one another in a frame. */
export const MAX_FRAME_DEPTH = 24;
/** Values (keys not counted) in a frame. */
export const MAX_FRAME_ITEMS = 20_000;

/** Bounds of one payload value (content, input, output, metadata, answers): MessagePack bytes, depth, values. */
export const MAX_PAYLOAD_BYTES = 768 * 1024;
export const MAX_PAYLOAD_DEPTH = 16;
export const MAX_PAYLOAD_ITEMS = 10_000;

/** Messages in a snapshot when `tail` is absent, and the most a client may ask for. */
export const DEFAULT_TAIL = 50;
export const MAX_TAIL = 200;

/** UTF-16 units of a queued content in a snapshot; the rest is cut. */
export const SNAPSHOT_QUEUED_CONTENT = 1024;
