// limit: 300 s
/**
 * The page as the server hands it out: its files and their headers, how much the first view loads, a base path, and a first
 * conversation in a real browser, signed in where the server asks for that.
 */
import { readdirSync, readFileSync } from "node:fs";
import { gzipSync } from "node:zlib";
import { connect } from "../../client/index.ts";
import { TestServer } from "../support/server.ts";
import { assert, suite } from "../support/suite.ts";
import { ensureTool } from "../support/tools.ts";
import { until } from "../support/wait.ts";
import { TestBrowser } from "./support/browser.ts";

const MAX_FIRST_VIEW = 60 * 1024;

const test = suite("the page");
const hasBrowser = await ensureTool("chromium");
const token = "ann-secret-0123456789";
let server: TestServer;
let guarded: TestServer;
let browser: TestBrowser | undefined;

test.before(async () => {
  [server, guarded] = await Promise.all([
    TestServer.start({ store: "memory" }),
    TestServer.start({
      store: "memory",
      config: { auth: { mode: "token", tokens: [{ user: "ann", name: "Ann", token }] }, basePath: "/base" },
    }),
  ]);
  if (hasBrowser) browser = await TestBrowser.launch();
});
test.after(async () => {
  await browser?.close();
  await Promise.all([server.kill(), guarded.kill()]);
});

/** The assets that a file names, and those that these name, as far as they are loaded without being asked for. */
function staticImports(folder: URL, name: string, found = new Set<string>()): Set<string> {
  if (found.has(name)) return found;
  found.add(name);
  const text = readFileSync(new URL(name, folder), "utf8");
  const named = name.endsWith(".html")
    ? text.matchAll(/(?:src|href)="assets\/([^"]+)"/g)
    : name.endsWith(".js")
      ? text.matchAll(/(?:from|import)\s*"\.\/([^"]+)"/g)
      : [];
  for (const [, other = ""] of named) staticImports(folder, other, found);
  return found;
}

test("the first view is at most 60 KiB, compressed", () => {
  const folder = new URL("../../client/page/", import.meta.url);
  const names = [...staticImports(folder, "index.html")];
  const sizes = names.map((name) => gzipSync(readFileSync(new URL(name, folder)), { level: 9 }).length);
  const total = sizes.reduce((sum, size) => sum + size, 0);
  console.log(`first view: ${total} bytes in ${names.length} files, of ${readdirSync(folder).length}`);
  assert.ok(names.length >= 3, "html, style and script");
  assert.ok(
    total <= MAX_FIRST_VIEW,
    `${total} bytes: ${names.map((name, at) => `${name} ${sizes[at]}`).join(", ")}`,
  );
});

test("its first file is asked for anew each time, what that names is kept for ever", async () => {
  const first = await fetch(`${server.http}/`);
  const html = await first.text();
  assert.match(first.headers.get("content-type")!, /^text\/html/);
  assert.is(first.headers.get("cache-control"), "no-cache");
  const policy = first.headers.get("content-security-policy")!;
  for (const part of [
    "default-src 'none'",
    "script-src 'self'",
    "trusted-types 'none'",
    "frame-ancestors 'none'",
  ])
    assert.ok(policy.includes(part), part);
  const etag = first.headers.get("etag")!;
  const again = await fetch(`${server.http}/`, { headers: { "if-none-match": etag } });
  assert.equal([again.status, await again.text()], [304, ""]);
  const assets = [...html.matchAll(/"(assets\/[^"]+)"/g)].map(([, path]) => path!);
  assert.is(assets.length, 2);
  for (const path of assets) {
    const asset = await fetch(`${server.http}/${path}`, { headers: { "accept-encoding": "gzip" } });
    assert.is(asset.status, 200, path);
    assert.match(
      asset.headers.get("content-type")!,
      path.endsWith(".css") ? /^text\/css/ : /^text\/javascript/,
    );
    assert.is(asset.headers.get("content-encoding"), "gzip");
    assert.match(asset.headers.get("cache-control")!, /immutable/);
    assert.is(asset.headers.get("x-content-type-options"), "nosniff");
    const plain = await fetch(`${server.http}/${path}`, { headers: { "accept-encoding": "identity" } });
    assert.is(plain.headers.get("content-encoding"), null);
    assert.is(await plain.text(), await asset.text());
  }
  for (const path of ["/assets/", "/assets/../index.html", "/assets/%2e%2e/index.html", "/assets/index.html"])
    assert.is((await fetch(server.http + path)).status, 404, path);
});

