/**
 * model: what the adapter costs. One answer of many small pieces, read through a real provider package whose `fetch` answers
 * from memory: drained bare from `doStream`, and as a Model. Measures CPU time of the process per part; a network would
 * only hide the difference.
 */
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { fromLanguageModel } from "../../server/model/aisdk.ts";
import type { ModelRequest } from "../../server/model/model.ts";
import { samplesOf } from "./bench.ts";
import type { Bench, BenchOptions, Row } from "./bench.ts";
import { table } from "./report.ts";
import { interleave } from "./slices.ts";
import type { Subject } from "./slices.ts";
import { median, quantile, ratioOf } from "./stats.ts";

const PIECES = 2000;
const PER_SLICE = 5;
const GOAL_US = 20;
const REQUEST: ModelRequest = {
  instructions: "Be brief.",
  messages: [{ role: "user", parts: [{ type: "text", text: "Count." }] }],
  tools: [],
  toolChoice: "auto",
  reasoning: false,
};

export const model: Bench = {
  name: "model",
  about: "CPU that the adapter adds to a bare doStream, per part",
  async run(options) {
    const samples = samplesOf(options, { quick: 20, normal: 200, full: 600 });
    const groups = Math.max(2, Math.ceil(samples / (2 * PER_SLICE)));
    const provider = createOpenAICompatible({
      name: "memory",
      baseURL: "http://127.0.0.1/v1",
      fetch: answer,
    });
    const bare = provider("m");
    const adapted = fromLanguageModel(bare);
    const subjects: Subject[] = [
      subject("doStream", async () => {
        const prompt = [{ role: "user" as const, content: [{ type: "text" as const, text: "Count." }] }];
        const { stream } = await bare.doStream({ prompt });
        const reader = stream.getReader();
        while (!(await reader.read()).done);
      }),
      subject("model", async () => {
        const { signal } = new AbortController();
        for await (const part of adapted.stream(REQUEST, signal)) void part;
      }),
    ];
    return report(await interleave(subjects, groups, PER_SLICE, options.size !== "quick"), options);
  },
};

/** Microseconds of CPU per part, by answer. */
function subject(name: string, drain: () => Promise<void>): Subject {
  return {
    name,
    async slice(count) {
      const taken: number[] = [];
      for (let at = 0; at < count; at++) {
        const before = process.cpuUsage();
        await drain();
        const { user, system } = process.cpuUsage(before);
        taken.push((user + system) / PIECES);
      }
      return taken;
    },
  };
}

const encoder = new TextEncoder();
const EVENTS = [
  ...Array.from({ length: PIECES }, (_, at) => event({ content: ` word${at}` }, null)),
  event({}, "stop"),
  encoder.encode("data: [DONE]\n\n"),
];

function event(delta: object, finish_reason: string | null): Uint8Array {
  const choices = [{ index: 0, delta, finish_reason }];
  return encoder.encode(
    `data: ${JSON.stringify({ id: "c", object: "chat.completion.chunk", model: "m", choices })}\n\n`,
  );
}

function answer(): Promise<Response> {
  let at = 0;
  const body = new ReadableStream<Uint8Array>({
    pull(controller) {
      const next = EVENTS[at++];
      if (next === undefined) controller.close();
      else controller.enqueue(next);
    },
  });
  return Promise.resolve(new Response(body, { headers: { "content-type": "text/event-stream" } }));
}

function report(taken: ReadonlyMap<string, readonly number[][]>, { say }: BenchOptions): Row[] {
  const all = (name: string): number[] => taken.get(name)!.flat();
  const columns = [0.1, 0.5, 0.9];
  say(
    table(
      ["µs of CPU per part", "answers", "p10", "p50", "p90"],
      [...taken.keys()].map((name) => [
        name,
        String(all(name).length),
        ...columns.map((q) => quantile(all(name), q).toFixed(2)),
      ]),
    ),
  );
  const theirs = taken.get("doStream")!;
  const groups = taken.get("model")!.map((ours, at) => ({ ours, theirs: theirs[at] ?? [] }));
  const { ratio, interval } = ratioOf(groups, median);
  const base = median(all("doStream"));
  const added = (value: number): number => (value - 1) * base;
  return [
    {
      name: "model, CPU per part / bare doStream",
      ratio,
      interval,
      goal: null,
      better: "lower",
    },
    {
      name: "model, µs of CPU per part over bare doStream",
      ratio: added(ratio),
      interval: [added(interval[0]), added(interval[1])],
      goal: GOAL_US,
      better: "lower",
    },
  ];
}
