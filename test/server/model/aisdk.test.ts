/**
 * The adapter against streams made by hand: kinds of parts that no fixture has, time limits, what is left behind. The
 * packages of providers are tested in dialects/.
 */
import { getEventListeners } from "node:events";
import { fromLanguageModel, isLanguageModel } from "../../../server/model/aisdk.ts";
import type { CallOptions, LanguageModel } from "../../../server/model/aisdk-types.ts";
import { ModelError } from "../../../server/model/model.ts";
import { assert, suite } from "../../support/suite.ts";
import { ASK, drain } from "./drain.ts";

const test = suite("aisdk");
const STOP = {
  type: "finish",
  finishReason: { unified: "stop", raw: "stop" },
  usage: { inputTokens: { total: 1 }, outputTokens: { total: 2 } },
};

interface Fake extends LanguageModel {
  readonly asked: CallOptions[];
  cancelled: number;
}

function fake(parts: readonly unknown[], more: Partial<LanguageModel> & { open?: boolean } = {}): Fake {
  const { open = false, ...rest } = more;
  const model: Fake = {
    specificationVersion: "v4",
    provider: "fake.chat",
    modelId: "m",
    asked: [],
    cancelled: 0,
    doStream(options: CallOptions) {
      model.asked.push(options);
      const stream = new ReadableStream<unknown>({
        start(controller) {
          for (const part of parts) controller.enqueue(part);
          if (!open) controller.close();
        },
        cancel() {
          model.cancelled++;
        },
      });
      return Promise.resolve({ stream });
    },
    ...rest,
  };
  return model;
}

test("a model is told by its specification, and known by provider and name unless told", () => {
  for (const version of ["v2", "v3", "v4"] as const)
    assert.ok(isLanguageModel(fake([], { specificationVersion: version })));
  for (const other of [undefined, null, {}, { ...fake([]), specificationVersion: "v1" }, "gpt"]) {
    assert.not.ok(isLanguageModel(other));
  }
  assert.is(fromLanguageModel(fake([])).id, "fake.chat:m");
  assert.is(fromLanguageModel(fake([]), { id: "x" }).id, "x");
});

test("models of every version's packages are accepted as they are, by the compiler too", async () => {
  const [two, three, four] = await Promise.all([
    import("ai-anthropic-v2"),
    import("@ai-sdk/anthropic"),
    import("ai-anthropic-v4"),
  ]);
  const models = [
    fromLanguageModel(two.createAnthropic({ apiKey: "k" })("m")),
    fromLanguageModel(three.createAnthropic({ apiKey: "k" })("m")),
    fromLanguageModel(four.createAnthropic({ apiKey: "k" })("m")),
  ];
  for (const { id } of models) assert.is(id, "anthropic.messages:m");
});

test("parts of kinds unknown today are passed over, before, between and after", async () => {
  const unknown = [
    { type: "ping" },
    { type: "raw", rawValue: {} },
    { type: "source", sourceType: "url", id: "s", url: "https://example.org" },
    { type: "custom", kind: "x.y" },
    { type: "reasoning-file", mediaType: "image/png", data: { type: "data", data: "AA" } },
    { type: "tool-approval-request", approvalId: "a", toolCallId: "c" },
    { type: "of-tomorrow" },
  ];
  const text = [
    { type: "text-start", id: "1" },
    { type: "text-delta", id: "1", delta: "Hi" },
    { type: "text-end", id: "1" },
  ];
  const { parts } = await drain(
    fromLanguageModel(fake([...unknown, ...text.flatMap((part) => [part, ...unknown]), STOP])),
  );
  assert.equal(parts, [
    { type: "text", block: "0", text: "Hi" },
    { type: "finish", reason: "stop", usage: { inputTokens: 1, outputTokens: 2 } },
  ]);
});

test("blocks of one kind that share an id are two blocks when the first had ended", async () => {
  const twice = (delta: string): unknown[] => [
    { type: "reasoning-start", id: "0" },
    { type: "reasoning-delta", id: "0", delta },
    { type: "reasoning-end", id: "0" },
  ];
  const { parts } = await drain(fromLanguageModel(fake([...twice("a"), ...twice("b"), STOP])));
  assert.equal(parts.slice(0, 2), [
    { type: "reasoning", block: "0", text: "a" },
    { type: "reasoning", block: "1", text: "b" },
  ]);
});

