/**
 * One raw connection to a server, for conformance cases and hostile tests: a `ws` socket, one encoding, the frames that
 * came. Holds every frame that comes to its schema and to the size of a frame. Never reconnects, never resumes.
 */
import type { Socket } from "node:net";
import { WebSocket } from "ws";
import { decodeBinary, decodeText, encodeFrame, encodeJsonFrame } from "../../protocol/codec.ts";
import { serverFrames } from "../../protocol/frames.ts";
import type { ServerFrameType } from "../../protocol/frames.ts";
import type { Encoding } from "../../protocol/version.ts";
import { MAX_FRAME_BYTES, SUBPROTOCOL_JSON, SUBPROTOCOL_MSGPACK } from "../../protocol/version.ts";
import { spawnNode, type TestProcess } from "../support/process.ts";
import { compiled } from "../support/root.ts";

export type Frame = Record<string, unknown>;

export interface TestServer {
  readonly process: TestProcess;
  /** ws://127.0.0.1:PORT/ws */
  readonly url: string;
}

/** A server process with the demo agent on the memory store; it ends with the test file. */
export async function startServer(
  env: Record<string, string> = {},
  nodeArguments: readonly string[] = [],
): Promise<TestServer> {
  const process = spawnNode([...nodeArguments, compiled("server/main.ts"), "serve"], {
    env: { HAULOUT_PORT: "0", HAULOUT_STORE: "memory", HAULOUT_LOG: "error", ...env },
  });
  const [, address = ""] = await process.waitForLine(/haulout listening on http:\/\/(\S+)/);
  return { process, url: `ws://${address}/ws` };
}

export class WireConnection {
  readonly encoding: Encoding;
  /** Frames that came and were not taken. `ping` is answered and left out. */
  readonly frames: Frame[] = [];
  /** Empty until there was one. */
  welcome: Frame = {};
  /** The close code, once closed. */
  closeCode: number | undefined;
  readonly #socket: WebSocket;
  #wake: (() => void)[] = [];
  #fault: Error | undefined;
  #takenAt = 0;

  private constructor(socket: WebSocket, encoding: Encoding) {
    this.encoding = encoding;
    this.#socket = socket;
    socket.on("message", (data: Buffer, isBinary: boolean) => this.#receive(data, isBinary));
    socket.on("error", () => undefined);
    socket.on("close", (code) => {
      this.closeCode = code;
      this.#changed();
    });
  }

  static async open(
    url: string,
    encoding: Encoding,
    options: { readonly subprotocol?: boolean; readonly hello?: Frame | false } = {},
  ): Promise<WireConnection> {
    const name = encoding === "json" ? SUBPROTOCOL_JSON : SUBPROTOCOL_MSGPACK;
    const socket = new WebSocket(url, options.subprotocol === false ? [] : [name], {
      perMessageDeflate: false,
    });
    const connection = new WireConnection(socket, encoding);
    await new Promise<void>((resolve, reject) => {
      socket.once("open", resolve);
      socket.once("error", reject);
    });
    if (options.hello === false) return connection;
    connection.send({ type: "hello", id: 0, protocol: 1, ...options.hello });
    connection.welcome = await connection.take((frame) => frame["type"] === "welcome");
    return connection;
  }

  send(...frames: readonly Frame[]): void {
    if (this.encoding === "json") this.sendRaw(frames.map((frame) => encodeJsonFrame(frame)).join("\n"));
    else this.sendRaw(Buffer.concat(frames.map((frame) => encodeFrame(frame))));
  }

  /** Bytes go as a binary message, a string as a text message. */
  sendRaw(data: Uint8Array | string): void {
    this.#socket.send(data, () => undefined);
  }

  /** Drops those of the frames that came before the last one taken which pass. */
  forget(test: (frame: Frame) => boolean): void {
    const before = this.frames.splice(0, this.#takenAt);
    this.frames.unshift(...before.filter((frame) => !test(frame)));
    this.#takenAt = 0;
  }

  /** The first frame that passes, taken out of `frames`; rejects when the connection ends first or after `ms`. */
  async take(test: (frame: Frame) => boolean, ms = 10_000): Promise<Frame> {
    const giveUpAt = performance.now() + ms;
    for (;;) {
      if (this.#fault) throw this.#fault;
      const at = this.frames.findIndex(test);
      if (at >= 0) {
        this.#takenAt = at;
        return this.frames.splice(at, 1)[0]!;
      }
      if (this.closeCode !== undefined)
        throw new Error(`closed with ${this.closeCode}; had ${this.#shown()}`);
      await this.#change(giveUpAt - performance.now());
    }
  }

  /** The answer to a request. */
  async ask(frame: Frame): Promise<Frame> {
    this.send(frame);
    return this.take(({ type, id }) => (type === "ok" || type === "error") && id === frame["id"]);
  }

  async closed(ms = 10_000): Promise<number> {
    const giveUpAt = performance.now() + ms;
    while (this.closeCode === undefined) await this.#change(giveUpAt - performance.now());
    if (this.#fault) throw this.#fault;
    return this.closeCode;
  }

  /** Bytes as a text message, well-formed or not. */
  sendAsText(bytes: Uint8Array): void {
    this.#socket.send(bytes, { binary: false }, () => undefined);
  }

  /** Bytes under the WebSocket: no message, no frame of RFC 6455. */
  sendUnframed(bytes: Uint8Array): void {
    (this.#socket as unknown as { _socket: Socket })._socket.write(bytes);
  }

  /** Cuts the connection without a close. */
  terminate(): void {
    this.#socket.terminate();
  }

  #receive(data: Buffer, isBinary: boolean): void {
    try {
      if (isBinary !== (this.encoding === "msgpack")) throw new Error("a message of the other encoding");
      for (const frame of isBinary ? decodeBinary(data) : decodeText(data.toString("utf8")))
        this.#accept(frame);
    } catch (error) {
      this.#fault ??= error as Error;
    }
    this.#changed();
  }

  #accept(frame: Frame): void {
    if (frame["type"] === "ping") {
      this.send({ type: "pong" });
      return;
    }
    const schema = serverFrames[frame["type"] as ServerFrameType] as (typeof serverFrames)["ok"] | undefined;
    if (schema === undefined)
      throw new Error(`a frame of an unknown type: ${JSON.stringify(frame).slice(0, 200)}`);
    schema.parse(frame);
    const size = encodeFrame(frame).length;
    if (size > MAX_FRAME_BYTES) throw new Error(`a ${String(frame["type"])} frame of ${size} bytes`);
    this.frames.push(frame);
  }

  #changed(): void {
    const wake = this.#wake;
    this.#wake = [];
    for (const resume of wake) resume();
  }

  async #change(ms: number): Promise<void> {
    if (ms <= 0) throw new Error(`nothing came in time; had ${this.#shown()}`);
    let timer: NodeJS.Timeout | undefined;
    await new Promise<void>((resolve) => {
      timer = setTimeout(resolve, ms);
      this.#wake.push(resolve);
    });
    clearTimeout(timer);
  }

  #shown(): string {
    return JSON.stringify(this.frames.slice(-8)).slice(0, 2000);
  }
}
