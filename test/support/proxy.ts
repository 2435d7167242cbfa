/**
 * A TCP proxy that does what bad networks do: cuts after so many bytes, stalls both ways without a word (half-open),
 * delays, and breaks data into small pieces. Owns the sockets on both sides; never looks into the bytes.
 */
import { connect, createServer, type AddressInfo, type Server, type Socket } from "node:net";

/** What happens to one connection through the proxy. */
export interface LinkPlan {
  /** Both sides are reset once this many bytes went to the client. */
  readonly cutAfter?: number;
  /** ms that every chunk takes longer, both ways. */
  readonly delayMs?: number;
  /** Bytes to the client are written in pieces of at most this many. */
  readonly pieceBytes?: number;
}

export class Proxy {
  /** Asked for each new connection. */
  plan: () => LinkPlan = () => ({});
  readonly #server: Server;
  readonly #links = new Set<Link>();
  #target: number;

  private constructor(server: Server, target: number) {
    this.#server = server;
    this.#target = target;
  }

  /** Forwards to a port of this machine. */
  static start(target: number): Promise<Proxy> {
    const server = createServer({ noDelay: true, pauseOnConnect: true });
    const proxy = new Proxy(server, target);
    server.on("connection", (socket) => proxy.#accept(socket));
    return new Promise((resolve, reject) => {
      server.once("error", reject);
      server.listen(0, "127.0.0.1", () => resolve(proxy));
    });
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** Where the server's WebSocket is, through the proxy. */
  get url(): string {
    return `ws://127.0.0.1:${this.port}/ws`;
  }

  /** Connections that are open now. */
  get size(): number {
    return this.#links.size;
  }

  /** New connections go there, as after a restart of the server. */
  retarget(port: number): void {
    this.#target = port;
  }

  /** Resets every connection, on both sides. */
  cut(): void {
    for (const link of this.#links) link.cut();
  }

  /** Nothing moves any more on the connections of now, and neither side is told. */
  stall(): void {
    for (const link of this.#links) link.stall();
  }

  /** What was stalled moves again. */
  resume(): void {
    for (const link of this.#links) link.resume();
  }

  close(): Promise<void> {
    this.cut();
    return new Promise((resolve) => this.#server.close(() => resolve()));
  }

  #accept(client: Socket): void {
    const upstream = connect({ host: "127.0.0.1", port: this.#target, noDelay: true });
    const link = new Link(client, upstream, this.plan(), () => this.#links.delete(link));
    this.#links.add(link);
  }
}

class Link {
  readonly #client: Socket;
  readonly #server: Socket;
  readonly #plan: LinkPlan;
  readonly #gone: () => void;
  #stalled = false;
  #down = 0;

  constructor(client: Socket, server: Socket, plan: LinkPlan, gone: () => void) {
    this.#client = client;
    this.#server = server;
    this.#plan = plan;
    this.#gone = gone;
    client.on("data", (chunk) => this.#later(() => server.write(chunk)));
    server.on("data", (chunk) => this.#later(() => this.#toClient(chunk)));
    client.on("end", () => this.#later(() => server.end()));
    server.on("end", () => this.#later(() => client.end()));
    for (const socket of [client, server]) {
      socket.on("error", () => this.cut());
      socket.on("close", () => this.#closed());
    }
    client.resume();
  }

  cut(): void {
    for (const socket of [this.#client, this.#server]) if (!socket.destroyed) socket.resetAndDestroy();
  }

  stall(): void {
    this.#stalled = true;
    this.#client.pause();
    this.#server.pause();
  }

  resume(): void {
    this.#stalled = false;
    this.#client.resume();
    this.#server.resume();
  }

  #toClient(chunk: Buffer): void {
    const { cutAfter = Infinity, pieceBytes = chunk.length } = this.#plan;
    const left = Math.min(chunk.length, cutAfter - this.#down);
    this.#down += left;
    for (let at = 0; at < left; at += pieceBytes) {
      this.#client.write(chunk.subarray(at, Math.min(left, at + pieceBytes)));
    }
    if (this.#down < cutAfter) return;
    // A reset would throw away what the client has not read yet.
    this.#client.destroySoon();
    this.#server.resetAndDestroy();
  }

  /** In order, for every chunk waits equally long. */
  #later(act: () => void): void {
    const { delayMs } = this.#plan;
    const unlessOver = (): void => {
      if (!this.#client.destroyed && !this.#server.destroyed) act();
    };
    if (delayMs === undefined) unlessOver();
    else setTimeout(unlessOver, delayMs).unref();
  }

  /** One side is closed: so is the other, unless nobody must learn of it. */
  #closed(): void {
    if (!this.#stalled) {
      if (!this.#client.destroyed) this.#client.destroySoon();
      if (!this.#server.destroyed) this.#server.destroySoon();
    }
    if (this.#client.destroyed && this.#server.destroyed) this.#gone();
  }
}