test("a tool's input is shown as it is written, under the name it began with", async () => {
  const written = [
    { type: "tool-input-start", id: "c", toolName: "clock" },
    { type: "tool-input-delta", id: "c", delta: '{"a"' },
    { type: "tool-input-delta", id: "c", delta: ":1}" },
    { type: "tool-input-end", id: "c" },
    { type: "tool-call", toolCallId: "c", toolName: "clock", input: '{"a":1}' },
  ];
  const { parts } = await drain(fromLanguageModel(fake([...written, STOP])));
  assert.equal(parts.slice(0, 4), [
    { type: "tool-input", block: "0", tool: "clock", text: "" },
    { type: "tool-input", block: "0", tool: "clock", text: '{"a"' },
    { type: "tool-input", block: "0", tool: "clock", text: ":1}" },
    { type: "tool-call", block: "0", tool: "clock", input: '{"a":1}' },
  ]);
});

test("files in every form become data URLs or stay addresses; what is none is left out", async () => {
  const file = (data: unknown): unknown => ({ type: "file", mediaType: "image/png", data });
  const forms = [
    "AAEC",
    new Uint8Array([0, 1, 2]),
    { type: "data", data: "AAEC" },
    { type: "url", url: new URL("https://x.y/z") },
  ];
  const { files } = await drain(fromLanguageModel(fake([...forms.map(file), file(7), STOP])));
  const bytes = { mediaType: "image/png", url: "data:image/png;base64,AAEC" };
  assert.equal(files, [bytes, bytes, bytes, { mediaType: "image/png", url: "https://x.y/z" }]);
});

test("only the last result of a call that the provider runs counts, and one that fails says so", async () => {
  const call = {
    type: "tool-call",
    toolCallId: "c",
    toolName: "search",
    input: "{}",
    providerExecuted: true,
  };
  const result = { type: "tool-result", toolCallId: "c", toolName: "search" };
  const parts = [
    call,
    { ...result, result: "half", preliminary: true },
    { ...result, result: { why: "no" }, isError: true },
  ];
  const { outputs, calls } = await drain(fromLanguageModel(fake([...parts, STOP])));
  assert.equal(outputs, [{ ok: false, value: { why: "no" } }]);
  assert.is(calls[0]!.executed, true);
});

test("finish reasons: words that mean an answer, and words that mean there is none", async () => {
  const end = (finishReason: unknown, version: "v2" | "v3" | "v4"): Promise<unknown> =>
    drain(fromLanguageModel(fake([{ ...STOP, finishReason }], { specificationVersion: version }))).then(
      ({ reason }) => reason,
      (error: unknown) => `${(error as ModelError).code} ${(error as ModelError).retryable}`,
    );
  for (const reason of ["stop", "length", "content-filter", "tool-calls"]) {
    assert.is(await end(reason, "v2"), reason);
    assert.is(await end({ unified: reason, raw: undefined }, "v3"), reason);
  }
  assert.is(await end("other", "v2"), "other");
  assert.is(await end({ unified: "other", raw: "eos" }, "v4"), "other");
  for (const [reason, version] of [
    ["unknown", "v2"],
    [{ unified: "other", raw: undefined }, "v3"],
    [{ unified: "interrupted", raw: undefined }, "v4"],
    [undefined, "v4"],
  ] as const) {
    assert.is(await end(reason, version), "incomplete true");
  }
  assert.is(await end({ unified: "error", raw: "boom" }, "v3"), "provider true");
});

test("usage that is no number counts as nothing", async () => {
  const usage = {
    inputTokens: { total: NaN, cacheRead: undefined },
    outputTokens: { total: -1, reasoning: "9" },
  };
  const { usage: read } = await drain(fromLanguageModel(fake([{ ...STOP, usage }])));
  assert.equal(read, { inputTokens: 0, outputTokens: 0 });
});

