/**
 * Requests that nobody online may answer reach a webhook: a real server and a receiver over loopback HTTP, which checks the
 * signature as any receiver would, refuses, redirects and comes back.
 */
import { createHmac, randomBytes, timingSafeEqual } from "node:crypto";
import { createServer, type IncomingHttpHeaders, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { TestServer } from "../support/server.ts";
import { assert, suite } from "../support/suite.ts";
import { until } from "../support/wait.ts";
import { Wire, type Frame } from "../support/wire.ts";
import { calls, newSession, say, script } from "./play.ts";

const test = suite("webhooks");
const KEY = randomBytes(32);
const ASKS = script(calls(["ask", { questions: [{ id: "q", text: "Now?", kind: "text" }] }]), {
  text: "thanks",
});
const TOKENS = ["ada", "bob"].map((user) => ({ user, token: `${user}-secret-0123456789` }));

interface Post {
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
  readonly path: string;
}

class Receiver {
  readonly posts: Post[] = [];
  /** Status of the next answers; 204 when there is none. */
  readonly answers: number[] = [];
  readonly server: Server;

  constructor() {
    this.server = createServer((request, response) => {
      let body = "";
      request.setEncoding("utf8");
      request.on("data", (piece: string) => (body += piece));
      request.on("end", () => {
        this.posts.push({ headers: request.headers, body, path: request.url ?? "" });
        response.writeHead(this.answers.shift() ?? 204, { location: "/elsewhere" }).end();
      });
    });
  }

  async listen(): Promise<string> {
    await new Promise<void>((resolve) => this.server.listen(0, "127.0.0.1", resolve));
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}/hook`;
  }

  /** The post number `count`, once it is there. */
  async post(count: number): Promise<Post> {
    await until(() => this.posts.length >= count, 15_000, `post ${count}`);
    return this.posts[count - 1]!;
  }
}

let receiver: Receiver;
let server: TestServer;

async function start(delayMs: number): Promise<Wire> {
  receiver = new Receiver();
  const webhooks = [{ url: await receiver.listen(), secret: `whsec_${KEY.toString("base64")}` }];
  const auth = { mode: "token", tokens: TOKENS };
  const agents = [{ name: "demo", tools: ["ask"] }];
  server = await TestServer.start({ config: { auth, agents, webhooks, webhookDelayMs: delayMs } });
  return enter("ada");
}
test.after.each(async () => {
  await server.kill();
  receiver.server.closeAllConnections();
  receiver.server.close();
});

const enter = (user: string): Promise<Wire> =>
  Wire.connect(server.url, { token: `${user}-secret-0123456789` });

async function ask(ada: Wire): Promise<string> {
  const session = await newSession(ada, { title: "Ask" });
  await say(ada, session, ASKS);
  return session;
}

/** As the words of Standard Webhooks have it. */
function isSigned({ headers, body }: Post): boolean {
  const text = `${String(headers["webhook-id"])}.${String(headers["webhook-timestamp"])}.${body}`;
  const expected = createHmac("sha256", KEY).update(text).digest();
  const [version, given = ""] = String(headers["webhook-signature"]).split(",");
  return version === "v1" && timingSafeEqual(expected, Buffer.from(given, "base64"));
}

const openRequest = async (wire: Wire): Promise<Frame> =>
  (await wire.ok("listRequests"))["items"][0] as Frame;

test("a request that nobody has before their eyes is posted, signed, and marked in the log", async () => {
  const ada = await start(20);
  const session = await ask(ada);
  const post = await receiver.post(1);
  assert.ok(isSigned(post), JSON.stringify(post));
  assert.is(post.headers["content-type"], "application/json");
  assert.ok(Math.abs(Number(post.headers["webhook-timestamp"]) - Date.now() / 1000) < 60);
  await until(async () => (await openRequest(ada))["request"].notifiedAt, 10_000, "the mark");
  const { request, ...about } = await openRequest(ada);
  const said = JSON.parse(post.body) as { type: string; data: Frame };
  assert.is(said.type, "request-opened");
  const { notifiedAt: _, ...open } = request as Frame;
  assert.equal(said.data, { ...about, request: open, answerers: ["ada"] });
  assert.is(post.headers["webhook-id"], open["request"]);
  assert.is(session, about["session"]);
});

test("what is refused or sent elsewhere is posted again under the same id until it is taken, once", async () => {
  const ada = await start(0);
  receiver.answers.push(500, 302);
  await ask(ada);
  const posts = [await receiver.post(1), await receiver.post(2), await receiver.post(3)];
  assert.is(new Set(posts.map(({ headers }) => headers["webhook-id"])).size, 1);
  assert.equal(new Set(posts.map(({ path }) => path)), new Set(["/hook"]));
  assert.ok(posts.every(isSigned));
  await until(async () => (await openRequest(ada))["request"].notifiedAt, 10_000, "the mark");
  await server.kill();
  server = await server.again();
  const session = await ask(await enter("ada"));
  const next = JSON.parse((await receiver.post(4)).body) as { data: Frame };
  assert.is(next.data["session"], session, "the first is not posted again after it was taken");
});

test("a request that was not taken is posted after a restart", async () => {
  const ada = await start(0);
  receiver.answers.push(...Array<number>(50).fill(503));
  await ask(ada);
  const first = await receiver.post(1);
  await server.kill();
  const before = receiver.posts.length;
  receiver.answers.length = 0;
  server = await server.again();
  const again = await receiver.post(before + 1);
  assert.is(again.headers["webhook-id"], first.headers["webhook-id"]);
  assert.ok(isSigned(again));
});

test("nothing is posted while somebody is there who may answer, but when they go", async () => {
  const ada = await start(50);
  const watcher = await enter("ada");
  await watcher.ok("watch", { requests: true });
  const watched = await ask(ada);
  await watcher.frame((frame) => frame["type"] === "requestChanged" && frame["session"] === watched);
  // Of another one, which nobody there may answer, a post comes; the first had the same time and did not.
  const bob = await enter("bob");
  const other = await ask(bob);
  const post = JSON.parse((await receiver.post(1)).body) as { data: Frame };
  assert.is(post.data["session"], other);
  assert.equal(post.data["answerers"], ["bob"]);
  watcher.cut();
  const second = JSON.parse((await receiver.post(2)).body) as { data: Frame };
  assert.is(second.data["session"], watched);
});

test("a request that is answered in time is not posted", async () => {
  const ada = await start(300);
  const session = await ask(ada);
  const { request } = await until(() => openRequest(ada), 10_000, "the request");
  await ada.ok("answer", { session, request: request.request, answers: { q: "yes" } });
  const later = await ask(ada);
  const post = JSON.parse((await receiver.post(1)).body) as { data: Frame };
  assert.is(post.data["session"], later);
});

test.run();
