/**
 * The other side of peer-server.ts: many clients in one process, never measured. Arguments: which server, and its URL.
 * Owns connecting, joining rooms, and counting what came, by its text.
 */
import { connect, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { newId } from "../../protocol/ids.ts";
import { IoLink } from "./io-link.ts";
import { Link } from "./link.ts";
import { MESSAGE, PIECE } from "./peer-shape.ts";
import { answerLines } from "./side.ts";

interface Client {
  /** Instead of the room before. */
  join(room: string): Promise<void>;
  /** Besides the rooms before. */
  also(room: string): Promise<void>;
  /** Makes the room one in which a send is taken and nothing more. */
  prepare(): Promise<void>;
  send(): Promise<void>;
  /** Connects anew, where the connection before left off. */
  again(): Promise<Client>;
  close(): void;
  reading: boolean;
  /** Takes a session from its first entry, so many of them, and answers the bytes that came; of a plain server, bytes. */
  replay?(session: string, count: number): Promise<number>;
}

/** Text that came, in UTF-16 units; for the plain server bytes. */
let received = 0;

async function haulout(url: string): Promise<Client> {
  const link = await Link.open(url.replace("http", "ws") + "/ws");
  let session = "";
  let position = { epoch: 0, seq: 0 };
  let onEvent = (_type: string): unknown => undefined;
  let onLive = (): void => undefined;
  link.onFrame = (frame) => {
    if (frame["type"] === "delta") received += (frame["text"] as string).length;
    else if (frame["type"] === "event") {
      position = { epoch: frame["epoch"], seq: frame["seq"] };
      onEvent(frame["event"].type);
    } else if (frame["type"] === "live") onLive();
  };
  const attach = async (after?: typeof position): Promise<void> => {
    const ok = await link.request({ type: "attach", session, ...(after === undefined ? {} : { after }) });
    position = { epoch: ok["epoch"], seq: ok["head"] };
  };
  const join = async (room: string): Promise<void> => {
    session = room;
    await attach();
  };
  const client: Client & { resume(id: string, after: typeof position): Promise<void> } = {
    async join(room) {
      if (session !== "") await link.request({ type: "detach", session });
      await join(room);
    },
    also: join,
    async replay(id, count) {
      const before = link.bytesRead;
      let events = 0;
      const done = new Promise<void>((resolve) => {
        onEvent = () => ++events;
        onLive = resolve;
      });
      await link.request({ type: "attach", session: id, after: { epoch: 0, seq: 0 } });
      await done;
      if (events !== count) throw new Error(`${events} of ${count} entries came`);
      await link.request({ type: "detach", session: id });
      return link.bytesRead - before;
    },
    async prepare() {
      const waits = new Promise<void>((resolve) => {
        onEvent = (type) => type === "run-started" && resolve();
      });
      const content = JSON.stringify({ script: [{ stall: 3_600_000 }] });
      await link.request({ type: "send", session, key: newId("key"), content });
      await waits;
    },
    async send() {
      await link.request({ type: "send", session, key: newId("key"), content: MESSAGE });
    },
    async again() {
      const next = (await haulout(url)) as typeof client;
      await next.resume(session, position);
      return next;
    },
    close: () => link.close(),
    set reading(on: boolean) {
      link.reading = on;
    },
    async resume(id, after) {
      session = id;
      await attach(after);
    },
  };
  return client;
}

async function socketIo(url: string, before?: IoLink): Promise<Client> {
  const link = await IoLink.open(url.replace("http", "ws"), before);
  if (before !== undefined && !link.continues(before)) throw new Error("the connection was not recovered");
  link.onEvent = (name, value) => {
    if (name === "delta") received += (value.text as string).length;
  };
  return {
    join: (room) => link.request("join", room),
    also: (room) => link.request("join", room),
    prepare: () => Promise.resolve(),
    send: () => link.request("send", { key: newId("key"), mode: "queue", content: MESSAGE }),
    again: () => socketIo(url, link),
    close: () => link.close(),
    set reading(on: boolean) {
      link.reading = on;
    },
  };
}

async function plain(url: string): Promise<Client> {
  const { port } = new URL(url);
  const socket = await new Promise<Socket>((resolve) => {
    const opened = connect(Number(port), "127.0.0.1", () => resolve(opened));
  });
  /** Bytes that came and were not waited for yet: the other side may begin first. */
  let ahead = 0;
  let look = (): void => undefined;
  socket.on("data", (data) => {
    received += data.length;
    ahead += data.length;
    look();
  });
  const nothing = (): Promise<void> => Promise.resolve();
  return {
    join: nothing,
    also: nothing,
    replay: (_session, count) =>
      new Promise((resolve) => {
        look = () => {
          if (ahead < count) return;
          ahead -= count;
          look = () => undefined;
          resolve(count);
        };
        look();
      }),
    prepare: nothing,
    send: nothing,
    again: () => plain(url),
    close: () => socket.destroy(),
    set reading(on: boolean) {
      if (on) socket.resume();
      else socket.pause();
    },
  };
}

const [kind = "", url = ""] = process.argv.slice(2);
const open = kind === "haulout" ? haulout : kind === "socket.io" ? socketIo : plain;
let clients: Client[] = [];

/** A few at a time: what is compared is work, not how a backlog of connects is dealt with. */
async function inGroups<T>(items: readonly T[], work: (item: T, at: number) => Promise<void>): Promise<void> {
  let next = 0;
  await Promise.all(
    Array.from({ length: 32 }, async () => {
      while (next < items.length) {
        const at = next++;
        await work(items[at]!, at);
      }
    }),
  );
}

answerLines({
  async open([count]) {
    const before = clients.length;
    clients.length += Number(count);
    await inGroups(Array.from({ length: Number(count) }), async (_, at) => {
      clients[before + at] = await open(url);
    });
  },
  join([rooms = ""]) {
    const names = rooms.split(",");
    return inGroups(clients, (client, at) => client.join(names[at % names.length]!));
  },
  /** Every room has one client, and the clients have as many rooms as each other. */
  async spread([rooms = ""]) {
    const names = rooms.split(",");
    if (names.length < clients.length) await inGroups(clients, (client) => client.also(names[0]!));
    else await inGroups(names, (name, at) => clients[at % clients.length]!.also(name));
  },
  /** The first client reads a session from its first entry. */
  replay: ([session = "", count]) => clients[0]!.replay!(session, Number(count)),
  prepare: () => inGroups(clients, (client) => client.prepare()),
  /** Each client so many, so many in flight. */
  async send([count, inFlight]) {
    await Promise.all(
      clients.flatMap((client) =>
        Array.from({ length: Number(inFlight) }, async () => {
          for (let at = 0; at < Number(count) / Number(inFlight); at++) await client.send();
        }),
      ),
    );
  },
  async cut() {
    for (const client of clients) client.close();
    // Socket.IO recovers only what it has noticed to be gone.
    await sleep(500);
  },
  again: () =>
    inGroups([...clients], async (client, at) => {
      clients[at] = await client.again();
    }),
  async close() {
    for (const client of clients) client.close();
    clients = [];
    await new Promise(setImmediate);
  },
  /** Nobody reads while it is measured: waking readers up would be the server's cost, and depend on how busy they are. */
  pause() {
    for (const client of clients) client.reading = false;
  },
  resume() {
    for (const client of clients) client.reading = true;
  },
  /** Since it was asked last: pieces of text, or for the plain server bytes. */
  received() {
    const count = kind === "plain" ? received : received / PIECE.length;
    received = 0;
    return count;
  },
});
console.log("ready");
