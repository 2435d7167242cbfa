/**
 * What a provider is sent for a history, read from real requests of every package: one table of expectations, by dialect.
 * Owns the history; how it is worded the dialects' own packages decide.
 */
import type { ModelRequest, PromptMessage } from "../../../../server/model/model.ts";
import { assert, suite } from "../../../support/suite.ts";
import { ASK, drain } from "../drain.ts";
import { anthropic } from "./anthropic.ts";
import type { Dialect, Version } from "./dialect.ts";
import { google } from "./google.ts";
import { openaiChat, openaiCompatible } from "./openai-chat.ts";
import { openaiResponses } from "./openai-responses.ts";
import { ProviderServer } from "./server.ts";
import { DIALECTS, modelOf } from "./suite.ts";

const test = suite("requests");
const VERSIONS: readonly Version[] = ["v2", "v3", "v4"];
const PNG = "iVBORw0KGgo=";

let server: ProviderServer;
test.before(async () => {
  server = await ProviderServer.start();
});
test.after(() => server.stop());

/** The body of the request that a model makes of this one. */
async function sent(
  dialect: Dialect,
  version: Version,
  request: Partial<ModelRequest>,
  model?: string,
): Promise<{ body: any; headers: Readonly<Record<string, unknown>> }> {
  server.play({ chunks: dialect.events({ text: ["."] }) });
  await drain(await modelOf(dialect, version, server.url, model === undefined ? {} : { model }), {
    ...ASK,
    ...request,
  });
  return server.asked[0]!;
}

function each(
  name: string,
  dialects: readonly Dialect[],
  check: (dialect: Dialect, version: Version) => Promise<void>,
): void {
  for (const dialect of dialects) {
    for (const version of VERSIONS)
      test(`${dialect.name} ${version}: ${name}`, () => check(dialect, version));
  }
}

const author = (name: string): PromptMessage & { role: "user" } => ({
  role: "user",
  parts: [{ type: "author", text: JSON.stringify({ author: name, user: name }) }],
});
const user = (text: string, name = "Ann"): PromptMessage => ({
  role: "user",
  parts: [...author(name).parts, { type: "text", text }],
});
const call = (id: string, input: any = { city: id }): PromptMessage & { role: "assistant" } => ({
  role: "assistant",
  parts: [{ type: "tool-call", call: id, tool: "weather", input }],
});
const result = (id: string, value: any, ok = true): PromptMessage => ({
  role: "tool",
  results: [{ call: id, tool: "weather", ok, value }],
});
const TWO: readonly PromptMessage[] = [
  user("Weather in two cities?"),
  {
    role: "assistant",
    parts: [
      { type: "text", text: "Let me look." },
      { type: "tool-call", call: "call_1", tool: "weather", input: { city: "Bíldudalur" } },
      { type: "tool-call", call: "call_2", tool: "weather", input: { city: "Höfn" } },
    ],
  },
  {
    role: "tool",
    results: [
      { call: "call_1", tool: "weather", ok: true, value: { degrees: 3 } },
      {
        call: "call_2",
        tool: "weather",
        ok: false,
        value: "denied: the call was not allowed and did not run",
      },
    ],
  },
];

each("calls and their results, in order and matched by id", DIALECTS, async (dialect, version) => {
  const { body } = await sent(dialect, version, { messages: TWO });
  const text = JSON.stringify(body);
  assert.ok(text.indexOf("Bíldudalur") < text.indexOf("Höfn"));
  assert.ok(text.includes("degrees") && text.includes("denied: the call was not allowed"));
  assert.equal(pairs(dialect, body), ["call_1", "call_2"]);
});

