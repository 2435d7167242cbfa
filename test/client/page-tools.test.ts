// limit: 300 s
/**
 * Tools that a page offers to its session: two pages are a pool, what a closed page offered is gone after the grace, and
 * nobody offers who may not, nor under a name that the server has. Over real sockets, and from a page in a real browser.
 */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { build } from "esbuild";
import { chromium } from "playwright-core";
import { connect } from "../../client/index.ts";
import type { Client, SessionHandle } from "../../client/index.ts";
import type { EntryBodyOf } from "../../protocol/entries.ts";
import { ProtocolError } from "../../protocol/errors.ts";
import { repositoryRoot } from "../support/root.ts";
import { TestServer } from "../support/server.ts";
import { assert, suite } from "../support/suite.ts";
import { ensureTool, findTool } from "../support/tools.ts";
import { until } from "../support/wait.ts";

const GRACE_MS = 600;
const test = suite("tools of pages");
const hasBrowser = await ensureTool("chromium");
const tokenOf = (user: string): string => `${user}-secret-0123456789`;
let server: TestServer;
/** Where the page comes from. */
let pages: string;
const listener = createServer();
const clients: Client[] = [];
let ann: Client | undefined;

test.before(async () => {
  const bundled = await build({
    entryPoints: [join(repositoryRoot, "client", "index.ts")],
    bundle: true,
    write: false,
    format: "iife",
    globalName: "haulout",
    platform: "browser",
  });
  const script = bundled.outputFiles[0]!.text;
  listener.on("request", (request, response) => {
    const isScript = request.url === "/client.js";
    response.setHeader("content-type", isScript ? "text/javascript" : "text/html");
    response.end(isScript ? script : '<!doctype html><title>page</title><script src="/client.js"></script>');
  });
  await new Promise<void>((resolve) => listener.listen(0, "127.0.0.1", resolve));
  pages = `http://127.0.0.1:${(listener.address() as AddressInfo).port}`;
  const tokens = [
    { user: "ann", token: tokenOf("ann") },
    { user: "bob", token: tokenOf("bob") },
    { user: "eve", token: tokenOf("eve") },
    { user: "tools", token: tokenOf("tools"), rights: ["provide:*"] },
  ];
  server = await TestServer.start({
    store: "memory",
    env: { HAULOUT_PROVIDER_GRACE_MS: String(GRACE_MS) },
    config: { auth: { mode: "token", tokens }, allowedOrigins: [pages] },
  });
});
test.after.each(() => {
  for (const client of clients.splice(0)) client.close();
});
test.after(async () => {
  ann?.close();
  await server.kill();
  await new Promise((resolve) => listener.close(resolve));
});

function client(user: string): Client {
  const made = connect({ url: server.url, token: tokenOf(user) });
  clients.push(made);
  return made;
}

function says(text: string) {
  return {
    pick: {
      description: "What the page says.",
      input: { type: "object" } as const,
      effect: "pure" as const,
      execute: () => text,
    },
  };
}

/** Of ann, who watches it by `ann`. */
async function newSession(): Promise<SessionHandle> {
  ann ??= connect({ url: server.url, token: tokenOf("ann") });
  return ann.attach((await ann.createSession({ agent: "demo" })).session);
}

/** Has the model call a tool; how the call ended. */
async function call(session: SessionHandle, tool: string): Promise<EntryBodyOf<"tool-result">> {
  const results: EntryBodyOf<"tool-result">[] = [];
  const stop = session.on("entry", ({ event }) => {
    if (event.type === "tool-result") results.push(event);
  });
  await session.ask(JSON.stringify({ script: [{ calls: [{ tool, input: {} }] }, { text: "so" }] }));
  stop();
  assert.is(results.length, 1);
  return results[0]!;
}

async function providersOf(session: SessionHandle, tool = "pick"): Promise<number | undefined> {
  const { items } = await ann!.listTools({ session: session.id });
  return items.find((item) => item.name === tool)?.providers;
}

async function codeOf(offer: Promise<unknown>): Promise<string | undefined> {
  try {
    await offer;
    return undefined;
  } catch (error) {
    return error instanceof ProtocolError ? error.code : String(error);
  }
}

