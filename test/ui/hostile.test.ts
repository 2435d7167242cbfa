// limit: 300 s
/**
 * What others write cannot harm who reads it: markup, links that run code, pictures that phone home, a megabyte on one line,
 * text that turns or hides what is around it, in messages, titles, names and the output of tools. And what is long stays
 * quick: a session of ten thousand messages, three hundred deltas a second.
 */
import { connect } from "../../client/index.ts";
import type { Client } from "../../client/index.ts";
import { TestServer } from "../support/server.ts";
import { assert, suite } from "../support/suite.ts";
import { ensureTool } from "../support/tools.ts";
import { until } from "../support/wait.ts";
import { picture, TestBrowser, type Page } from "./support/browser.ts";
import { importMessages } from "./support/long-session.ts";

const MESSAGES = 10_000;
/** Rows that may exist at once, whatever the session's length: a screen and what is kept around it. */
const MOST_ROWS = 120;

const test = suite("the page and what others write");
const hasBrowser = await ensureTool("chromium");
let server: TestServer;
let browser: TestBrowser;
let client: Client;

const MARKUP = [
  "<script>window.hacked = 1</script>",
  "<img src=x onerror='window.hacked = 2'>",
  "<svg/onload=window.hacked=3>",
  "<iframe srcdoc='<script>top.hacked=4</script>'></iframe>",
  "[click](javascript:window.hacked=5) [data](data:text/html,<script>window.hacked=6</script>)",
  "[vb](vbscript:x) [tab](java\tscript:window.hacked=7) <javascript:window.hacked=8>",
  "![pixel](http://evil.example/pixel.png) ![data](data:image/svg+xml,<svg onload=alert(1)>)",
  "[ref][r]\n\n[r]: javascript:window.hacked=9",
  "`<b>code</b>` **<i>bold</i>**",
  "| <script>window.hacked=10</script> | b |\n|---|---|\n| <img src=x onerror=window.hacked=11> | [x](javascript:1) |",
  "```<script>\nwindow.hacked=12\n```",
  "safe: https://example.com/ok and [mail](mailto:a@b.c)",
].join("\n\n");
const TURNED = "\u202Egnp.exe\u202C \u200B\u2066hidden\u2069 \uFEFF";