each(
  "files of a result as files where results have files, and as the plain output elsewhere",
  DIALECTS,
  async (dialect, version) => {
    const image = { type: "file", mediaType: "image/png", url: `data:image/png;base64,${PNG}` } as const;
    const far = { ...image, url: "https://files.example.com/seal.png" };
    const odd = { type: "file", mediaType: "audio/ogg", url: "data:audio/ogg;base64,AAAA" } as const;
    const parts = [{ type: "text", text: "two seals" } as const, image, far, odd];
    const value = { content: parts };
    const { body } = await sent(dialect, version, {
      messages: [
        user("?"),
        call("call_1"),
        { role: "tool", results: [{ call: "call_1", tool: "weather", ok: true, value, parts }] },
      ],
    });
    const linked = version === "v2" ? undefined : far.url;
    if (dialect === anthropic) {
      const [result] = body.messages.at(-1).content;
      assert.equal(
        result.content.flatMap(({ source }: any) => source?.data ?? source?.url ?? []),
        linked === undefined ? [PNG] : [PNG, linked],
      );
      assert.match(JSON.stringify(result.content.at(-1)), "audio/ogg, which you cannot open");
    } else if (dialect === openaiResponses) {
      const { output } = body.input.at(-1);
      assert.equal(
        output.flatMap(({ image_url }: any) => image_url ?? []),
        linked === undefined ? [image.url] : [image.url, linked],
      );
      assert.match(output.at(-1).text, "audio/ogg, which you cannot open");
    } else if (dialect === google) {
      const [{ functionResponse }] = body.contents.at(-1).parts;
      assert.equal(functionResponse.response.content, value);
    } else {
      assert.equal(JSON.parse(body.messages.at(-1).content), value);
    }
  },
);

/** Ids of results, each of which must have its call. */
function pairs(dialect: Dialect, body: any): string[] {
  const all = (items: any[], key: string): any[] => items.flatMap((item) => item[key] ?? []);
  if (dialect === openaiResponses) {
    const of = (type: string): string[] =>
      body.input.filter((item: any) => item.type === type).map((item: any) => item.call_id);
    assert.equal(of("function_call"), of("function_call_output"));
    return of("function_call_output");
  }
  if (dialect === anthropic) {
    const blocks = all(body.messages, "content");
    const results = blocks.filter((block) => block.type === "tool_result");
    // One message holds all results of a step.
    assert.is(body.messages.filter((message: any) => message.role === "user").length, 2);
    assert.equal(
      results.map((block) => block.is_error ?? false),
      [false, true],
    );
    assert.equal(
      blocks.filter((block) => block.type === "tool_use").map((block) => block.id),
      results.map((block) => block.tool_use_id),
    );
    return results.map((block) => block.tool_use_id);
  }
  if (dialect === google) {
    return all(body.contents, "parts").flatMap((part) => part.functionResponse?.id ?? []);
  }
  const calls = all(body.messages, "tool_calls").map((each) => each.id);
  const results = body.messages.filter((message: any) => message.role === "tool");
  assert.equal(
    calls,
    results.map((message: any) => message.tool_call_id),
  );
  return calls;
}

each(
  "who speaks, in a part of its own, and a note on it for the model",
  DIALECTS,
  async (dialect, version) => {
    const { body } = await sent(dialect, version, {
      messages: [user("Hello", "Ann"), user("Hi", 'Bob", "x')],
    });
    const turns = dialect === google ? body.contents : (body.messages ?? body.input);
    const people = turns.filter((turn: any) => turn.role === "user");
    assert.is(people.length, 1, "what people say in a row is one turn");
    const parts = (people[0].content ?? people[0].parts).map((part: any) => part.text);
    assert.equal(parts, [
      '{"author":"Ann","user":"Ann"}',
      "Hello",
      '{"author":"Bob\\", \\"x","user":"Bob\\", \\"x"}',
      "Hi",
    ]);
    assert.match(
      JSON.stringify(body),
      /Be brief\.\\n\\nEach message of a person, or of another agent, begins/,
    );
  },
);

