/**
 * The side that is measured, where many clients are served: Haulout, Socket.IO, or sockets that are written to with
 * nothing around it. Arguments: which, and for Haulout how long text may be merged and a store other than memory, for
 * Socket.IO whether it recovers connections. Owns the same work for each of them.
 */
import { once } from "node:events";
import { createServer } from "node:http";
import { createServer as createTcpServer, type AddressInfo, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { Server } from "socket.io";
import { encodeFrame } from "../../protocol/codec.ts";
import { newMessageId } from "../../protocol/ids.ts";
import { startServer } from "../../server/server.ts";
import { writeLongSession } from "../support/long-log.ts";
import { answerLines, cpu, resident, type Commands } from "./side.ts";
import { PIECE } from "./peer-shape.ts";

/** Sends text to everybody in a room, and answers how many that is. */
type Say = (text: string) => number;

interface Peer {
  readonly port: number;
  /** Makes so many rooms; answers their names. */
  rooms(count: number): Promise<string[]>;
  /** Ways to speak to the rooms, the last ones that were made. */
  says(): Say[];
  /** Writes a session of so many turns; answers its id and its head. */
  fill?(turns: number): Promise<readonly (string | number)[]>;
  /** Bytes that wait for readers. */
  queued?(): number;
  /** Writes so many bytes to everybody. */
  pour?(bytes: number): Promise<void>;
}

async function haulout(coalesceMs: number): Promise<Peer> {
  const server = await startServer({
    port: 0,
    store: process.argv[4] ?? "memory",
    data: process.cwd(),
    log: "error",
    limits: { coalesceMs, maxQueue: 100_000, maxRuns: 0, maxConnections: 0, maxGreeting: 0 },
  });
  const { registry } = server.runtime;
  let rooms: string[] = [];
  return {
    port: server.port,
    async rooms(count) {
      rooms = await Promise.all(
        Array.from({ length: count }, () => server.runtime.createSession("demo", "local")),
      );
      return rooms;
    },
    says: () =>
      rooms.map((room) => {
        const { feed } = registry.peek(room)!;
        const message = newMessageId();
        feed.begin("run", message, { part: 0, kind: "text" });
        const readers = feed.subscribers;
        return (text) => (feed.say(message, 0, text), readers);
      }),
    async fill(turns) {
      const { id, head } = await writeLongSession(server.runtime.store, turns);
      return [id, head];
    },
    queued: () => server.connections.totals.queuedBytes,
  };
}

async function socketIo(): Promise<Peer> {
  const http = createServer();
  const recovery = process.argv[3] === "recovery" ? { connectionStateRecovery: {} } : {};
  const server = new Server(http, { transports: ["websocket"], ...recovery });
  server.on("connection", (socket) => {
    socket.on("join", async (room: string, done: () => void) => {
      await socket.join(room);
      done();
    });
    // What a send is answered with: its place, and that it was taken.
    socket.on("send", (frame: { key: string }, done: (answer: object) => void) => {
      done({ seq: 1, input: frame.key, position: 0, duplicate: false });
    });
    if (process.argv[3] === "recovery" && !socket.recovered) socket.emit("hello", 1);
  });
  http.listen(0, "127.0.0.1");
  await once(http, "listening");
  let rooms: string[] = [];
  let made = 0;
  return {
    port: (http.address() as AddressInfo).port,
    rooms: (count) => Promise.resolve((rooms = Array.from({ length: count }, () => `room_${++made}`))),
    says: () =>
      rooms.map((room) => {
        const message = newMessageId();
        const readers = server.sockets.adapter.rooms.get(room)?.size ?? 0;
        let offset = 0;
        return (text) => {
          server.to(room).emit("delta", { channel: 1, message, part: 0, offset, text });
          offset += text.length;
          return readers;
        };
      }),
  };
}

async function plain(): Promise<Peer> {
  const sockets = new Set<Socket>();
  const server = createTcpServer({ noDelay: true }, (socket) => {
    sockets.add(socket);
    socket.on("error", () => socket.destroy());
    socket.on("close", () => sockets.delete(socket));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const delta = { type: "delta", channel: 1, message: newMessageId(), part: 0, offset: 1000, text: PIECE };
  const payload = encodeFrame(delta);
  const frame = Buffer.concat([Buffer.from([0x82, payload.length]), payload]);
  return {
    port: (server.address() as AddressInfo).port,
    rooms: () => Promise.resolve(["all"]),
    says: () => [
      () => {
        for (const socket of sockets) socket.write(frame);
        return sockets.size;
      },
    ],
    async pour(bytes) {
      const page = Buffer.alloc(64 * 1024, payload);
      for (let left = bytes; left > 0; left -= page.length) {
        for (const socket of sockets) if (!socket.write(page.subarray(0, left))) await once(socket, "drain");
      }
    },
  };
}

const [kind = "", more = "50"] = process.argv.slice(2);
const peer = await (kind === "haulout" ? haulout(Number(more)) : kind === "socket.io" ? socketIo() : plain());

const commands: Commands = {
  rooms: ([count]) => peer.rooms(Number(count)).then((rooms) => rooms.join(",")),
  fill: ([turns]) => peer.fill?.(Number(turns)),
  pour: ([bytes]) => peer.pour?.(Number(bytes)),
  queued: () => peer.queued?.(),
  /**
   * So many turns, with so many texts each, so many ms apart: what is late is dropped, never caught up with. A text is one
   * piece unless told; what it answers is in pieces.
   */
  async fan([turns, texts, everyMs, length = "1"]) {
    const text = PIECE.repeat(Number(length));
    const says = peer.says();
    // Beginning to speak is not what is measured.
    await sleep(20);
    const before = cpu();
    let sent = 0;
    let due = performance.now();
    for (let turn = 0; turn < Number(turns); turn++) {
      for (let at = 0; at < Number(texts); at++) for (const say of says) sent += say(text) * Number(length);
      due = Math.max(due + Number(everyMs), performance.now());
      await sleep(Math.max(0, due - performance.now()));
    }
    // What waits to be merged belongs to it.
    await sleep(80);
    return [sent, cpu() - before];
  },
  cpu: () => cpu(),
  rss: () => resident(),
  /** After a collection, in bytes: resident, the heap's objects, and what lives outside of it for them. */
  memory() {
    const rss = resident();
    const { heapUsed, external } = process.memoryUsage();
    return [rss, heapUsed, external];
  },
  /** Timers that wait, and listeners of the process. */
  held: () => [
    process.getActiveResourcesInfo().filter((name) => name === "Timeout").length,
    process.eventNames().reduce((sum, name) => sum + process.listenerCount(name), 0),
  ],
};
answerLines(commands);
console.log(`listening on http://127.0.0.1:${peer.port}`);