if (!hasBrowser) test.skip("hostile content is inert", "needs Chromium");
else {
  test.before(async () => {
    server = await TestServer.start({ store: "memory" });
    browser = await TestBrowser.launch();
    client = connect({
      url: server.url,
      user: { id: '<img src=x onerror="hacked=13">', name: `Eve${TURNED}<b>` },
    });
  });
  test.after(async () => {
    client.close();
    await browser.close();
    await server.kill();
  });

  /** Puts the keyboard to the messages, once the composer has had it. */
  async function read(page: Page): Promise<void> {
    await page.locator(".composer textarea:focus").waitFor();
    await page.getByRole("log").focus();
  }

  test(
    "markup in messages, titles, names and outputs of tools is text, and nothing leaves the page",
    { limitMs: 90_000 },
    async () => {
      const { session } = await client.createSession({
        agent: "demo",
        title: `<script>hacked=14</script>${TURNED}${"x".repeat(900)}`,
      });
      const long = "y".repeat(600 * 1024);
      const tools = await client.provideTools({
        evil: {
          description: MARKUP,
          input: { type: "object" },
          effect: "pure",
          execute: () => ({ html: MARKUP, turned: TURNED, long }),
        },
      });
      const handle = await client.attach(session);
      await handle.ask(
        JSON.stringify({
          script: [
            { reasoning: MARKUP },
            { calls: [{ tool: "evil", input: { html: MARKUP } }] },
            { text: MARKUP },
          ],
        }),
      );
      await handle.ask(`${MARKUP} ${"z".repeat(700 * 1024)}`);
      const { page, violations, errors } = await browser.open("about:blank");
      const foreign: string[] = [];
      page.on("request", (request) => {
        if (!request.url().startsWith(server.http) && !request.url().startsWith("data:"))
          foreign.push(request.url());
      });
      await page.goto(`${server.http}/#/s/${session}`);
      await read(page);
      await page.keyboard.press("Home");
      await page.locator(".tool summary").click();
      await page.locator(".reasoning summary").first().click();
      await page.locator(".tool .inside").getByText("Output").waitFor();
      await page.locator("pre.long").first().waitFor();
      await page
        .getByRole("button", { name: /Show more/ })
        .first()
        .click();
      await picture(page, "hostile");
      const found = await page.evaluate(() => ({
        hacked: (window as unknown as { hacked?: number }).hacked,
        scripts: [...document.scripts].filter((script) => !script.src.startsWith(location.origin)).length,
        handlers: [...document.querySelectorAll("*")].filter((element) =>
          element.getAttributeNames().some((name) => name.startsWith("on")),
        ).length,
        embedded: document.querySelectorAll("iframe, object, embed, img, #root script, form[action]").length,
        schemes: [...new Set([...document.links].map((link) => new URL(link.href).protocol))].sort(),
        titles: [...document.querySelectorAll("h1, .sessions .title, .author")].map(
          (element) => element.textContent,
        ),
        code: [...document.querySelectorAll("pre.long")].map((element) => element.textContent).join(""),
        wide: document.documentElement.scrollWidth > document.documentElement.clientWidth,
        letters: document.body.textContent.length,
      }));
      assert.is(found.hacked, undefined);
      assert.equal([found.scripts, found.handlers, found.embedded], [0, 0, 0]);
      assert.ok(
        found.schemes.every((scheme) => /^(?:https?|mailto):$/.test(scheme)),
        found.schemes.join(),
      );
      for (const title of found.titles) assert.not.match(title, /[\u200b\u202a-\u202e\u2066-\u2069\ufeff]/);
      assert.match(found.code, /⟦U\+202E⟧gnp\.exe/);
      assert.not.ok(found.wide, "nothing pushes the page wider than its window");
      assert.ok(found.letters < 400_000, `${found.letters} letters are drawn at once`);
      assert.equal(foreign, []);
      assert.equal([...violations, ...errors], []);
      await tools.withdraw();
    },
  );

  test(
    "of a session of ten thousand messages only what is near the screen exists, wherever its reader goes",
    { limitMs: 90_000 },
    async () => {
      await importMessages(client, "ses_long", MESSAGES);
      const { page, errors, violations } = await browser.open(server.http);
      await page.getByRole("heading", { name: "What shall we do?" }).waitFor();
      const painted = await page.evaluate(async () => {
        const began = performance.now();
        location.hash = "#/s/ses_long";
        while (document.querySelector('[data-row="msg_9999"]') === null)
          await new Promise((resolve) => requestAnimationFrame(resolve));
        await new Promise((resolve) => requestAnimationFrame(resolve));
        return performance.now() - began;
      });
      console.log(`10 000 messages: painted in ${Math.round(painted)} ms`);
      const rows = (): Promise<number> => page.locator("[data-row]").count();
      assert.ok((await rows()) <= MOST_ROWS, `${await rows()} rows`);
      await read(page);
      let most = 0;
      const shown = async (): Promise<number> => {
        most = Math.max(most, await rows());
        const id = await page.evaluate(() => {
          const top = document.querySelector(".scroller")!.getBoundingClientRect().top;
          const row = [...document.querySelectorAll<HTMLElement>('[data-row^="msg_"]')].find(
            (element) => element.getBoundingClientRect().bottom > top + 1,
          );
          return row?.dataset["row"];
        });
        return Number(id?.slice(4));
      };
      const above = (): Promise<number> => page.locator(".scroller").evaluate((box) => box.scrollTop);
      const toTop = (): Promise<void> =>
        page.locator(".scroller").evaluate((box) => {
          box.scrollTop = 0;
        });
      const olderAbove = (): Promise<unknown> =>
        until(async () => (await above()) > 4000, 10_000, "older messages above those that are shown");
      await toTop();
      await olderAbove();
      // The first one of the fifty that a snapshot brings.
      const held = await shown();
      assert.ok(Math.abs(held - 9950) <= 5, `the reader stays where he was: at ${held}`);
      for (const goal of [9800, 9500, 9200]) {
        const further = async (): Promise<boolean> => {
          await toTop();
          return (await shown()) < goal;
        };
        await until(further, 20_000, `message ${goal}`);
      }
      // While they come, what is shown moves by itself.
      await olderAbove();
      const before = await shown();
      await page.keyboard.press("PageDown");
      await until(async () => (await shown()) > before, 5000, "a page further down");
      await page.getByRole("button", { name: "Jump to latest" }).click();
      await page.locator('[data-row="msg_9999"]').waitFor();
      assert.ok(most <= MOST_ROWS, `${most} rows at once`);
      assert.equal([...violations, ...errors], []);
    },
  );

  test("what is older comes by itself where the newest leave room on the screen", async () => {
    const author = { kind: "user" as const, id: "ann", name: "Ann", verified: false };
    const at = Date.now();
    const said = (id: string, text: string) => ({
      at,
      event: {
        type: "message" as const,
        message: { id, role: "user" as const, author, parts: [{ type: "text" as const, text }] },
      },
    });
    const created = { at, event: { type: "session-created", agent: "demo", owner: "ann" } as const };
    const long = "w".repeat(700 * 1024);
    const put = { session: "ses_roomy" };
    await client.request("importEntries", {
      ...put,
      after: 0,
      entries: [created, said("msg_a", "the first")],
    });
    await client.request("importEntries", { ...put, after: 2, entries: [said("msg_b", long)] });
    await client.request("importEntries", { ...put, after: 3, entries: [said("msg_c", long)], last: true });
    const { page, violations, errors } = await browser.open(`${server.http}/#/s/ses_roomy`);
    await page.locator("[data-row='msg_c']").waitFor();
    await page.locator("[data-row='msg_a']").getByText("the first").waitFor();
    assert.equal([...violations, ...errors], []);
  });

  test("three hundred deltas a second become one text, painted once a frame", async () => {
    const { session } = await client.createSession({ agent: "demo", title: "Fast" });
    const { page, violations, errors } = await browser.open(`${server.http}/#/s/${session}`);
    await page.getByText("Nothing was said yet").waitFor();
    await page.evaluate(() => {
      const seen = { long: [] as number[], frames: 0 };
      (window as unknown as { seen: typeof seen }).seen = seen;
      new PerformanceObserver((list) => {
        for (const { duration } of list.getEntries()) seen.long.push(Math.round(duration));
      }).observe({ type: "longtask" });
    });
    const text = Array.from(
      { length: 60 },
      (_, n) =>
        `## Part ${n}\n\nSome **bold** words and \`code\`, a [link](https://example.com/${n}).\n\n- one\n- two\n`,
    ).join("\n");
    const handle = await client.attach(session);
    await handle.ask(JSON.stringify({ script: [{ text, rate: 300, chunk: 6 }] }));
    await page.locator(".working").waitFor({ state: "detached" });
    assert.is(await page.locator(".markdown h4").count(), 60);
    const { long } = await page.evaluate(() => (window as unknown as { seen: { long: number[] } }).seen);
    console.log(
      `300 deltas/s: ${Math.round(text.length / 6)} deltas, ${long.length} long tasks, the longest ${Math.max(0, ...long)} ms`,
    );
    assert.equal([...violations, ...errors], []);
  });
}

test.run();
