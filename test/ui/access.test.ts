// limit: 300 s
/**
 * The page for everybody: no serious finding of axe on any view in light and dark, a whole conversation by keyboard alone, the
 * width of a phone, and who may only read is offered nothing to write in. Keeps a picture of each view to look at.
 */
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import { connect } from "../../client/index.ts";
import type { Client, JsonValue } from "../../client/index.ts";
import { TestServer } from "../support/server.ts";
import { assert, suite } from "../support/suite.ts";
import { ensureTool } from "../support/tools.ts";
import { picture, TestBrowser, type Page } from "./support/browser.ts";
import { reach } from "./support/keyboard.ts";

const test = suite("the page, for everybody");
const hasBrowser = await ensureTool("chromium");
const tokenOf = (user: string): string => `${user}-secret-0123456789`;
let server: TestServer;
let browser: TestBrowser;
let client: Client;
let survey: string;
let asked: string;

const ANSWER = `## How a haul-out works

Walruses come **ashore** to rest, many at a time:

| Place | Animals | Season |
|---|---:|---|
| Point Lay | 35 000 | autumn |
| Svalbard | 3 000 | summer |

\`\`\`ts
// counts who is ashore
export async function ashore(beach: Beach): Promise<number> {
  const seen = new Set<string>();
  for await (const walrus of beach.arrivals()) seen.add(walrus.id);
  return seen.size;
}
\`\`\`

- [x] counted
- [ ] measured, see [the survey](https://example.com)

> Rest is not idleness.
`;

