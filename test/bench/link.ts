/**
 * A bare client for benches: a `ws` socket, the codec, and callbacks. Owns connecting, hello and matching answers, with
 * as little around a frame as can be, so that what is measured is the server. Never reconnects.
 */
import type { Socket } from "node:net";
import { WebSocket } from "ws";
import { decodeTrusted, encodeFrame } from "../../protocol/codec.ts";
import { scanMsgpack } from "../../protocol/scan.ts";
import { SUBPROTOCOL_MSGPACK } from "../../protocol/version.ts";

export type Frame = Readonly<Record<string, any>>;

export async function openSocket(url: string, protocol?: string): Promise<WebSocket> {
  const socket = new WebSocket(url, protocol === undefined ? [] : [protocol], { perMessageDeflate: false });
  await new Promise<void>((resolve, reject) => {
    socket.once("open", resolve);
    socket.once("error", reject);
  });
  return socket;
}

interface Waiting {
  readonly resolve: (frame: Frame) => void;
  readonly reject: (error: Error) => void;
}

export class Link {
  readonly #socket: WebSocket;
  readonly #answers = new Map<number, Waiting>();
  #lastId = 0;
  /** Called with every frame that is no answer, in order. */
  onFrame: (frame: Frame) => void = () => undefined;

  private constructor(socket: WebSocket) {
    this.#socket = socket;
    socket.on("message", (data: Buffer) => this.#receive(data));
    socket.on("close", (code) => {
      for (const { reject } of this.#answers.values()) reject(new Error(`closed with ${code}`));
      this.#answers.clear();
    });
  }

  /** `hello`: what it says besides the protocol. */
  static async open(url: string, hello: Frame = {}): Promise<Link> {
    const link = new Link(await openSocket(url, SUBPROTOCOL_MSGPACK));
    await link.request({ type: "hello", protocol: 1, ...hello });
    return link;
  }

  /** A request as bytes, to be sent by `transmit` at the moment that is measured, and its answer. */
  prepare(frame: Frame): { readonly bytes: Uint8Array; readonly answer: Promise<Frame> } {
    const id = ++this.#lastId;
    const answer = new Promise<Frame>((resolve, reject) => this.#answers.set(id, { resolve, reject }));
    return { bytes: encodeFrame({ ...frame, id }), answer };
  }

  transmit(bytes: Uint8Array): void {
    this.#socket.send(bytes);
  }

  /** Resolves with the answer; rejects with the server's refusal. */
  request(frame: Frame): Promise<Frame> {
    const { bytes, answer } = this.prepare(frame);
    this.transmit(bytes);
    return answer;
  }

  close(): void {
    this.#socket.terminate();
  }

  /** Bytes that came so far, with the heads of WebSocket. */
  get bytesRead(): number {
    // No public way leads to the socket under a WebSocket.
    return (this.#socket as unknown as { readonly _socket: Socket })._socket.bytesRead;
  }

  /** Whether what comes is taken; what is not waits in the system. */
  set reading(on: boolean) {
    if (on) this.#socket.resume();
    else this.#socket.pause();
  }

  #receive(data: Buffer): void {
    for (let at = 0; at < data.length;) {
      const end = scanMsgpack(data, at);
      this.#take(decodeTrusted(data.subarray(at, end)) as Frame);
      at = end;
    }
  }

  #take(frame: Frame): void {
    const { type, id } = frame;
    const waiting = typeof id === "number" ? this.#answers.get(id) : undefined;
    if (waiting === undefined) {
      if (type === "ping") this.transmit(encodeFrame({ type: "pong" }));
      else this.onFrame(frame);
      return;
    }
    this.#answers.delete(id as number);
    if (type === "error") waiting.reject(new Error(`${frame["code"]}: ${frame["message"]}`));
    else waiting.resolve(frame);
  }
}
