/**
 * What tests of compaction share: a model whose turns the test writes, agents whose window is small, and the way to ask
 * for a summary as a member does.
 */
import type { AgentOptions } from "../../../server/agent/agent.ts";
import type { ModelRequest } from "../../../server/model/model.ts";
import {
  caller,
  finishes,
  says,
  startRuntime,
  TestModel,
  type RuntimeSetup,
  type TestRuntime,
  type Turn,
} from "../../support/runtime.ts";

export const WINDOW: Pick<AgentOptions, "compaction"> = { compaction: { contextWindow: 100 } };
export const full = { inputTokens: 80, outputTokens: 1 };
export const answers = (text: string, usage = { inputTokens: 3, outputTokens: 2 }): Turn => [
  says(text),
  finishes("stop", usage),
];

export function compact(
  runtime: TestRuntime,
  session: string,
  user = "ada",
): Promise<{ seq: number; summary: string }> {
  return runtime.runtime.registry.with(session, (held) => held.compactor.run(caller(user)));
}

export async function started(
  turns: Turn[],
  setup: RuntimeSetup = {},
): Promise<{ model: TestModel; runtime: TestRuntime; session: string }> {
  const model = new TestModel(...turns);
  const runtime = await startRuntime({ model, ...setup });
  return { model, runtime, session: await runtime.session() };
}

export const textsOf = ({ messages }: Pick<ModelRequest, "messages">): string[] =>
  messages.flatMap((message) =>
    message.role === "tool"
      ? message.results.map(({ value }) => JSON.stringify(value))
      : message.parts.flatMap((part) => (part.type === "text" ? [part.text] : [])),
  );

export function failing(error: Error): Turn {
  // oxlint-disable-next-line eslint/require-yield
  return async function* () {
    await Promise.reject(error);
  };
}