if (!hasBrowser) test.skip("axe finds nothing serious", "needs Chromium");
else {
  test.before(async () => {
    const users = ["ann", "bob", "eve"];
    server = await TestServer.start({
      store: "memory",
      config: {
        auth: {
          mode: "token",
          tokens: users.map((user) => ({
            user,
            name: user[0]!.toUpperCase() + user.slice(1),
            token: tokenOf(user),
            rights: user === "ann" ? ["admin"] : ["create:*"],
          })),
        },
        agents: [
          { name: "helper", description: "Helps with everyday questions.", tools: ["*", "ask"] },
          {
            name: "clerk",
            description: "Pays bills, once somebody allows it.",
            tools: ["pay"],
            approvals: { pay: { mode: "always", editable: true, remember: true } },
          },
        ],
      },
    });
    client = connect({ url: server.url, token: tokenOf("ann") });
    await client.provideTools({
      count: {
        description: "Counts walruses on a beach.",
        input: { type: "object" },
        effect: "pure",
        execute: () => ({ beach: "Point Lay", animals: 35_000 }),
      },
      pay: {
        description: "Pays a bill.",
        input: { type: "object" },
        execute: () => "paid",
      },
    });
    survey = "ses_survey";
    await importSurvey();
    await client.request("grant", { session: survey, user: "eve", role: "viewer" });
    const counted = await client.attach(
      (await client.createSession({ agent: "helper", title: "Counting" })).session,
    );
    await counted.ask(JSON.stringify({ script: [{ calls: [{ tool: "count" }] }, { text: "35 000" }] }));
    const other = await client.createSession({ agent: "clerk", title: "Bills of the station" });
    asked = other.session;
    const clerk = await client.attach(asked);
    const wanted = new Promise<void>((resolve) => void clerk.on("request", () => resolve()));
    const calls = [{ tool: "pay", input: { to: "Fish & Co", euros: 120 } }];
    await clerk.send(
      JSON.stringify({ script: [{ text: "One bill is due." }, { calls }, { text: "Paid." }] }),
    );
    await wanted;
    browser = await TestBrowser.launch();
  });
  test.after(async () => {
    client.close();
    await browser.close();
    await server.kill();
  });

  /** What people said and an agent did, as if a language model had been there. */
  async function importSurvey(): Promise<void> {
    const at = Date.now() - 60_000;
    const ann = { kind: "user", id: "ann", name: "Ann", verified: true };
    const helper = { kind: "agent", id: "helper", name: "helper", verified: true };
    const say = (
      id: string,
      author: Readonly<Record<string, string | boolean>>,
      parts: JsonValue[],
      run: string,
    ) => ({
      at,
      run,
      event: {
        type: "message" as const,
        message: {
          id,
          role: author["kind"] === "user" ? ("user" as const) : ("assistant" as const),
          author,
          run,
          parts,
        },
      },
    });
    const text = (words: string): JsonValue => ({ type: "text", text: words });
    const created = {
      type: "session-created",
      agent: "helper",
      owner: "ann",
      title: "Walrus survey, autumn",
    } as const;
    const call: JsonValue = {
      type: "dynamic-tool",
      toolName: "count",
      toolCallId: "call_1",
      state: "output-available",
      input: { beach: "Point Lay" },
      output: { beach: "Point Lay", animals: 35_000 },
      outcome: "ok",
      durationMs: 840,
      attempt: 1,
      provider: "prv_beach",
    };
    const reasoning: JsonValue = { type: "reasoning", text: "The tool knows how many there are." };
    await client.request("importEntries", {
      session: survey,
      after: 0,
      entries: [
        { at, event: created },
        say("msg_1", ann, [text("Good morning! How many are ashore today?")], "run_1"),
        say("msg_2", helper, [reasoning, call], "run_1"),
        say("msg_3", helper, [text(ANSWER)], "run_1"),
      ],
      last: true,
    });
  }

  const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

  /** What is serious or worse, a line each. */
  async function findings(page: Page): Promise<string[]> {
    await page.evaluate(axe);
    return page.evaluate(async () => {
      const { axe: run } = window as unknown as {
        axe: {
          run(options: object): Promise<{
            violations: { id: string; impact: string; nodes: { html: string; failureSummary: string }[] }[];
          }>;
        };
      };
      const { violations } = await run.run({ resultTypes: ["violations"] });
      return violations
        .filter(({ impact }) => impact === "serious" || impact === "critical")
        .flatMap(({ id, nodes }) =>
          nodes.map(({ html, failureSummary }) => `${id}: ${html.slice(0, 160)} ${failureSummary}`),
        );
    });
  }

  const views: readonly [name: string, hash: () => string, ready: (page: Page) => Promise<unknown>][] = [
    ["start", () => "#/", (page) => page.getByRole("radio", { name: /helper/ }).waitFor()],
    ["session", () => `#/s/${survey}`, (page) => page.locator(".hljs-keyword").first().waitFor()],
    ["asked", () => `#/s/${asked}`, (page) => page.getByRole("button", { name: "Approve" }).waitFor()],
    ["inbox", () => "#/inbox", (page) => page.getByRole("button", { name: "Approve" }).waitFor()],
    ["tools", () => "#/tools", (page) => page.getByText("1 call, 100 % good").waitFor()],
    [
      "activity",
      () => "#/activity",
      (page) => page.getByRole("img", { name: /Connections: \d+ now/ }).waitFor(),
    ],
  ];

  for (const colours of ["light", "dark"] as const) {
    test(`axe finds nothing serious on any view, ${colours}`, { limitMs: 90_000 }, async () => {
      const { page, violations, errors, context } = await browser.open(server.http, {
        colours,
        token: tokenOf("ann"),
      });
      for (const [name, hash, ready] of views) {
        await page.goto(`${server.http}/${hash()}`);
        await ready(page);
        if (name === "session") await page.locator("details.tool > summary").first().click();
        assert.equal(await findings(page), [], name);
        await picture(page, `${name}-${colours}`);
      }
      assert.equal([...violations, ...errors], []);
      await context.close();
    });
  }

  test(
    "a session is begun, spoken in, answered and left by the keyboard alone",
    { limitMs: 90_000 },
    async () => {
      const { page, violations, errors, context } = await browser.open(server.http, {
        token: tokenOf("ann"),
      });
      await page.getByRole("radio", { name: /clerk/ }).waitFor();
      await reach(page, /helper/);
      await page.keyboard.press("ArrowDown");
      await reach(page, /First message/);
      await page.keyboard.type(
        '{"script":[{"calls":[{"tool":"pay","input":{"to":"Ice Ltd"}}]},{"text":"Paid at last."}]}',
      );
      await page.keyboard.press("Enter");
      await page.getByRole("button", { name: "Approve" }).waitFor();
      await page.locator(".composer textarea:focus").waitFor();
      await reach(page, /^Approve$/, "Shift+Tab");
      await page.keyboard.press("Enter");
      await page.getByText("Paid at last.").waitFor();
      await reach(page, /Message/);
      await page.keyboard.type("Thank you");
      await page.keyboard.press("Enter");
      await page.getByText("You said “Thank you”").waitFor();
      assert.equal([...violations, ...errors], []);
      await context.close();
    },
  );

  test("who may only read sees everything and has nothing to write in", { limitMs: 90_000 }, async () => {
    const { page, violations, errors, context } = await browser.open(`${server.http}/#/s/${survey}`, {
      token: tokenOf("eve"),
    });
    await page.getByText("You read along.").waitFor();
    await page.getByText("Rest is not idleness.", { exact: true }).waitFor();
    assert.is(await page.locator(".composer").count(), 0);
    assert.is(await page.getByRole("button", { name: "Rename" }).count(), 0);
    await page.goto(`${server.http}/#/s/${asked}`);
    await page.getByText("There is no such session").waitFor();
    assert.equal([...violations, ...errors], []);
    await context.close();
  });

  test("an invitation's link makes who opens it a member", { limitMs: 90_000 }, async () => {
    const ann = await browser.open(`${server.http}/#/s/${survey}`, { token: tokenOf("ann") });
    await ann.page.getByRole("button", { name: "Members" }).click();
    await ann.page.getByRole("button", { name: "Make a link" }).click();
    const link = await ann.page.getByLabel("Invitation").inputValue();
    const bob = await browser.open(link, { token: tokenOf("bob") });
    await bob.page.getByText("Rest is not idleness.", { exact: true }).waitFor();
    await bob.page.locator(".composer").waitFor();
    await ann.page.locator('.present .avatar[title="Bob"]').waitFor();
    assert.equal([...ann.violations, ...ann.errors, ...bob.violations, ...bob.errors], []);
    await Promise.all([ann.context.close(), bob.context.close()]);
  });

  test(
    "on a phone nothing is wider than the screen, and one gets from the list to a session and back",
    { limitMs: 90_000 },
    async () => {
      const { page, violations, errors, context } = await browser.open(server.http, {
        width: 390,
        height: 780,
        token: tokenOf("ann"),
      });
      const isWide = (): Promise<boolean> =>
        page.evaluate(() => document.documentElement.scrollWidth > document.documentElement.clientWidth);
      await page.getByRole("link", { name: /Walrus survey/ }).click();
      await page.locator(".hljs-keyword").first().waitFor();
      assert.not.ok(await isWide(), "session");
      assert.not.ok(await page.locator(".sidebar").isVisible());
      await picture(page, "session-phone");
      await page.getByRole("link", { name: "All sessions" }).click();
      await page.getByRole("link", { name: /Walrus survey/ }).waitFor();
      await picture(page, "start-phone");
      for (const view of ["inbox", "tools", "activity"]) {
        await page.goto(`${server.http}/#/${view}`);
        await page.getByRole("heading", { level: 1 }).waitFor();
        assert.not.ok(await isWide(), view);
        await picture(page, `${view}-phone`);
        await page.getByRole("link", { name: "All sessions" }).click();
        await page.getByRole("heading", { name: "What shall we do?" }).waitFor();
      }
      assert.equal([...violations, ...errors], []);
      await context.close();
    },
  );
}

test.run();
