/**
 * Read marks over real sockets: what is unread in lists, on every device of a user and nobody else's, over a kill of the
 * server, and that it leaves no trace in the log.
 */
import { connect, type Client, type Watching } from "../../client/index.ts";
import { TestServer } from "../support/server.ts";
import { assert, suite } from "../support/suite.ts";

const test = suite("unread");
const clients: Client[] = [];
let server: TestServer;

test.before(async () => {
  server = await TestServer.start();
});
test.after.each(() => {
  for (const client of clients.splice(0)) client.close();
});

function enter(user: string): Client {
  const client = connect({ url: server.url, user: { id: user } });
  clients.push(client);
  return client;
}

async function unread(client: Client, session: string): Promise<(number | undefined)[]> {
  const { items } = await client.listSessions();
  const found = items.find(({ id }) => id === session);
  return [found?.messages, found?.unread];
}

/** Resolves once the watch has this of the session. */
function until(watching: Watching, session: string, messages: number, count: number): Promise<void> {
  return new Promise((resolve) => {
    const look = (): void => {
      const info = watching.sessions.get(session);
      if (!watching.isListed || info?.messages !== messages || info.unread !== count) return;
      for (const stop of stops) stop();
      resolve();
    };
    const stops = [watching.on("session", look), watching.on("listed", look)];
    look();
  });
}

test("each user's unread messages are counted, told on all their devices, and kept when the server is killed", async () => {
  const ann = enter("ann");
  const { session } = await ann.createSession({ agent: "demo" });
  const chat = await ann.attach(session);
  await chat.ask("one");
  await chat.ask("two");
  assert.equal(await unread(ann, session), [4, 4]);
  const device = enter("ann").watch({ sessions: {} });
  const bob = enter("bob");
  const other = bob.watch({ sessions: {} });
  await Promise.all([until(device, session, 4, 4), until(other, session, 4, 4)]);

  const mark = async (upTo?: number): Promise<number[]> => {
    const { seq, unread: left } = await chat.markRead(upTo);
    return [seq, left];
  };
  const { seq: head } = chat.position!;
  const second = chat.state!.messages[1]!.seq;
  assert.equal(await mark(second), [second, 2]);
  await until(device, session, 4, 2);
  assert.equal(await mark(), [head, 0]);
  await until(device, session, 4, 0);
  assert.equal(await mark(second), [head, 0], "a mark only moves on");
  await chat.ask("three");
  await Promise.all([until(device, session, 6, 2), until(other, session, 6, 6)]);
  const refused = await chat.markRead(10_000).catch((error: unknown) => error);
  assert.is((refused as { code?: string }).code, "bad-frame");
  assert.ok(!JSON.stringify(chat.state).includes("unread"));
  assert.is(chat.position?.seq, chat.state?.seq);

  await server.kill();
  server = await server.again();
  assert.equal(await unread(enter("ann"), session), [6, 2]);
  assert.equal(await unread(enter("bob"), session), [6, 6]);
  await server.kill();
});

test.run();
