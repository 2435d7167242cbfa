/**
 * Hooks: registering tools, building agents, watching every event; several of them as one, none of them able to do harm.
 * Held at the runtime that calls them.
 */
import type { AgentEvent, EventContext, Hook } from "../../server/hook.ts";
import { closeRuntimes, script, startRuntime } from "../support/runtime.ts";
import { assert, suite } from "../support/suite.ts";

const test = suite("hooks");
test.after.each(closeRuntimes);

test("hooks compose: registrations and events go to each, what is built passes through in order", async () => {
  const seen: string[] = [];
  const hook = (name: string): Hook => ({
    onRegisterTools: (registry) =>
      registry.register({ name: `tool_${name}`, inputSchema: {}, execute: () => name }),
    onBuildAgent: (options) => ({ ...options, instructions: `${options.instructions ?? ""}${name}` }),
    onEvent: (_context, event) => void (event.type === "event" && seen.push(`${name} ${event.event.type}`)),
  });
  const runtime = await startRuntime({ hook: [hook("a"), {}, hook("b")] });
  assert.is(runtime.runtime.getAgent("demo")?.instructions, "ab");
  const session = await runtime.session();
  await runtime.run(session, script({ calls: [{ tool: "tool_a" }, { tool: "tool_b" }] }));
  assert.equal(seen.slice(0, 2), ["a session-created", "b session-created"]);
  assert.is(seen.filter((line) => line.startsWith("a ")).length, seen.length / 2);
});

test("hooks see every event in the order of the log, with session, run, agent and sender, to the last one", async () => {
  const seen: { context: EventContext; event: AgentEvent }[] = [];
  const hook: Hook = { onEvent: (context, event) => void seen.push({ context, event }) };
  const runtime = await startRuntime({ hook });
  await runtime.runtime.addAgent({ name: "guest" });
  const session = await runtime.session();
  const end = await runtime.run(session, script({ text: "hi" }), { agent: "guest" });
  const of = seen.filter(({ event }) => event.run === end.run);
  assert.ok(of.some(({ event }) => event.type === "delta"));
  for (const { context, event } of of) {
    assert.equal(
      [context.session, context.run, context.agent, context.actor?.id],
      [session, end.run, "guest", "ada"],
      event.type === "event" ? event.event.type : event.type,
    );
  }
  const seqs = seen.flatMap(({ event }) => (event.type === "event" ? [event.seq] : []));
  assert.equal(
    seqs,
    seqs.map((_, n) => n + 1),
  );
});

test("a hook that throws or rejects harms neither the run nor the next hook", async () => {
  const seen: AgentEvent[] = [];
  const bad: Hook[] = [
    {
      onEvent: () => {
        throw new Error("at once");
      },
    },
    { onEvent: () => Promise.reject(new Error("later")) },
    { onEvent: () => new Promise(() => {}) },
  ];
  const runtime = await startRuntime({
    hook: [...bad, { onEvent: (_context, event) => void seen.push(event) }],
  });
  assert.is((await runtime.run(await runtime.session(), "hello")).reason, "text");
  assert.is(seen.length, runtime.events.all.length);
});

test("a hook may refuse an agent", async () => {
  const hook: Hook = {
    onBuildAgent: () => {
      throw new Error("not on my machine");
    },
  };
  const { runtime } = await startRuntime({ hook, agent: null });
  await assert.rejects(runtime.addAgent({ name: "x" }), /not on my machine/);
  assert.equal(runtime.agents(), []);
});

test.run();