test("a model that hangs is left behind in time, whatever it does with the abort", async () => {
  const deaf = fake([], { doStream: () => new Promise(() => {}) });
  const error = await assert.rejects(drain(fromLanguageModel(deaf, { firstPartMs: 20 })), ModelError);
  assert.equal(
    [error.code, error.message],
    ["timeout", "fake.chat:m did not answer in time (no first part)"],
  );
  const stalled = fake([{ type: "text-delta", id: "1", delta: "a" }], { open: true });
  const late = await assert.rejects(drain(fromLanguageModel(stalled, { idleMs: 20 })), ModelError);
  assert.equal([late.code, late.message], ["timeout", "fake.chat:m did not answer in time (no part)"]);
  assert.ok(stalled.asked[0]!.abortSignal!.aborted);
  assert.is(stalled.cancelled, 1);
});

test("an abort ends a model that does not hear it, before it is asked and while it answers", async () => {
  const deaf = fromLanguageModel(fake([], { doStream: () => new Promise(() => {}) }));
  assert.is((await assert.rejects(drain(deaf, ASK, AbortSignal.abort()), ModelError)).code, "cancelled");
  const abort = new AbortController();
  const waiting = drain(deaf, ASK, abort.signal);
  abort.abort();
  assert.is((await assert.rejects(waiting, ModelError)).code, "cancelled");
});

test("whoever stops asking leaves nothing open; whoever asks to the end neither", async () => {
  const { signal } = new AbortController();
  const endless = fake([{ type: "text-delta", id: "1", delta: "a" }], { open: true });
  for await (const part of fromLanguageModel(endless).stream(ASK, signal)) {
    assert.is(part.type, "text");
    break;
  }
  assert.ok(endless.asked[0]!.abortSignal!.aborted);
  assert.is(endless.cancelled, 1);

  const whole = fake([STOP], { open: true });
  const stream = fromLanguageModel(whole).stream(ASK, signal)[Symbol.asyncIterator]();
  assert.is((await stream.next()).value.type, "finish");
  // The loop asks no further than this.
  assert.is(getEventListeners(signal, "abort").length, 0);
  assert.not.ok(whole.asked[0]!.abortSignal!.aborted, "a connection that did its work is not broken");
  assert.is(whole.cancelled, 1);
});

test("what is thrown is told from what it is, never in its own words", async () => {
  const thrown = (error: unknown): Promise<ModelError> =>
    assert.rejects(drain(fromLanguageModel(fake([], { doStream: () => Promise.reject(error) }))), ModelError);
  class SecretError extends Error {}
  const unknown = await thrown(new SecretError("Bearer sk-hush is no header"));
  assert.equal(
    [unknown.code, unknown.message, unknown.retryable],
    ["internal", "fake.chat:m could not be asked", false],
  );
  assert.match(unknown.stack!, /^ModelError: fake\.chat:m could not be asked \(SecretError\)\n\s+at /);
  assert.not.match(unknown.stack!, /hush/);
  assert.is((await thrown("sk-hush")).message, "fake.chat:m failed on its side");
  assert.is((await thrown(undefined)).code, "provider");
  assert.is((await thrown(Object.assign(new Error("x"), { name: "AI_LoadAPIKeyError" }))).code, "no-key");
  assert.is((await thrown(new ModelError("mine", "own words"))).message, "own words");
});

test("addresses of files reach only a provider that says it fetches them", async () => {
  const ask = async (supportedUrls: LanguageModel["supportedUrls"]): Promise<string> => {
    const model = fake([STOP], supportedUrls === undefined ? {} : { supportedUrls });
    const url = "https://example.org/seal.png";
    await drain(fromLanguageModel(model), {
      ...ASK,
      messages: [{ role: "user", parts: [{ type: "file", mediaType: "image/png", url }] }],
    });
    return JSON.stringify(model.asked[0]!.prompt.at(-1));
  };
  assert.match(
    await ask(undefined),
    /a file of type image\/png at https:\/\/example\.org\/seal\.png, which you cannot open/,
  );
  assert.match(await ask({ "image/*": [/^https:\/\/other\.org\//] }), /cannot open/);
  const sent = '"data":{"type":"url","url":"https://example.org/seal.png"}';
  assert.ok((await ask({ "image/*": [/^https:/] })).includes(sent));
  assert.ok((await ask(Promise.resolve({ "*/*": [/./] }))).includes(sent));
});

test.run();
