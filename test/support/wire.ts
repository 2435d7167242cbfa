/**
 * A raw client of the wire for tests, independent of client/: hello, requests, frames as they came with their raw bytes,
 * in both encodings. Owns one socket and what it received; never reconnects and never hides a frame (it answers pings).
 * What a session looks like through it is ./reader.ts.
 */
import { WebSocket, type ClientOptions } from "ws";
import { decodeTrusted, encodeFrame, encodeJsonFrame } from "../../protocol/codec.ts";
import type { ErrorCode } from "../../protocol/errors.ts";
import type { RequestType } from "../../protocol/frames.ts";
import { scanMsgpack } from "../../protocol/scan.ts";
import { SUBPROTOCOL_JSON, SUBPROTOCOL_MSGPACK, type Encoding } from "../../protocol/version.ts";

/** A frame as it was received; tests look at it without its type. */
export type Frame = Record<string, any>;

export interface Received {
  readonly frame: Frame;
  /** MessagePack bytes, or the JSON line. */
  readonly raw: Uint8Array | string;
  /** performance.now() when it came. */
  readonly at: number;
}

export interface WireOptions {
  /** msgpack unless told. */
  readonly encoding?: Encoding;
  readonly instance?: string;
  readonly user?: { readonly id: string; readonly name?: string };
  readonly token?: string;
  readonly socket?: ClientOptions;
}

export type Match = string | ((frame: Frame) => boolean);

/** How long anything that a test waits for may take, unless told. */
export const PATIENCE_MS = 10_000;

/** The connection ended before what was waited for came. */
export class WireOver extends Error {
  override readonly name = "WireOver";
}

/** A request was answered by `error`. */
export class Refused extends Error {
  override readonly name = "Refused";
  readonly code: ErrorCode;
  readonly frame: Frame;

  constructor(what: string, frame: Frame) {
    super(`${what} is refused: ${JSON.stringify(frame)}`);
    this.code = frame["code"] as ErrorCode;
    this.frame = frame;
  }
}

export class Wire {
  readonly socket: WebSocket;
  readonly encoding: Encoding;
  /** Every frame, in order, pings too. */
  readonly received: Received[] = [];
  readonly closed: Promise<{ code: number; reason: string }>;
  /** Called with each frame as it comes, in order; what it throws ends the test. */
  readonly listeners = new Set<(received: Received) => void>();
  welcome: Frame = {};
  /** False: pings stay unanswered, as by a client that is stuck. */
  pongs = true;
  #over = false;
  #nextId = 1;
  readonly #wakers = new Set<() => void>();

