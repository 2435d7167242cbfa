/**
 * What the socket tests share: the socket layer on a free port with a small dispatch behind it, and a peer that speaks
 * either encoding. The dispatch answers each request by `ok` unless told to hold; it stands for no part that is shipped.
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import { WebSocket, type ClientOptions } from "ws";
import { decodeBinary, decodeText, encodeFrame, encodeJsonFrame } from "../../../protocol/codec.ts";
import type { ProtocolError } from "../../../protocol/errors.ts";
import type { ClientFrame } from "../../../protocol/frames.ts";
import { silentLog } from "../../../server/observe/log.ts";
import { Metrics } from "../../../server/observe/metrics.ts";
import { Authenticator, type AuthOptions } from "../../../server/auth/authenticator.ts";
import type { Connection } from "../../../server/socket/connection.ts";
import { Connections, type ConnectionsOptions } from "../../../server/socket/connections.ts";
import { errorFrame } from "../../../server/socket/inbound.ts";
import { Listener, type ListenOptions } from "../../../server/socket/listen.ts";

export type Frame = Record<string, any>;

export interface HarnessOptions extends ConnectionsOptions {
  readonly auth?: AuthOptions;
  readonly ticketMs?: number;
  readonly listen?: Partial<ListenOptions>;
}

export class Server {
  readonly metrics = new Metrics({ version: "test" });
  readonly frames: { connection: Connection; frame: ClientFrame }[] = [];
  readonly gone: { connection: Connection; successor: Connection | undefined }[] = [];
  /** Connections whose rights have changed. */
  readonly changed: Connection[] = [];
  readonly authenticator: Authenticator;
  readonly connections: Connections;
  readonly listener: Listener;
  /** Requests are not answered while true. */
  hold = false;
  refusing: string | undefined;
  plain = (_: IncomingMessage, response: ServerResponse): void => void response.end("plain");
  port = 0;

  static async start(options: HarnessOptions = {}): Promise<Server> {
    const server = new Server(options);
    server.port = await server.listener.listen();
    return server;
  }

  private constructor(options: HarnessOptions) {
    const { ticketMs, wallClock: now } = options;
    this.authenticator = new Authenticator(options.auth ?? { mode: "none" }, {
      ...(ticketMs === undefined ? {} : { ticketMs }),
      ...(now === undefined ? {} : { now }),
    });
    this.connections = new Connections(
      {
        node: "test",
        authenticator: this.authenticator,
        metrics: this.metrics,
        log: silentLog(),
        dispatch: {
          frame: (connection, frame) => {
            this.frames.push({ connection, frame });
            if (frame.type === "refreshToken") {
              connection.refreshToken(frame.token).then(
                () => connection.send({ type: "ok", id: frame.id }),
                (error: unknown) => connection.send(errorFrame(error as ProtocolError, frame.id)),
              );
              return;
            }
            if (this.hold || !("id" in frame) || frame.id === undefined) return;
            connection.send({ type: "ok", id: frame.id });
          },
          gone: (connection, successor) => this.gone.push({ connection, successor }),
          changed: (connection) => this.changed.push(connection),
        },
      },
      options,
    );
    this.listener = new Listener(
      {
        metrics: this.metrics,
        request: (request, response) => this.plain(request, response),
        accept: (...upgraded) => this.connections.accept(...upgraded),
        refusing: () => this.refusing,
      },
      { host: "127.0.0.1", port: 0, closeTimeoutMs: 200, ...options.listen },
    );
  }

  get url(): string {
    return `ws://127.0.0.1:${this.port}/ws`;
  }

  /** The server's side of the only connection. */
  get only(): Connection {
    const [connection] = this.connections;
    if (connection === undefined || this.connections.size !== 1) throw new Error("not one connection");
    return connection;
  }

  async stop(): Promise<void> {
    await this.connections.disconnectAll();
    await this.connections.close(500);
    await this.listener.close();
    this.metrics.close();
  }
}

/** A client of the tests: frames that came can be awaited one by one. */
export class Peer {
  readonly socket: WebSocket;
  readonly closed: Promise<{ code: number; reason: string }>;
  /** WebSocket messages that came. */
  messages = 0;
  readonly #frames: Frame[] = [];
  #wake: (() => void) | undefined;
  #over = false;

  private constructor(socket: WebSocket) {
    this.socket = socket;
    socket.on("message", (data: Buffer, isBinary: boolean) => {
      this.messages++;
      this.#frames.push(...(isBinary ? decodeBinary(data) : decodeText(data.toString())));
      this.#wake?.();
    });
    socket.on("error", () => undefined);
    this.closed = new Promise((resolve) => {
      socket.once("close", (code, reason) => {
        this.#over = true;
        this.#wake?.();
        resolve({ code, reason: reason.toString() });
      });
    });
  }

  static open(
    url: string,
    protocols: string[] = ["haulout.v1.json"],
    options: ClientOptions = {},
  ): Promise<Peer> {
    const socket = new WebSocket(url, protocols, { perMessageDeflate: false, ...options });
    const peer = new Peer(socket);
    return new Promise((resolve, reject) => {
      socket.once("open", () => resolve(peer));
      socket.once("error", reject);
    });
  }

  /** Opens and says hello; the welcome has been taken. */
  static async greeted(url: string, hello: Frame = {}, protocols?: string[]): Promise<Peer> {
    const peer = await Peer.open(url, protocols);
    peer.send({ type: "hello", protocol: 1, ...hello });
    const welcome = await peer.next();
    if (welcome["type"] !== "welcome") throw new Error(`not welcome: ${JSON.stringify(welcome)}`);
    return peer;
  }

  /** Each argument is a frame; all go in one message. */
  send(...frames: Frame[]): void {
    if (this.socket.protocol === "haulout.v1.msgpack")
      this.socket.send(Buffer.concat(frames.map(encodeFrame)));
    else this.socket.send(frames.map(encodeJsonFrame).join("\n"));
  }

  /** The next frame that is no ping. Rejects when the connection is over before one comes. */
  async next(): Promise<Frame> {
    for (;;) {
      const frame = this.#frames.shift();
      if (frame !== undefined && frame["type"] !== "ping") return frame;
      if (frame !== undefined) continue;
      if (this.#over) throw new Error("the connection is over");
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }

  /** Frames up to and with the first of a type. */
  async until(type: string): Promise<Frame[]> {
    const frames: Frame[] = [];
    do frames.push(await this.next());
    while (frames.at(-1)!["type"] !== type);
    return frames;
  }

  close(): void {
    this.socket.terminate();
  }
}