test("a base path without its slash leads to the page", async () => {
  const answer = await fetch(guarded.http, { redirect: "manual" });
  assert.equal([answer.status, answer.headers.get("location")], [308, "/base/"]);
});

if (!hasBrowser) test.skip("somebody begins a session on the page", "needs Chromium");
else {
  test("somebody begins a session on the page, and others read it by its link", async () => {
    const { page, violations, errors } = await browser!.open(server.http);
    await page.getByLabel("First message").fill("Hello, walrus!");
    await page.getByRole("button", { name: "New session" }).click();
    await page.getByText("You said “Hello, walrus!”").waitFor();
    const session = /#\/s\/(.+)$/.exec(page.url())![1]!;
    const reader = connect({ url: server.url });
    const { items } = await reader.history({ session });
    assert.equal(
      items.map(({ role }) => role),
      ["user", "assistant"],
    );
    reader.close();
    const other = await browser!.open(`${server.http}/#/s/${session}`);
    await other.page.getByText("You said “Hello, walrus!”").waitFor();
    assert.equal([...violations, ...errors, ...other.violations, ...other.errors], []);
  });

  test("what was said in any session is found by its words, and leads there", async () => {
    const client = connect({ url: server.url });
    const { session } = await client.createSession({ agent: "demo", title: "On the ice" });
    const chat = await client.attach(session);
    await chat.ask("Forty tusks, <b>counted</b> twice");
    await until(async () => (await client.search({ text: "tusks" })).items.length > 1, 10_000, "an index");
    client.close();
    const { page, violations, errors } = await browser!.open(server.http);
    await page.getByLabel("Find sessions and what was said").fill("forty tus");
    const hits = page.getByRole("region", { name: "Said" }).getByRole("link");
    const said = hits.filter({ hasText: "local · On the ice" });
    await said.waitFor();
    assert.is((await said.locator(".snippet").innerText()).trim(), "Forty tusks, <b>counted</b> twice");
    assert.equal(await said.locator("mark").allInnerTexts(), ["Forty", "tusks"]);
    await said.click();
    await page.getByRole("heading", { name: "On the ice" }).waitFor();
    assert.ok(page.url().endsWith(`#/s/${session}`));
    await page.getByLabel("Find sessions and what was said").fill("");
    await hits.first().waitFor({ state: "detached" });
    assert.equal([...violations, ...errors], []);
  });

  test("a server that wants a token is asked for one, below a base path, and a wrong one is told", async () => {
    const { page, violations, errors } = await browser!.open(guarded.http);
    const field = page.getByLabel("Token");
    await field.fill("wrong-secret-0123456789");
    await page.getByRole("button", { name: "Sign in" }).click();
    await page.getByRole("alert").filter({ hasText: "unauthenticated" }).waitFor();
    await field.fill(token);
    await page.getByRole("button", { name: "Sign in" }).click();
    await page.getByRole("contentinfo").getByText("Ann").waitFor();
    await page.reload();
    await page.getByRole("contentinfo").getByText("Ann").waitFor();
    await page.getByRole("button", { name: "Sign out" }).click();
    await page.getByLabel("Token").waitFor();
    const answer = await fetch(`${guarded.http}/ticket`, {
      method: "POST",
      headers: { authorization: `Bearer ${token}` },
    });
    const { ticket } = (await answer.json()) as { ticket: string };
    await page.goto("about:blank");
    await page.goto(`${guarded.http}/#ticket=${ticket}`);
    await page.getByRole("contentinfo").getByText("Ann").waitFor();
    assert.not.match(page.url(), /ticket/);
    assert.equal([...violations, ...errors], []);
  });
}

test.run();
