/**
 * The scripted model: plays what a message says, in order, from where the prompt shows that it was; quotes everything else.
 * Stateless, so each test asks it with a prompt alone.
 */
import type { JsonValue } from "../../../protocol/content.ts";
import { ModelError } from "../../../server/model/model.ts";
import type { ModelPart, ModelRequest, PromptMessage } from "../../../server/model/model.ts";
import { scriptedModel } from "../../../server/model/scripted.ts";
import { script } from "../../support/runtime.ts";
import { assert, suite } from "../../support/suite.ts";

const test = suite("the scripted model");

const user = (text: string, author = "ada"): PromptMessage => ({
  role: "user",
  parts: [
    { type: "author", text: JSON.stringify({ author, user: author }) },
    { type: "text", text },
  ],
});
const said = (text: string): PromptMessage => ({ role: "assistant", parts: [{ type: "text", text }] });
const called = (...tools: string[]): PromptMessage[] => [
  {
    role: "assistant",
    parts: tools.map((tool, n) => ({ type: "tool-call", call: `c${n}`, tool, input: {} })),
  },
  { role: "tool", results: tools.map((tool, n) => ({ call: `c${n}`, tool, ok: true, value: 1 })) },
];

function request(...messages: PromptMessage[]): ModelRequest {
  return { instructions: "", messages, tools: [], toolChoice: "auto", reasoning: false };
}

async function play(messages: PromptMessage[], signal = new AbortController().signal): Promise<ModelPart[]> {
  const parts: ModelPart[] = [];
  for await (const part of scriptedModel.stream(request(...messages), signal)) parts.push(part);
  return parts;
}

/** Text and reasoning joined, calls by tool and input, and the reason of the end. */
async function summary(...messages: PromptMessage[]): Promise<unknown[]> {
  const found: unknown[] = [];
  for (const part of await play(messages)) {
    const last = found.at(-1);
    if (part.type === "text" || part.type === "reasoning") {
      const name = part.type === "text" ? "text" : "reasoning";
      if (typeof last === "object" && last !== null && name in last)
        (last as Record<string, string>)[name] += part.text;
      else found.push({ [name]: part.text });
    } else if (part.type === "tool-call")
      found.push({ tool: part.tool, input: JSON.parse(part.input) as JsonValue });
    else if (part.type === "finish") found.push(part.reason);
  }
  return found;
}

const QUOTED = /^You said “(.*)”\. I am a script, no language model: I can only quote you\.$/su;

async function quoted(...messages: PromptMessage[]): Promise<string> {
  const [answer, end] = await summary(...messages);
  assert.is(end, "stop");
  return QUOTED.exec((answer as { text: string }).text)![1]!;
}

test("a script is played in order", async () => {
  assert.equal(await summary(user(script({ reasoning: "hm" }, { text: "one " }, { text: "two" }))), [
    { reasoning: "hm" },
    { text: "one two" },
    "stop",
  ]);
});

test("a script is played whatever texts stand beside it", async () => {
  const parts = ["before", script({ text: "one" }), '{"data":1}'].map((text) => ({
    type: "text" as const,
    text,
  }));
  assert.equal(await summary({ role: "user", parts }), [{ text: "one" }, "stop"]);
});

test("text comes in chunks, never inside a pair, and adds up", async () => {
  const text = "a😀b😀😀cé".repeat(5);
  for (const chunk of [1, 2, 3, 5, 100]) {
    const parts = await play([user(script({ text, chunk }))]);
    const chunks = parts.flatMap((part) => (part.type === "text" ? [part.text] : []));
    assert.is(chunks.join(""), text);
    assert.ok(chunks.every((each) => each.isWellFormed() && each.length <= Math.max(2, chunk)));
  }
});

test("a rate is kept, no rate is no wait", async () => {
  const began = performance.now();
  await play([user(script({ text: "abcdef", chunk: 1, rate: 100 }))]);
  const paced = performance.now() - began;
  assert.ok(paced >= 50, `${paced} ms for six chunks at a hundred a second`);
});

test("calls end the step; what follows plays after their results", async () => {
  const whole = user(
    script(
      { text: "see " },
      { calls: [{ tool: "a", input: { n: 1 } }, { tool: "b" }] },
      { text: "then" },
      { calls: [{ tool: "c" }] },
      {
        text: "done",
      },
    ),
  );
  assert.equal(await summary(whole), [
    { text: "see " },
    { tool: "a", input: { n: 1 } },
    { tool: "b", input: {} },
    "tool-calls",
  ]);
  assert.equal(await summary(whole, ...called("a", "b")), [
    { text: "then" },
    { tool: "c", input: {} },
    "tool-calls",
  ]);
  assert.equal(await summary(whole, ...called("a", "b"), ...called("c")), [{ text: "done" }, "stop"]);
  assert.equal(
    await summary(whole, ...called("a", "b"), ...called("c"), ...called("d")),
    ["stop"],
    "and nothing after it",
  );
});