each(
  "images as bytes, texts as text, and no file that would fail the request",
  DIALECTS,
  async (dialect, version) => {
    const files: PromptMessage = {
      role: "user",
      parts: [
        { type: "file", mediaType: "image/png", url: `data:image/png;base64,${PNG}` },
        { type: "file", mediaType: "text/csv", url: "data:text/csv,a%2Cb%0A1%2C2", filename: "x.csv" },
        { type: "file", mediaType: "image/png", url: "ftp-ish:nothing" },
      ],
    };
    const { body } = await sent(dialect, version, { messages: [files] });
    const text = JSON.stringify(body);
    assert.ok(text.includes(PNG), "the image is sent");
    assert.ok(text.includes('File \\"x.csv\\" (text/csv):\\na,b\\n1,2'));
    assert.ok(text.includes("which you cannot open"));
  },
);

each("a file that the package refuses is named, and the rest is sent", DIALECTS, async (dialect, version) => {
  const odd: PromptMessage = {
    role: "user",
    parts: [
      { type: "text", text: "What is this?" },
      { type: "file", mediaType: "application/x-walrus", url: "data:application/x-walrus;base64,AAAA" },
    ],
  };
  const { body } = await sent(dialect, version, { messages: [odd] });
  const text = JSON.stringify(body);
  assert.ok(text.includes("What is this?"));
  assert.ok(text.includes("x-walrus"));
});

each("the agent's own settings, beside or over what is asked anyway", DIALECTS, async (dialect, version) => {
  const settings = {
    temperature: 0.25,
    maxOutputTokens: 777,
    headers: { "x-team": "seals" },
    providerOptions: { openai: { user: "u9" } },
  };
  const { body, headers } = await sent(dialect, version, { settings }, plain(dialect));
  const numbers = JSON.stringify(body.generationConfig ?? body);
  assert.ok(numbers.includes("0.25") && numbers.includes("777"), numbers);
  assert.is(headers["x-team"], "seals");
  if (dialect === openaiChat || dialect === openaiResponses) {
    assert.is(body.user, "u9");
    assert.match(body.prompt_cache_key, /^[0-9a-f]{32}$/);
  }
});

/** A model that takes a temperature. */
function plain(dialect: Dialect): string {
  return dialect === openaiResponses ? "gpt-4.1-mini" : dialect.model;
}

each("tools as schemas of an object that nobody makes stricter", DIALECTS, async (dialect, version) => {
  const { body } = await sent(dialect, version, { toolChoice: { tool: "clock" } });
  const tools =
    dialect === google ? (body.tools[0].functionDeclarations ?? body.tools.functionDeclarations) : body.tools;
  const names = tools.map((tool: any) => tool.name ?? tool.function.name);
  assert.equal(names, ["weather", "clock"]);
  assert.not.ok(JSON.stringify(body).includes('"strict":true'));
  if (dialect === openaiResponses) {
    assert.equal(
      tools.map((tool: any) => tool.strict ?? false),
      [false, false],
    );
    assert.is(body.store, false);
  }
  if (dialect !== google)
    assert.is((tools[1].parameters ?? tools[1].input_schema ?? tools[1].function.parameters).type, "object");
  assert.ok(JSON.stringify(body.tool_choice ?? body.toolConfig).includes("clock"));
});

each("what a call had as input is an object again, whatever it was", DIALECTS, async (dialect, version) => {
  const broken = call("call_9", '{"city": "Rey');
  const { body } = await sent(dialect, version, {
    messages: [user("?"), broken, result("call_9", "invalid-input", false)],
  });
  assert.ok(JSON.stringify(body).includes("Rey"));
  if (dialect === anthropic) assert.type(body.messages[1].content[0].input, "object");
});

