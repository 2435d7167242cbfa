/**
 * `haulout search` as a person runs it: lines for people and of JSON, and what it says when there is nothing.
 */
import { connect } from "../../client/index.ts";
import { spawnNode } from "../support/process.ts";
import { compiled } from "../support/root.ts";
import { TestServer } from "../support/server.ts";
import { assert, suite } from "../support/suite.ts";
import { until } from "../support/wait.ts";

const test = suite("haulout search");
let server: TestServer;

test.before(async () => {
  server = await TestServer.start({ store: "memory" });
});
test.after(() => server.stop());

async function search(...args: string[]): Promise<{ code: number | null; out: string; err: string }> {
  const command = spawnNode([compiled("server/main.ts"), "search", ...args], {
    env: { HAULOUT_URL: server.url },
  });
  const { code } = await command.exited;
  return { code, out: command.stdout.join("\n"), err: command.stderr.join("\n") };
}

test(
  "it prints who said what where, safe for a terminal, or lines of JSON",
  { limitMs: 60_000 },
  async () => {
    const client = connect({ url: server.url, user: { id: "ann" } });
    const { session } = await client.createSession({ agent: "demo", title: "Birds" });
    await (await client.attach(session)).ask("The kittiwake\u001b[31m has landed.");
    await until(
      async () => (await client.search({ text: "kittiwake" })).items.length === 2,
      10_000,
      "both messages to be found",
    );
    client.close();
    const { code, out } = await search("KITTIWAKE", "land");
    assert.is(code, 0);
    assert.match(
      out,
      new RegExp(`^\\d{4}-.* ${session}:\\d+ \\(Birds\\) ann: The kittiwake␛\\[31m has landed\\.$`, "m"),
    );
    const first = JSON.parse((await search("kittiwake", "--limit", "1", "--json")).out) as {
      session: string;
    };
    assert.is(first.session, session);
    assert.is((await search("bird", "--owner", "bob")).out, "nothing found");
    const wrong = await search();
    assert.equal([wrong.code, wrong.out], [2, ""]);
  },
);

test.run();
