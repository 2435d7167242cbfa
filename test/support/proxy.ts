/**
 * A TCP proxy between a client and a server, with faults on demand: cut, also after so many bytes, stall, half-open,
 * delay, single bytes, refuse. Owns sockets only and looks into nothing that passes.
 */
import { createServer, connect } from "node:net";
import type { AddressInfo, Socket } from "node:net";

export interface Proxy {
  readonly port: number;
  /** `ws://127.0.0.1:<port>/ws` */
  readonly url: string;
  /** Connections that are open now, and that were ever made. */
  readonly open: number;
  readonly total: number;
  /** New connections go to this port, as after a restart of the server. */
  target(port: number): void;
  /** Resets every connection. */
  cut(): void;
  /** Connections that are made from now on end when the client has been sent this many bytes; undefined: they do not. */
  cutAfter(bytes: number | undefined): void;
  /** The connections of now go silent for good, and neither side is told; new ones work. */
  halfOpen(): void;
  /** Of connections that `halfOpen` silenced the client's side is reset; the server still is not told. */
  loseClients(): void;
  /** From now on nothing passes in either direction, while all connections stay open; `flow` ends it. */
  stall(): void;
  /** Only what the server says is held back; the client is still heard. */
  stallServer(): void;
  flow(): void;
  /** Each piece takes this long from now on, in order. */
  delay(ms: number): void;
  /** What passes from now on is written byte by byte, each in a segment of its own. */
  singleBytes(single: boolean): void;
  /** New connections are reset, or accepted again. */
  refuse(refused: boolean): void;
  close(): Promise<void>;
}

interface Pair {
  readonly client: Socket;
  readonly server: Socket;
  silent: boolean;
}

export async function startProxy(first: { readonly host?: string; readonly port: number }): Promise<Proxy> {
  let target = first;
  const pairs = new Set<Pair>();
  let total = 0;
  let refused = false;
  let delayMs = 0;
  let single = false;
  let limit: number | undefined;
  const stalled = { client: false, server: false };

  const listener = createServer((client) => {
    total++;
    if (refused) {
      client.resetAndDestroy();
      return;
    }
    const server = connect({ host: target.host ?? "127.0.0.1", port: target.port });
    const pair = { client, server, silent: false };
    pairs.add(pair);
    forward(client, server);
    forward(server, client, limit);
    if (stalled.client) client.pause();
    if (stalled.server) server.pause();
    for (const socket of [client, server]) {
      socket.setNoDelay(true);
      // A reset is what this proxy is for.
      socket.on("error", () => undefined);
      socket.on("close", () => {
        if (pair.silent && !(client.destroyed && server.destroyed)) return;
        pairs.delete(pair);
        client.destroy();
        server.destroy();
      });
    }
  });

  const forward = (from: Socket, to: Socket, most = Infinity): void => {
    let last = Promise.resolve();
    let left = most;
    const pass = async (data: Buffer): Promise<void> => {
      if (!to.writable) return;
      const piece = data.subarray(0, left);
      let written = 0;
      for (; single && written < piece.length && to.writable; written++) {
        to.write(piece.subarray(written, written + 1));
        // A turn of the loop, so that the reader may take it before the next one joins it.
        await new Promise(setImmediate);
      }
      to.write(piece.subarray(written));
      left -= data.length;
      if (left > 0) return;
      // What came before is still read.
      to.destroySoon();
      from.resetAndDestroy();
    };
    from.on("data", (data) => {
      const until = performance.now() + delayMs;
      const due = (): Promise<void> | undefined => {
        const ms = until - performance.now();
        return ms > 0 ? new Promise((resolve) => setTimeout(resolve, ms)) : undefined;
      };
      last = last.then(due).then(() => pass(data));
    });
    from.on("end", () => void last.then(() => to.end()));
  };
  const apply = (): void => {
    for (const { client, server, silent } of pairs) {
      if (silent) continue;
      if (stalled.client) client.pause();
      else client.resume();
      if (stalled.server) server.pause();
      else server.resume();
    }
  };

  await new Promise<void>((resolve, reject) => {
    listener.once("error", reject);
    listener.listen(0, "127.0.0.1", resolve);
  });
  const { port } = listener.address() as AddressInfo;
  const cut = (): void => {
    for (const { client, server } of pairs) {
      client.resetAndDestroy();
      server.resetAndDestroy();
    }
  };
  const stall = (client: boolean, server: boolean): void => {
    stalled.client = client;
    stalled.server = server;
    apply();
  };
  return {
    port,
    url: `ws://127.0.0.1:${port}/ws`,
    get open() {
      return pairs.size;
    },
    get total() {
      return total;
    },
    target(to) {
      target = { ...target, port: to };
    },
    cut,
    cutAfter(bytes) {
      limit = bytes;
    },
    halfOpen() {
      for (const pair of pairs) {
        pair.silent = true;
        pair.client.pause();
        pair.server.pause();
      }
    },
    loseClients() {
      for (const { client, silent } of pairs) if (silent) client.resetAndDestroy();
    },
    stall: () => stall(true, true),
    stallServer: () => stall(false, true),
    flow: () => stall(false, false),
    delay(ms) {
      delayMs = ms;
    },
    singleBytes(value) {
      single = value;
    },
    refuse(value) {
      refused = value;
    },
    async close() {
      cut();
      await new Promise<void>((resolve) => listener.close(() => resolve()));
    },
  };
}
