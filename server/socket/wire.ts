/**
 * The way from an outbox to the system: messages as `ws` frames them, each in one buffer and one write. What several
 * sockets are sent alike, one after the other, is joined and framed once. Owns that and the fragments of a message; never
 * a queue, and never when something is sent.
 */
import type { Duplex } from "node:stream";
import * as ws from "ws";
import type { WebSocket } from "ws";
import type { Wire, WireFrame } from "./outbox.ts";

interface FrameOptions {
  readonly fin: boolean;
  readonly opcode: number;
}

/** Its types leave it out. Writing what it framed to the socket below is what `ws` does itself, in two buffers. */
const { Sender } = ws as unknown as {
  readonly Sender: { frame(data: Uint8Array, options: FrameOptions): Buffer[] };
};

const CONTINUATION = 0;
const TEXT = 1;
const BINARY = 2;
const OPEN = 1;

let last: { readonly frames: readonly WireFrame[]; readonly message: Buffer } | undefined;

export class SocketWire implements Wire {
  readonly #webSocket: WebSocket;
  readonly #socket: Duplex;
  /** A message is half sent. */
  #inMessage = false;

  /** `socket`: the one that was upgraded, without compression. */
  constructor(webSocket: WebSocket, socket: Duplex) {
    this.#webSocket = webSocket;
    this.#socket = socket;
  }

  get bufferedAmount(): number {
    return this.#socket.writableLength;
  }

  send(frames: readonly WireFrame[], isText: boolean, fin: boolean, sent: () => void): void {
    // After its close frame nothing may follow; before that, what ws and we write keeps its order.
    if (this.#webSocket.readyState !== OPEN) return;
    const opcode = this.#inMessage ? CONTINUATION : isText ? TEXT : BINARY;
    const whole = fin && !this.#inMessage;
    this.#inMessage = !fin;
    this.#socket.write(whole ? shared(frames, opcode) : framed(frames, { opcode, fin }), sent);
  }
}

/** What readers of one session are sent is the same frames, one reader after the other. */
function shared(frames: readonly WireFrame[], opcode: number): Buffer {
  if (last !== undefined && isSame(last.frames, frames)) return last.message;
  const message = framed(frames, { opcode, fin: true });
  last = { frames, message };
  return message;
}

function isSame(a: readonly WireFrame[], b: readonly WireFrame[]): boolean {
  if (a.length !== b.length) return false;
  for (let at = 0; at < a.length; at++) if (a[at] !== b[at]) return false;
  return true;
}

function framed(frames: readonly WireFrame[], options: FrameOptions): Buffer {
  const isText = typeof frames[0] === "string";
  const pieces = isText ? [Buffer.from(frames.join("\n"))] : (frames as readonly Uint8Array[]);
  const payload = pieces.length === 1 ? pieces[0]! : Buffer.concat(pieces);
  return Buffer.concat(Sender.frame(payload, options));
}
