// limit: 300 s
/**
 * What people do in a session on the page, walked through in a real browser: files, names, retries, summaries, forks, ends;
 * steering, interrupting and taking back; approvals, questions, the inbox, what is unread; scrolling while text streams; and
 * draining a provider.
 */
import { connect } from "../../client/index.ts";
import type { Client, SessionHandle } from "../../client/index.ts";
import { TestServer } from "../support/server.ts";
import { assert, suite } from "../support/suite.ts";
import { ensureTool } from "../support/tools.ts";
import { deferred, until, type Deferred } from "../support/wait.ts";
import { picture, TestBrowser, type Page, type Person } from "./support/browser.ts";
import { reach } from "./support/keyboard.ts";

const test = suite("a session on the page");
const hasBrowser = await ensureTool("chromium");
const tokenOf = (user: string): string => `${user}-secret-0123456789`;
const DOT = Buffer.from(
  "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==",
  "base64",
);

let server: TestServer;
let browser: TestBrowser;
let client: Client;
/** Ends the calls of the tool `measure`. */
let measured: Deferred<string>;

if (!hasBrowser) test.skip("one session from its menu", "needs Chromium");
else {
  test.before(async () => {
    server = await TestServer.start({
      store: "memory",
      config: {
        auth: {
          mode: "token",
          tokens: ["ann", "bob"].map((user) => ({
            user,
            name: user[0]!.toUpperCase() + user.slice(1),
            token: tokenOf(user),
            rights: user === "ann" ? ["admin"] : ["create:*"],
          })),
        },
        prices: { "*": { input: 500, output: 2000 } },
        agents: [
          {
            name: "helper",
            tools: ["*", "ask"],
            approvals: {
              pay: { mode: "always", editable: true, remember: true, by: { roles: ["approver"] } },
            },
          },
        ],
      },
    });
    client = connect({ url: server.url, token: tokenOf("ann") });
    await client.provideTools({
      measure: {
        description: "Measures the ice.",
        input: { type: "object" },
        effect: "pure",
        execute: (_, context) => {
          context.progress({ done: "half" });
          return measured.promise;
        },
      },
      pay: { description: "Pays a bill.", input: { type: "object" }, execute: (input) => ({ paid: input }) },
    });
    browser = await TestBrowser.launch();
  });
  test.before.each(() => {
    measured = deferred();
  });
  test.after(async () => {
    client.close();
    await browser.close();
    await server.kill();
  });

  async function newSession(title: string): Promise<{ session: SessionHandle; hash: string }> {
    const { session } = await client.createSession({ agent: "helper", title });
    return { session: await client.attach(session), hash: `#/s/${session}` };
  }
  const enter = (user: string, hash: string): Promise<Person> =>
    browser.open(`${server.http}/${hash}`, { token: tokenOf(user) });
  const script = (...items: object[]): string => JSON.stringify({ script: items });
  const button = (page: Page, name: string | RegExp): Promise<void> =>
    page.getByRole("button", { name, exact: true }).click();
  const say = async (page: Page, text: string, how?: string): Promise<void> => {
    if (how !== undefined) await page.getByLabel("When it is sent").selectOption(how);
    await page.getByLabel("Message", { exact: true }).fill(text);
    await page.keyboard.press("Enter");
  };
  const menu = async (page: Page, name: string): Promise<void> => {
    await button(page, "More");
    await button(page, name);
  };
  const quiet = (...people: Person[]): void => {
    for (const { violations, errors } of people) assert.equal([...violations, ...errors], []);
  };

  test(
    "one session from its first file to its end: names, costs, retries, a summary, a fork",
    { limitMs: 90_000 },
    async () => {
      const { session, hash } = await newSession("First title");
      const ann = await enter("ann", hash);
      const { page } = ann;
      await page.getByText("Nothing was said yet").waitFor();
      const attach = page.getByLabel("Attach a file");
      await attach.setInputFiles({ name: "big.bin", mimeType: "", buffer: Buffer.alloc(600 * 1024) });
      await page.getByRole("alert").getByText("Files of a message may have").waitFor();
      await attach.setInputFiles([
        { name: "dot.png", mimeType: "image/png", buffer: DOT },
        { name: "notes.txt", mimeType: "text/plain", buffer: Buffer.from("seals") },
        { name: "wrong.bin", mimeType: "", buffer: Buffer.from("x") },
      ]);
      await button(page, "Remove wrong.bin");
      await say(page, "Look at these");
      await page.locator(".is-own .picture img[alt='dot.png']").waitFor();
      await page.locator(".is-own a.file", { hasText: "notes.txt" }).waitFor();
      await page.locator(".working").waitFor({ state: "detached" });
      const [first] = await until(() => session.state?.messages, 10_000, "the message");
      assert.equal(
        first?.parts.map((part) => (part.type === "file" ? part.filename : part.type)),
        ["text", "dot.png", "notes.txt"],
      );
      await page
        .locator(".head")
        .getByText(/\d tokens · cost 0\.\d/)
        .waitFor();

      await button(page, "Rename");
      await page.getByLabel("Title").fill("Ice and walruses");
      await page.keyboard.press("Enter");
      await page.getByRole("heading", { name: "Ice and walruses" }).waitFor();

      await say(page, script({ error: "the ice broke" }));
      const ends = page.locator(".run-end", { hasText: "The run failed. the ice broke" });
      await ends.first().waitFor();
      await page.getByLabel("Which sessions").selectOption("running");
      await page.getByText("None of your sessions is like that.").waitFor();
      await page.getByLabel("Which sessions").selectOption("failed");
      await page.getByRole("link", { name: /failed: error.*Ice and walruses/ }).waitFor();
      await page.getByLabel("Which sessions").selectOption("all");
      await button(page, "Retry");
      await ends.nth(1).waitFor();
      assert.is(await page.getByRole("button", { name: "Retry" }).count(), 1, "of the last run only");

      await menu(page, "Summarise for the agent");
      await page.getByText("The agent now reads a summary").waitFor();
      assert.ok(session.state?.compacted !== undefined);
      await menu(page, "Fork into a new session");
      await page.waitForURL((url) => url.hash !== hash);
      await page.locator(".is-own", { hasText: "Look at these" }).waitFor();
      const fork = /#\/s\/(.+)$/.exec(page.url())![1]!;
      await menu(page, "Close");
      await button(page, "Close it");
      await page.getByText("This session is closed. It can still be read.").waitFor();
      const other = await enter("ann", `#/s/${fork}`);
      await other.page.getByText("This session is closed").waitFor();
      await menu(page, "Delete");
      await button(page, "Delete it");
      await page.getByRole("heading", { name: "What shall we do?" }).waitFor();
      await other.page.getByText("This session was deleted.").waitFor();
      await other.page.reload();
      await other.page.getByText("There is no such session").waitFor();
      quiet(ann, other);
      await Promise.all([ann.context.close(), other.context.close()]);
    },
  );

  test(
    "a run is watched at its tool, steered, interrupted and taken back, and what waits is written anew",
    { limitMs: 90_000 },
    async () => {
      const { session, hash } = await newSession("Steering");
      const ann = await enter("ann", hash);
      const { page } = ann;
      await page.getByText("Nothing was said yet").waitFor();
      await say(
        page,
        script({ calls: [{ tool: "measure", input: { at: "Svalbard" } }] }, { text: "Measured." }),
      );
      const card = page.locator("details.tool");
      await card.locator("summary").click();
      await card.getByText('"half"').waitFor();
      await card.getByText(/prv_/).waitFor();
      await say(page, "hurry, please", "steer");
      await page.locator(".queue li", { hasText: "steers" }).waitFor();
      measured.resolve("two metres");
      await page.locator(".is-agent", { hasText: "Measured." }).waitFor();
      await card.getByText("two metres").waitFor();
      assert.match(await card.locator(".facts").innerText(), /Attempt\s+1\s+Outcome\s+ok/);
      assert.equal(
        session.state?.messages.map(({ role }) => role),
        ["user", "assistant", "user", "assistant"],
        "the steering message joined the run",
      );

      await say(page, script({ text: "Let me think." }, { stall: 600_000 }));
      await page.getByText("Let me think.", { exact: true }).waitFor();
      await say(page, "one");
      await button(page, "Edit");
      await page.getByRole("textbox", { name: "Waiting message" }).fill("uno");
      await button(page, "Save");
      await page.locator(".queue li", { hasText: "uno" }).waitFor();
      await say(page, "now this", "interrupt");
      await page.getByText("You said “now this”").waitFor();
      await page.getByText("You said “uno”").waitFor();
      assert.is(await page.locator(".run-end", { hasText: "Stopped." }).count(), 1);

      await say(page, script({ text: "A bad idea." }, { stall: 600_000 }));
      await page.getByText("A bad idea.", { exact: true }).waitFor();
      await say(page, "forget that", "rollback");
      await page.getByText("You said “forget that”").waitFor();
      await page.locator(".message", { hasText: "A bad idea." }).getByText("Taken back").first().waitFor();
      quiet(ann);
      await ann.context.close();
    },
  );

  test(
    "who is asked finds it in the inbox, changes it and answers; a question is answered where it stands",
    { limitMs: 90_000 },
    async () => {
      const { session, hash } = await newSession("Bills");
      await session.grant("bob", "approver");
      const [ann, bob] = await Promise.all([enter("ann", hash), enter("bob", "#/inbox")]);
      await bob.page.getByText("Nothing waits for your answer.").waitFor();
      const questions = [
        { id: "how", text: "How shall I pay?", kind: "choice", options: ["cash", "card"] },
        { id: "note", text: "What shall I write?", kind: "text", required: false },
        { id: "when", text: "On which days?", kind: "choices", options: ["Monday", "Friday"] },
      ];
      await say(
        ann.page,
        script(
          { calls: [{ tool: "pay", input: { euros: 120 } }] },
          { calls: [{ tool: "ask", input: { questions } }] },
          { text: "All done." },
        ),
      );
      await ann.page.getByText("Others are asked to answer.").waitFor();
      const row = bob.page.getByRole("link", { name: /waiting for you.*Bills/ });
      await row.waitFor();
      assert.match(await row.innerText(), /\b2\b|\b1\b/, "what bob has not read is counted");
      await bob.page.getByRole("link", { name: /Inbox/ }).getByText("1").waitFor();
      await button(bob.page, "Change the input");
      await bob.page.getByLabel("Input").fill('{"euros": 100}');
      await bob.page.getByLabel("Allow later calls").check();
      await button(bob.page, "Approve");
      await bob.page.getByText("Nothing waits for your answer.").waitFor({ state: "detached" });

      await ann.page.getByLabel("card").check();
      await ann.page.getByLabel("What shall I write?").fill("for the ice");
      await ann.page.getByLabel("Friday").check();
      await picture(ann.page, "question");
      await button(ann.page, "Answer");
      await ann.page.getByText("All done.", { exact: true }).waitFor();
      const cards = ann.page.locator("details.tool");
      await cards.nth(0).locator("summary").click();
      await cards.nth(0).getByText('"paid": { "euros": 100 }').waitFor();
      const said = session.state?.messages.flatMap(({ parts }) =>
        parts.filter(({ type }) => type === "dynamic-tool"),
      );
      assert.match(JSON.stringify(said?.at(-1)), /"how":"card".*"note":"for the ice".*"when":\["Friday"\]/);

      await bob.page.getByRole("link", { name: /Bills/ }).click();
      await bob.page.getByText("All done.", { exact: true }).waitFor();
      const unread = bob.page.locator(".sessions .unread");
      await bob.page.getByRole("link", { name: "Inbox" }).click();
      await bob.page.getByText("Nothing waits for your answer.").waitFor();
      await unread.waitFor({ state: "detached" });
      const again = await enter("bob", "#/");
      await again.page.getByRole("link", { name: /idle.*Bills/ }).waitFor();
      assert.is(await again.page.locator(".sessions .unread").count(), 0, "on other devices, too");
      await session.ask("One more thing");
      await again.page.getByText("2 unread").waitFor();
      quiet(ann, bob, again);
      await Promise.all([ann, bob, again].map(({ context }) => context.close()));
    },
  );

  test(
    "while text streams, what is read stays where it is until the reader jumps to the latest",
    { limitMs: 90_000 },
    async () => {
      const { session, hash } = await newSession("Long");
      const line = (n: number): string => `Line ${n} of a long answer about ice.`;
      const lines = (from: number, to: number): string =>
        Array.from({ length: to - from }, (_, n) => line(from + n)).join("\n\n");
      await session.ask(script({ text: lines(0, 60) }));
      const ann = await enter("ann", hash);
      const { page } = ann;
      await page.getByText(line(59)).waitFor();
      const asked = session.ask(script({ text: lines(60, 160), rate: 400, chunk: 20 }));
      await page.getByText(line(62)).waitFor();
      await page.getByRole("log").focus();
      await page.keyboard.press("PageUp");
      await page.getByRole("button", { name: "Jump to latest" }).waitFor();
      /** The first paragraph on the screen, or the one that is given, and how far down it is. */
      const place = (given?: string): Promise<{ text: string; top: number } | undefined> =>
        page.locator(".scroller").evaluate((box, wanted) => {
          const edge = box.getBoundingClientRect().top;
          const found = [...box.querySelectorAll("p")]
            .map((each) => ({ text: each.textContent, top: each.getBoundingClientRect().top - edge }))
            .find(({ text, top }) => (wanted === undefined ? top >= 0 : text === wanted));
          return found;
        }, given);
      const before = await place();
      await asked;
      await page.locator(".working").waitFor({ state: "detached" });
      const after = await place(before!.text);
      assert.ok(
        Math.abs(after!.top - before!.top) <= 1,
        `${before!.text} moved by ${after!.top - before!.top}`,
      );
      await button(page, "Jump to latest");
      await page.getByText(line(159)).waitFor();
      const isAtEnd = (): Promise<boolean> =>
        page.locator(".scroller").evaluate((box) => box.scrollHeight - box.scrollTop - box.clientHeight < 2);
      await until(isAtEnd, 5000, "the end");
      await page.getByLabel("Message", { exact: true }).fill("sent at once");
      // A row comes before the browser has said that the reader scrolled.
      await page.evaluate(() => {
        document.querySelector(".scroller")!.scrollTop = 0;
        document.querySelector<HTMLFormElement>("form.composer")!.requestSubmit();
      });
      await until(
        () => session.state?.run === undefined && session.state?.messages.length === 6,
        10_000,
        "its answer",
      );
      await page.getByRole("button", { name: "Jump to latest" }).waitFor();
      assert.ok(
        (await page.locator(".scroller").evaluate((box) => box.scrollTop)) < 200,
        "the reader stays there",
      );
      quiet(ann);
      await ann.context.close();
    },
  );

  test("a session is renamed, and forked, by the keyboard alone", { limitMs: 90_000 }, async () => {
    const { session, hash } = await newSession("By hand");
    await session.ask("Something to keep");
    const ann = await enter("ann", hash);
    const { page } = ann;
    await page.getByText("You said “Something to keep”").waitFor();
    await reach(page, /^Rename$/, "Shift+Tab");
    await page.keyboard.press("Enter");
    await page.locator("input[name=title]:focus").waitFor();
    await page.keyboard.press("Control+A");
    await page.keyboard.type("By the keyboard");
    await page.keyboard.press("Enter");
    await page.getByRole("heading", { name: "By the keyboard" }).waitFor();
    await reach(page, /^More$/);
    await page.keyboard.press("Enter");
    await reach(page, /^Fork into a new session$/);
    await page.keyboard.press("Enter");
    await page.waitForURL((url) => url.hash !== hash && url.hash.startsWith("#/s/"));
    await page.getByText("You said “Something to keep”").waitFor();
    quiet(ann);
    await ann.context.close();
  });

  test(
    "a provider is drained by the keyboard alone: it ends its call, and its tools are gone",
    { limitMs: 90_000 },
    async () => {
      const { session } = await newSession("Draining");
      const calling = session.ask(script({ calls: [{ tool: "measure" }] }, { text: "The last one." }));
      const ann = await enter("ann", "#/tools");
      const { page } = ann;
      await page.getByText("1 in flight").waitFor();
      await reach(page, /^Drain prv_/);
      await page.keyboard.press("Enter");
      await reach(page, /^No new calls$/);
      await page.keyboard.press("Enter");
      await page
        .getByText(/^draining, 1 of 8/)
        .first()
        .waitFor();
      assert.is(await page.getByRole("button", { name: /^Drain/ }).count(), 0);
      measured.resolve("done");
      await calling;
      await page.getByText("Nobody offers tools to the whole server.").waitFor();
      quiet(ann);
      await ann.context.close();
    },
  );
}

test.run();