test("finish ends with its reason", async () => {
  for (const reason of ["length", "content-filter"]) {
    assert.equal(await summary(user(script({ text: "x" }, { finish: reason }, { text: "never" }))), [
      { text: "x" },
      reason,
    ]);
  }
});

test("an error fails, and is not to be tried again", async () => {
  const error = (await assert.rejects(play([user(script({ error: "broken" }))]), ModelError)) as ModelError;
  assert.equal([error.message, error.retryable], ["broken", false]);
});

test("a stall waits, and ends when it is told to", async () => {
  const abort = new AbortController();
  const stalled = play([user(script({ stall: 60_000 }))], abort.signal);
  abort.abort(new Error("enough"));
  await assert.rejects(stalled, /enough/);
  const began = performance.now();
  await play([user(script({ stall: 30 }))]);
  assert.ok(performance.now() - began >= 25);
});

test("a request that was aborted before it began says nothing", async () => {
  const abort = new AbortController();
  abort.abort(new Error("enough"));
  await assert.rejects(play([user(script({ text: "x" }))], abort.signal), /enough/);
});

test("plain text is quoted, its author is not", async () => {
  assert.is(await quoted(user("hello", "Eve")), "hello");
});

test("long text is quoted by its beginning, cut between characters", async () => {
  const answer = await quoted(user("😀".repeat(500)));
  assert.ok(answer.endsWith("…") && answer.isWellFormed() && answer.length < 250);
});

test("what only looks like a script is quoted", async () => {
  for (const text of [
    "{",
    '{"script":1}',
    '{"script":[{"say":"x"}]}',
    '{"script":[{"text":"x","extra":1}]}',
    '{"script":[{"calls":[]}]}',
    '[{"text":"x"}]',
    `say ${script({ text: "x" })}`,
  ]) {
    assert.is(await quoted(user(text)), text);
  }
});

test("an empty script says nothing", async () => {
  assert.equal(await summary(user(script())), ["stop"]);
});

test("a script may stand in parts of a message", async () => {
  const text = script({ text: "x" });
  const parts = [text.slice(0, 9), text.slice(9)].map((piece) => ({ type: "text" as const, text: piece }));
  assert.equal(await summary({ role: "user", parts: [{ type: "author", text: "{}" }, ...parts] }), [
    { text: "x" },
    "stop",
  ]);
});

test("the last script counts, an older one does not", async () => {
  const [older, newer] = [user(script({ text: "older" })), user(script({ text: "newer" }))];
  assert.equal(await summary(older, said("older"), newer), [{ text: "newer" }, "stop"]);
});

test("plain text in the middle of a script's run is passed over", async () => {
  const whole = user(script({ calls: [{ tool: "a" }] }, { text: "after" }));
  assert.equal(await summary(whole, ...called("a"), user("by the way")), [{ text: "after" }, "stop"]);
});

test("plain text after a script's run is its own question", async () => {
  const played = user(script({ calls: [{ tool: "a" }] }, { text: "after" }));
  assert.is(await quoted(played, ...called("a"), said("after"), user("and now?")), "and now?");
  assert.is(await quoted(user(script({ text: "once" })), said("once"), user("and now?")), "and now?");
});

test("a run that is asked again in the middle goes on where it was", async () => {
  const whole = user(script({ calls: [{ tool: "a" }] }, { text: "again and again" }));
  const prompt = [whole, ...called("a")];
  assert.equal(await summary(...prompt), await summary(...prompt));
});

test("every play ends with one finish that counts tokens", async () => {
  for (const text of [
    "hello",
    script({ text: "x" }),
    script({ calls: [{ tool: "a" }] }),
    script({ finish: "length" }),
  ]) {
    const parts = await play([user(text)]);
    const ends = parts.filter((part) => part.type === "finish");
    assert.is(ends.length, 1);
    assert.is(parts.at(-1), ends[0]);
    const [end] = ends;
    assert.ok(end?.type === "finish" && end.usage.inputTokens > 0 && end.usage.outputTokens >= 0);
  }
});

test("a prompt without a user is answered all the same", async () => {
  assert.is(await quoted(), "");
});

test.run();