  private constructor(socket: WebSocket, encoding: Encoding) {
    this.socket = socket;
    this.encoding = encoding;
    socket.on("message", (data: Buffer, isBinary: boolean) => this.#receive(data, isBinary));
    socket.on("error", () => undefined);
    this.closed = new Promise((resolve) => {
      socket.once("close", (code, reason) => {
        this.#end();
        resolve({ code, reason: reason.toString() });
      });
    });
  }

  /** An upgraded socket; hello has not been said. */
  static open(url: string, options: WireOptions = {}): Promise<Wire> {
    const encoding = options.encoding ?? "msgpack";
    const protocol = encoding === "json" ? SUBPROTOCOL_JSON : SUBPROTOCOL_MSGPACK;
    const socket = new WebSocket(url, [protocol], { perMessageDeflate: false, ...options.socket });
    const wire = new Wire(socket, encoding);
    return new Promise((resolve, reject) => {
      socket.once("open", () => resolve(wire));
      socket.once("error", reject);
      socket.once("close", () => reject(new WireOver("closed before it was open")));
    });
  }

  /** A connection that was welcomed. Rejects with Refused or WireOver. */
  static async connect(url: string, options: WireOptions = {}): Promise<Wire> {
    const wire = await Wire.open(url, options);
    await wire.hello(options);
    return wire;
  }

  async hello(options: Pick<WireOptions, "instance" | "user" | "token"> = {}): Promise<Frame> {
    const { instance, user, token } = options;
    this.send({
      type: "hello",
      protocol: 1,
      ...(instance === undefined ? {} : { instance }),
      ...(user === undefined ? {} : { user }),
      ...(token === undefined ? {} : { token }),
    });
    const answer = await this.frame((frame) => frame["type"] === "welcome" || frame["type"] === "error");
    if (answer["type"] === "error") throw new Refused("hello", answer);
    return (this.welcome = answer);
  }

  get over(): boolean {
    return this.#over;
  }

  /** Each argument is a frame; all go in one message. */
  send(...frames: Frame[]): void {
    if (this.encoding === "json") this.socket.send(frames.map(encodeJsonFrame).join("\n"));
    else this.socket.send(Buffer.concat(frames.map(encodeFrame)));
  }

  /** A fresh id for a request. */
  newRequest(): number {
    return this.#nextId++;
  }

  /** Sends a request; resolves with its `ok` or `error`. Rejects with WireOver if the connection ends first. */
  request(type: RequestType | (string & {}), fields: Frame = {}, ms = PATIENCE_MS): Promise<Frame> {
    const id = this.newRequest();
    const from = this.received.length;
    this.send({ type, id, ...fields });
    const answers = (frame: Frame): boolean =>
      frame["id"] === id && (frame["type"] === "ok" || frame["type"] === "error");
    return this.frame(answers, { from, ms, what: `the answer to ${type}` });
  }

  /** What `ok` carries. Rejects with Refused. */
  async ok(type: RequestType, fields: Frame = {}, ms = PATIENCE_MS): Promise<Frame> {
    const answer = await this.request(type, fields, ms);
    if (answer["type"] === "error") throw new Refused(type, answer);
    return answer;
  }

  /** The `error` of a request that must be refused. */
  async refused(type: RequestType | (string & {}), fields: Frame = {}): Promise<Frame> {
    const answer = await this.request(type, fields);
    if (answer["type"] !== "error") throw new Error(`${type} is answered by ${JSON.stringify(answer)}`);
    return answer;
  }

  /** The first frame that matches (a type, or a predicate) among those that came since `from`, or that will come. */
  async frame(match: Match, options: { from?: number; ms?: number; what?: string } = {}): Promise<Frame> {
    const { from = 0, ms = PATIENCE_MS } = options;
    const fits = typeof match === "string" ? (frame: Frame) => frame["type"] === match : match;
    const what = options.what ?? (typeof match === "string" ? match : "a frame");
    let at = from;
    const look = (): Frame | undefined => {
      while (at < this.received.length) {
        const { frame } = this.received[at++]!;
        if (fits(frame)) return frame;
      }
      return undefined;
    };
    return this.wait(look, ms, what);
  }

  /** The first entry of a type (or that a predicate takes) of a session, as its `event` frame. */
  event(
    match: Match,
    options: { session?: string; from?: number; ms?: number; what?: string } = {},
  ): Promise<Frame> {
    const fits = (frame: Frame): boolean =>
      frame["type"] === "event" &&
      (options.session === undefined || frame["session"] === options.session) &&
      (typeof match === "string" ? (frame["event"] as Frame)["type"] === match : match(frame));
    return this.frame(fits, {
      what: typeof match === "string" ? `the entry ${match}` : "an entry",
      ...options,
    });
  }

  /** Asks `look` now and after every frame until it answers something. */
  wait<T>(look: () => T | undefined, ms: number, what: string): Promise<T> {
    return new Promise((resolve, reject) => {
      const done = (): void => {
        clearTimeout(timer);
        this.#wakers.delete(again);
      };
      const again = (): void => {
        let found: T | undefined;
        try {
          found = look();
        } catch (error) {
          done();
          reject(error);
          return;
        }
        if (found !== undefined) {
          done();
          resolve(found);
        } else if (this.#over) {
          done();
          reject(new WireOver(`the connection ended before ${what}; ${this.#lastFrames()}`));
        }
      };
      const timer = setTimeout(() => {
        done();
        reject(new Error(`waited ${ms} ms for ${what}; ${this.#lastFrames()}`));
      }, ms);
      this.#wakers.add(again);
      again();
    });
  }

  /** Ends the socket without a word, as when the process behind it dies; nothing that still comes is looked at. */
  cut(): void {
    this.#end();
    this.socket.terminate();
  }

  /** Says goodbye, and waits until the server has. */
  async close(): Promise<void> {
    this.socket.close(1000);
    await this.closed;
  }

  #end(): void {
    if (this.#over) return;
    this.#over = true;
    for (const wake of this.#wakers) wake();
    this.listeners.clear();
  }

  #receive(data: Buffer, isBinary: boolean): void {
    if (this.#over) return;
    const at = performance.now();
    for (const [frame, raw] of isBinary ? splitBinary(data) : splitText(data.toString("utf8"))) {
      // A listener may have cut the connection between two frames of one message.
      if (this.over) return;
      const received = { frame, raw, at };
      this.received.push(received);
      if (frame["type"] === "ping" && this.pongs) this.send({ type: "pong" });
      for (const listener of this.listeners) listener(received);
    }
    for (const wake of this.#wakers) wake();
  }

  #lastFrames(): string {
    const last = this.received.slice(-5).map(({ frame }) => JSON.stringify(frame).slice(0, 200));
    return `the last of ${this.received.length} frames: ${last.join(" ")}`;
  }
}

function* splitBinary(data: Uint8Array): Generator<[Frame, Uint8Array]> {
  for (let at = 0; at < data.length;) {
    const end = scanMsgpack(data, at);
    const raw = data.subarray(at, end);
    yield [decodeTrusted(raw) as Frame, raw];
    at = end;
  }
}

function* splitText(text: string): Generator<[Frame, string]> {
  for (const line of text.split("\n")) if (line !== "") yield [JSON.parse(line) as Frame, line];
}
