/**
 * A provider of language models on loopback, as far as HTTP goes: answers each request with the next reply it was given
 * and keeps what was asked. Owns status, chunks, silences and cuts; knows no dialect.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { deferred, type Deferred } from "../../../support/wait.ts";

export interface Reply {
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
  /** Each is written by itself, and given the time to arrive by itself. */
  readonly chunks: readonly (string | Uint8Array)[];
  /** After the last chunk: an orderly end (default), a connection that breaks, or silence. */
  readonly ending?: "end" | "cut" | "silence";
  /** Not even headers before the client gives up. */
  readonly mute?: boolean;
}

export interface Asked {
  readonly path: string;
  readonly headers: IncomingMessage["headers"];
  readonly body: any;
  /** Resolves when the client has gone without waiting for the end. */
  readonly left: Promise<void>;
}

export class ProviderServer {
  readonly asked: Asked[] = [];
  readonly #server: Server;
  readonly #replies: Reply[] = [];
  #plays = 0;
  /** What the paths of requests begin with that are to be answered. */
  #base = "";

  private constructor() {
    this.#server = createServer((request, response) => void this.#serve(request, response));
  }

  static async start(): Promise<ProviderServer> {
    const provider = new ProviderServer();
    const listening = deferred();
    provider.#server.listen(0, "127.0.0.1", () => listening.resolve());
    await listening.promise;
    return provider;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** For the next requests, one each; forgets what was not asked for. */
  play(...replies: Reply[]): void {
    this.asked.length = 0;
    this.#replies.splice(0, this.#replies.length, ...replies);
  }

  /**
   * As `play`, for requests to the URL that it answers: one that was given up may arrive when the next replies are set, and
   * must not take them.
   */
  playApart(...replies: Reply[]): string {
    this.play(...replies);
    this.#base = `/play-${++this.#plays}`;
    return this.url + this.#base;
  }

  async stop(): Promise<void> {
    const closed = deferred();
    this.#server.close(() => closed.resolve());
    this.#server.closeAllConnections();
    await closed.promise;
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const left = deferred();
    const read: Buffer[] = [];
    for await (const chunk of request) read.push(chunk as Buffer);
    const text = Buffer.concat(read).toString("utf8");
    const body: unknown = text === "" ? undefined : JSON.parse(text);
    response.on("close", () => response.writableFinished || left.resolve());
    const path = request.url ?? "";
    if (!path.startsWith(this.#base)) {
      response.destroy();
      return;
    }
    this.asked.push({
      path: path.slice(this.#base.length),
      headers: request.headers,
      body,
      left: left.promise,
    });
    await answer(response, this.#replies.shift() ?? { status: 500, chunks: ["nothing to play"] });
  }
}

async function answer(response: ServerResponse, reply: Reply): Promise<void> {
  if (reply.mute) return;
  const status = reply.status ?? 200;
  const type = status === 200 ? "text/event-stream; charset=utf-8" : "application/json";
  response.writeHead(status, { "content-type": type, ...reply.headers });
  for (const chunk of reply.chunks) {
    const written: Deferred<void> = deferred();
    response.write(chunk, () => written.resolve());
    await written.promise;
    // A turn of the loop, so that the chunk is a packet of its own.
    await new Promise((resolve) => setImmediate(resolve));
  }
  if (reply.ending === "silence") return;
  if (reply.ending === "cut") response.destroy();
  else response.end();
}