test("two pages of a session are a pool for it alone, and what they offered is gone after the grace", async () => {
  const session = await newSession();
  const other = await newSession();
  const pages = [client("ann"), client("ann")];
  for (const [at, page] of pages.entries()) {
    const provided = await page.provideTools(says(`page ${at}`), { session: session.id });
    assert.equal(provided.accepted, ["pick"]);
  }
  assert.is(await providersOf(session), 2);
  assert.is(await providersOf(other), undefined);
  assert.is((await call(other, "pick")).outcome, "unavailable");
  const both = new Set([(await call(session, "pick")).output, (await call(session, "pick")).output]);
  assert.equal(both, new Set(["page 0", "page 1"]));
  pages[0]!.close();
  await until(async () => (await providersOf(session)) === 1, 10_000, "one page");
  for (let n = 0; n < 2; n++) assert.is((await call(session, "pick")).output, "page 1");
  const left = performance.now();
  pages[1]!.close();
  await until(async () => (await providersOf(session)) === undefined, 10_000, "no tool");
  assert.ok(performance.now() - left >= GRACE_MS - 50);
  assert.is((await call(session, "pick")).outcome, "unavailable");
});

test("who is no editor of the session offers it nothing", async () => {
  const session = await newSession();
  const offer = (user: string): Promise<string | undefined> =>
    codeOf(client(user).provideTools(says(user), { session: session.id }));
  assert.is(await offer("eve"), "not-found");
  assert.is(await offer("tools"), "not-found", "the right to provide to the server shows no session");
  for (const [role, code] of [
    ["viewer", "forbidden"],
    ["approver", "forbidden"],
    ["editor", undefined],
  ] as const) {
    await ann!.request("grant", { session: session.id, user: "bob", role });
    assert.is(await offer("bob"), code, role);
  }
  assert.is(await codeOf(client("bob").provideTools(says("bob"))), "forbidden", "not to the server");
});

test("no page takes a name of the server's, and one that it had is the server's once that is offered", async () => {
  const session = await newSession();
  const page = client("ann");
  const provider = client("tools");
  const clock = says("page").pick;
  assert.is(await codeOf(page.provideTools({ clock }, { session: session.id })), "conflict");
  await provider.provideTools({ shared: says("server").pick });
  const shared = says("page").pick;
  assert.is(await codeOf(page.provideTools({ shared }, { session: session.id })), "conflict");
  await page.provideTools({ own: shared }, { session: session.id });
  assert.is((await call(session, "own")).output, "page");
  await provider.provideTools({ own: says("server").pick });
  assert.is((await call(session, "own")).output, "server");
});

if (!hasBrowser) test.skip("a page in a browser serves its session until it is closed", "needs Chromium");
else {
  test("a page in a browser serves its session until it is closed", { limitMs: 120_000 }, async () => {
    const session = await newSession();
    const browser = await chromium.launch({
      executablePath: findTool("chromium")!,
      args: ["--no-sandbox"],
      timeout: 90_000,
    });
    try {
      const page = await browser.newPage();
      await page.goto(pages);
      const accepted = await page.evaluate(
        async ({ url, token, session }) => {
          const { haulout } = globalThis as unknown as { haulout: { connect: typeof connect } };
          const own = haulout.connect({ url, token });
          const provided = await own.provideTools(
            {
              pick: {
                description: "The page's title.",
                input: { type: "object" },
                effect: "pure",
                execute: () => (globalThis as unknown as { document: { title: string } }).document.title,
              },
            },
            { session },
          );
          return provided.accepted;
        },
        { url: server.url, token: tokenOf("ann"), session: session.id },
      );
      assert.equal(accepted, ["pick"]);
      assert.is((await call(session, "pick")).output, "page");
      await page.close({ runBeforeUnload: false });
      await until(async () => (await providersOf(session)) === undefined, 15_000, "no tool");
      assert.is((await call(session, "pick")).outcome, "unavailable");
    } finally {
      await browser.close();
    }
  });
}

test.run();
