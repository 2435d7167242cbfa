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
import { newId } from "../../protocol/ids.ts";
import { startServer } from "../../server/server.ts";
import { writeLongSession } from "../support/long-log.ts";
import { answerLines, cpu, resident, type Commands } from "./side.ts";
import { PIECE } from "./peer-shape.ts";

/** Sends a piece of text to everybody in a room, and answers how many that is. */
type Say = () => number;

interface Peer {
  readonly port: number;
  /** Makes so many rooms; answers their names. */
  rooms(count: number): Promise<string[]>;
  /** Ways to speak to the rooms, the last ones that were made. */
  says(): Say[];
  /** Writes a session of so many turns, for what the store holds of it. */
  fill?(turns: number): Promise<unknown>;
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
        const message = newId("msg");
        feed.begin("run", message, { part: 0, kind: "text" });
        const readers = feed.subscribers;
        return () => (feed.say(message, 0, PIECE), readers);
      }),
    fill: (turns) => writeLongSession(server.runtime.store, turns),
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
        const message = newId("msg");
        const readers = server.sockets.adapter.rooms.get(room)?.size ?? 0;
        let offset = 0;
        return () => {
          server.to(room).emit("delta", { channel: 1, message, part: 0, offset, text: PIECE });
          offset += PIECE.length;
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
  const delta = { type: "delta", channel: 1, message: newId("msg"), part: 0, offset: 1000, text: PIECE };
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
  };
}

const [kind = "", more = "50"] = process.argv.slice(2);
const peer = await (kind === "haulout" ? haulout(Number(more)) : kind === "socket.io" ? socketIo() : plain());

const commands: Commands = {
  rooms: ([count]) => peer.rooms(Number(count)).then((rooms) => rooms.join(",")),
  /** So many turns, with so many pieces each, so many ms apart: what is late is dropped, never caught up with. */
  async fan([turns, pieces, everyMs]) {
    const says = peer.says();
    // Beginning to speak is not what is measured.
    await sleep(20);
    const before = cpu();
    let sent = 0;
    let due = performance.now();
    for (let turn = 0; turn < Number(turns); turn++) {
      for (let piece = 0; piece < Number(pieces); piece++) for (const say of says) sent += say();
      due = Math.max(due + Number(everyMs), performance.now());
      await sleep(Math.max(0, due - performance.now()));
    }
    // What waits to be merged belongs to it.
    await sleep(80);
    return [sent, cpu() - before];
  },
  async fill([turns]) {
    await peer.fill?.(Number(turns));
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
