// limit: 300 s
/**
 * The page while things happen: several browsers on one session, one that joins in the middle, a reload in the middle, a server
 * that is killed and comes back. All end with the same text, once, and nothing that was written is lost.
 */
import { connect } from "../../client/index.ts";
import type { Client, SessionHandle } from "../../client/index.ts";
import { TestServer } from "../support/server.ts";
import { assert, suite } from "../support/suite.ts";
import { ensureTool } from "../support/tools.ts";
import { until } from "../support/wait.ts";
import { TestBrowser, type Page } from "./support/browser.ts";

const WORDS = 100;
/** Chunks of twelve letters a second: slow where others join in the middle. */
const SLOW = 3;
const FAST = 60;

const test = suite("the page, live");
const hasBrowser = await ensureTool("chromium");
let server: TestServer;
let browser: TestBrowser;
let client: Client;

if (!hasBrowser) test.skip("browsers in one session show the same", "needs Chromium");
else {
  test.before(async () => {
    server = await TestServer.start();
    browser = await TestBrowser.launch();
    client = connect({ url: server.url });
  });
  test.after(async () => {
    client.close();
    await browser.close();
    await server.kill();
  });

  const words = (name: string): string => Array.from({ length: WORDS }, (_, at) => `${name}${at}`).join(" ");
  /** A script that streams, calls tools, these too, and streams again. */
  const script = (rate: number, ...tools: string[]): string =>
    JSON.stringify({
      script: [
        { text: words("a"), rate },
        {
          calls: [
            { tool: "clock", input: {} },
            { tool: "roll_dice", input: { count: 2 } },
            ...tools.map((tool) => ({ tool, input: {} })),
          ],
        },
        { text: words("b"), rate: FAST },
      ],
    });

  async function newSession(title: string): Promise<{ session: SessionHandle; link: string }> {
    const { session } = await client.createSession({ agent: "demo", title });
    return { session: await client.attach(session), link: `${server.http}/#/s/${session}` };
  }

  const answers = async (page: Page): Promise<string> =>
    (await page.locator(".is-agent .markdown").allInnerTexts()).join(" ");
  const shows = (page: Page, word: string): Promise<void> =>
    page.locator(".is-agent", { hasText: new RegExp(`\\b${word}\\b`) }).waitFor();
  const say = async (page: Page, text: string): Promise<void> => {
    await page.getByLabel("Message", { exact: true }).fill(text);
    await page.keyboard.press("Enter");
  };

  test(
    "two browsers, one that joins in the middle and one that reloads there show the same text",
    { limitMs: 90_000 },
    async () => {
      const { session, link } = await newSession("Together");
      const [ann, bob] = await Promise.all([
        browser.open(link, { keeps: { name: { id: "ann", name: "Ann" } } }),
        browser.open(link, { keeps: { name: { id: "bob", name: "Bob" } } }),
      ]);
      await bob.page.getByText("Nothing was said yet").waitFor();
      let letGo = (): void => {};
      const everybodyIsThere = new Promise<void>((resolve) => (letGo = resolve));
      const tool = {
        description: "Waits.",
        input: { type: "object" },
        execute: () => everybodyIsThere.then(() => "yes"),
      };
      const provided = await client.provideTools({ everybody_is_there: tool }, { session: session.id });
      await say(ann.page, script(SLOW, "everybody_is_there"));
      await Promise.all([shows(ann.page, "a5"), shows(bob.page, "a5")]);
      const carol = await browser.open(link);
      await bob.page.reload();
      await shows(carol.page, "a5");
      const pages = [ann.page, bob.page, carol.page];
      for (const page of pages) assert.not.match(await answers(page), /b0/, "it is the middle");
      letGo();
      await Promise.all(pages.map((page) => shows(page, `b${WORDS - 1}`)));
      await Promise.all(pages.map((page) => page.locator(".working").waitFor({ state: "detached" })));
      const expected = `${words("a")} ${words("b")}`;
      for (const page of pages) {
        assert.is((await answers(page)).replace(/\s+/g, " "), expected);
        assert.is(await page.locator(".tool.is-ok").count(), 3);
        assert.match(await page.locator(".message.is-own, .message.is-other").first().innerText(), /script/);
      }
      assert.is(session.state?.messages.length, 3);
      for (const { violations, errors } of [ann, bob, carol]) assert.equal([...violations, ...errors], []);
      for (const { context } of [ann, bob, carol]) await context.close();
      await provided.withdraw();
    },
  );

  test(
    "a page outlives its server: it comes back by itself, goes on where it was and sends what waited",
    { limitMs: 90_000 },
    async () => {
      const { link, session } = await newSession("A restart");
      const { page, violations, errors } = await browser.open(link);
      await say(page, script(3 * SLOW));
      await shows(page, "a5");
      await server.kill();
      await page.getByText(/Reconnecting in \d+ s/).waitFor();
      await say(page, "Are you still there?");
      await page.getByText("1 message unsent, kept here").waitFor();
      await page.locator(".is-unsent", { hasText: "kept until there is a connection" }).waitFor();
      await page.getByLabel("Message", { exact: true }).fill("a draft");
      const { data, port } = server;
      server = await TestServer.start({ data, env: { HAULOUT_PORT: String(port) } });
      // Not the button "Try now": it comes back by itself.
      await page.getByText("You said “Are you still there?”").waitFor({ timeout: 25_000 });
      await until(() => session.caughtUp && session.state?.run === undefined, 20_000, "the end of both runs");
      assert.is(await page.getByLabel("Message", { exact: true }).inputValue(), "a draft");
      assert.is(await page.locator(".connection").count(), 0);
      const text = (await answers(page)).replace(/\s+/g, " ");
      for (const word of ["a0", `a${WORDS - 1}`, "b0", `b${WORDS - 1}`])
        assert.is(text.split(" ").filter((each) => each === word).length, 1, word);
      assert.is(await page.locator(".message.is-own").count(), 2);
      await page.reload();
      await page.getByText("You said “Are you still there?”").waitFor();
      assert.is((await answers(page)).replace(/\s+/g, " "), text);
      assert.is(await page.getByLabel("Message", { exact: true }).inputValue(), "a draft");
      assert.equal([...violations, ...errors], []);
    },
  );

  test(
    "what waits is moved and withdrawn in its place, and one at a time writes where that is so",
    { limitMs: 90_000 },
    async () => {
      const { link, session } = await newSession("Taking turns");
      const { page, violations, errors } = await browser.open(link);
      await page.getByText("Nothing was said yet").waitFor();
      await say(page, JSON.stringify({ script: [{ stall: 600_000 }] }));
      await page.getByRole("button", { name: "Stop" }).waitFor();
      for (const text of ["first", "second", "third"]) await say(page, text);
      const waiting = page.locator(".queue li");
      const order = async (): Promise<string> =>
        (await waiting.allInnerTexts()).join(" ").replace(/\W+/g, " ").trim();
      await until(
        async () => (await order()) === "local first local second local third",
        10_000,
        "three that wait",
      );
      await waiting.nth(2).getByRole("button", { name: "Move up" }).click();
      await until(
        async () => (await order()) === "local first local third local second",
        10_000,
        "the new order",
      );
      await waiting.nth(0).getByRole("button", { name: "Withdraw" }).click();
      await until(async () => (await order()) === "local third local second", 10_000, "the rest");
      await session.setFloor("hand");
      await page.getByRole("button", { name: "Give it up" }).click();
      await page.getByText("Nobody has the floor.").waitFor();
      assert.is(await page.locator(".composer").count(), 0);
      await page.getByRole("button", { name: "Take it" }).click();
      await page.getByText("You have the floor.").waitFor();
      await session.setFloor("queue");
      await page.getByRole("button", { name: "Stop" }).click();
      await page.getByText("You said “second”").waitFor();
      assert.is(await page.getByText("Stopped.").count(), 1);
      assert.equal([...violations, ...errors], []);
    },
  );

  test(
    "another agent is asked to answer one message, also one that came while the page was open",
    { limitMs: 90_000 },
    async () => {
      const { link, session } = await newSession("With a guest");
      const { page, violations, errors } = await browser.open(server.http);
      await page.getByRole("radio", { name: "demo" }).waitFor();
      await client.putAgent({ name: "poet" });
      await page.goto(link);
      await page.getByLabel("Who answers").selectOption("poet");
      await say(page, "a line, please");
      await page.getByText("You said “a line, please”").waitFor();
      assert.is(await page.getByLabel("Who answers").inputValue(), "");
      await say(page, "thank you");
      await page.getByText("You said “thank you”").waitFor();
      assert.equal(await page.locator(".is-agent .author").allInnerTexts(), ["poet", "demo"]);
      await until(() => session.state?.messages.length === 4, 10_000, "four messages");
      assert.equal(
        session.state?.messages.map(({ author }) => author.id),
        ["local", "poet", "local", "demo"],
      );
      await client.removeAgent("poet");
      assert.equal([...violations, ...errors], []);
    },
  );

  test(
    "a message that waits for its server survives a reload, and is sent once",
    { limitMs: 90_000 },
    async () => {
      const { link, session } = await newSession("Unsent");
      const { page, context } = await browser.open(link);
      await page.getByText("Nothing was said yet").waitFor();
      await context.setOffline(true);
      await page.evaluate(() => window.dispatchEvent(new Event("offline")));
      await server.kill();
      await page.getByText(/Reconnecting|Offline/).waitFor();
      await say(page, "kept through all of it");
      await page.getByText("1 message unsent, kept here").waitFor();
      const { data, port } = server;
      server = await TestServer.start({ data, env: { HAULOUT_PORT: String(port) } });
      await context.setOffline(false);
      await page.reload();
      await page.getByText("You said “kept through all of it”").waitFor();
      await until(() => session.caughtUp && session.state?.messages.length === 2, 15_000, "one answer");
      assert.is(await page.locator(".is-unsent").count(), 0);
    },
  );
}

test.run();