for (const version of VERSIONS) {
  test(`mistral ${version}: call ids of nine letters and digits, the same each time`, async () => {
    const messages = [
      user("?"),
      call("call_01jd4x9k2v5n8q3w7r6t1y0z"),
      result("call_01jd4x9k2v5n8q3w7r6t1y0z", 1),
    ];
    const { body } = await sent(openaiCompatible, version, { messages }, "mistral-small");
    const id = body.messages[2].tool_calls[0].id;
    assert.match(id, /^[A-Za-z0-9]{9}$/);
    assert.is(body.messages[3].tool_call_id, id);
    const again = await sent(openaiCompatible, version, { messages }, "mistral-small");
    assert.is(again.body.messages[2].tool_calls[0].id, id);
    const odd = [user("?"), call("ours: å".repeat(9)), result("ours: å".repeat(9), 1)];
    const other = await sent(openaiCompatible, version, { messages: odd });
    assert.match(other.body.messages[2].tool_calls[0].id, /^call_[0-9a-f]{24}$/);
  });

  test(`anthropic ${version}: ends of the cached prefix where the last request ended and where this one does`, async () => {
    const { body } = await sent(anthropic, version, { messages: TWO });
    assert.equal(marks(body.system), [true]);
    assert.equal(
      body.messages.map((message: any) => marks(message.content)),
      [
        [false, true],
        [false, false, false],
        [false, true],
      ],
    );
  });

  test(`anthropic ${version}: no reasoning in a step whose calls came without it`, async () => {
    const { body } = await sent(anthropic, version, { messages: TWO, reasoning: true });
    assert.ok(body.thinking === undefined || body.thinking.type === "disabled");
    const first = await sent(anthropic, version, { reasoning: true });
    assert.is(first.body.thinking.type, "enabled");
    assert.ok(first.body.max_tokens > 4096, "reasoning leaves room for an answer");
  });
}

function marks(blocks: any[]): boolean[] {
  return blocks.map((block) => block.cache_control !== undefined);
}

each(
  "what the model gave with a part goes back with it",
  [anthropic, openaiResponses, google],
  async (dialect, version) => {
    const signature = Buffer.from("signed by whoever wrote it").toString("base64");
    const answer = { reasoning: ["Hm."], signature, calls: [{ id: "c", tool: "clock", input: {} }] };
    server.play({ chunks: dialect.events({ ...answer, finish: "tool-calls" }) });
    const model = await modelOf(dialect, version, server.url);
    const { parts } = await drain(model, { ...ASK, reasoning: true });
    const state = (type: "reasoning" | "tool-call"): any =>
      parts.findLast((part) => part.type === type && part.state !== undefined);
    const messages: PromptMessage[] = [
      ...ASK.messages,
      {
        role: "assistant",
        parts: [
          { type: "reasoning", text: "Hm.", ...given(state("reasoning")) },
          { type: "tool-call", call: "call_1", tool: "clock", input: {}, ...given(state("tool-call")) },
        ],
      },
      { role: "tool", results: [{ call: "call_1", tool: "clock", ok: true, value: "noon" }] },
    ];
    const { body } = await sent(dialect, version, { messages, reasoning: true });
    assert.ok(JSON.stringify(body).includes(signature), JSON.stringify(body));
    if (dialect === openaiResponses) assert.equal(body.include, ["reasoning.encrypted_content"]);
  },
);

function given(part: { state?: any } | undefined): { state?: any } {
  return part?.state === undefined ? {} : { state: part.state };
}

each(
  "each request of a run begins with the one before it, byte for byte",
  DIALECTS,
  async (dialect, version) => {
    const steps = [
      TWO,
      [call("call_3"), result("call_3", "fog")],
      [call("call_4"), result("call_4", { wind: 9 })],
    ];
    let before = "";
    for (let count = 1; count <= steps.length; count++) {
      const { body } = await sent(dialect, version, { messages: steps.slice(0, count).flat() });
      const turns = dialect === google ? body.contents : (body.messages ?? body.input);
      const { contents: _, messages: __, input: ___, ...rest } = body;
      const text = JSON.stringify([rest, ...turns], (key, value: unknown) =>
        key === "cache_control" ? undefined : value,
      );
      const prefix = text.slice(0, -1);
      assert.ok(prefix.startsWith(before), `${prefix}\ndoes not begin with\n${before}`);
      before = prefix;
    }
  },
);

test.run();
