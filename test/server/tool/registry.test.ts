/**
 * The registry of tools: what the seed's nine tests asserted of it, names that are reserved, offers that do not agree,
 * and scopes. It holds schemas alone; who executes a call is tested with the router.
 */
import type { ToolOffer } from "../../../protocol/content.ts";
import { toolSpecification } from "../../../protocol/content.ts";
import { ProtocolError } from "../../../protocol/errors.ts";
import { SERVER_SCOPE, ToolRegistry } from "../../../server/tool/registry.ts";
import { assert, suite } from "../../support/suite.ts";

const test = suite("tool registry");

const offer = (name: string, change: Partial<ToolOffer> = {}): ToolOffer => ({
  name,
  inputSchema: {},
  ...change,
});
const specification = (name: string, change: Partial<ToolOffer> = {}) =>
  toolSpecification.parse(offer(name, change));
const names = (registry: ToolRegistry, filter: string[] = [], session = "ses_1"): string[] =>
  registry.visible(filter, session).map((tool) => tool.specification.name);

let registry: ToolRegistry;
test.before.each(() => {
  registry = new ToolRegistry();
});

/** What a provider's offer does once it is admitted. */
function offered(scope: string, name: string, change: Partial<ToolOffer> = {}): void {
  registry.admit(scope, specification(name, change));
  registry.add(scope, specification(name, change));
}

function refusal(act: () => void): ProtocolError {
  try {
    act();
  } catch (error) {
    if (error instanceof ProtocolError) return error;
    throw error;
  }
  throw new Error("it was not refused");
}

test("an empty registry shows nothing", () => {
  assert.equal(names(registry), []);
});

test("a registered tool is found by its name", () => {
  registry.register(offer("clock", { description: "the time" }));
  assert.is(registry.get(SERVER_SCOPE, "clock")?.specification.description, "the time");
  assert.is(registry.get(SERVER_SCOPE, "watch"), undefined);
});

test("a second registration of a name overwrites the first", () => {
  registry.register(offer("clock", { description: "one" }));
  registry.register(offer("clock", { description: "two" }));
  assert.equal(names(registry), ["clock"]);
  assert.is(registry.get(SERVER_SCOPE, "clock")?.specification.description, "two");
});

test("unregister is true, then false, and false for a name never heard of", () => {
  registry.register(offer("clock"));
  assert.equal(
    [registry.unregister("clock"), registry.unregister("clock"), registry.unregister("x")],
    [true, false, false],
  );
  assert.equal(names(registry), []);
});

test("a filter shows the tools that it names", () => {
  for (const name of ["a", "b", "c"]) registry.register(offer(name));
  assert.equal(names(registry, ["c", "a"]), ["a", "c"]);
});

test("an empty filter shows all, by name", () => {
  for (const name of ["c", "a", "b"]) registry.register(offer(name));
  assert.equal(names(registry, []), ["a", "b", "c"]);
});

test("unknown names in a filter are passed over", () => {
  registry.register(offer("a"));
  assert.equal(names(registry, ["ghost", "a"]), ["a"]);
  assert.equal(names(registry, ["ghost"]), []);
});

test("a name twice in a filter is one tool", () => {
  registry.register(offer("a"));
  assert.equal(names(registry, ["a", "a"]), ["a"]);
});

test("what was shown is not changed by what is registered later", () => {
  registry.register(offer("a", { description: "one" }));
  const shown = registry.visible([], "ses_1");
  registry.register(offer("a", { description: "two" }));
  registry.register(offer("b"));
  registry.unregister("a");
  assert.equal(
    shown.map((tool) => tool.specification.description),
    ["one"],
  );
});

test("what a provider offers and what is left out has its defaults", () => {
  offered(SERVER_SCOPE, "work");
  const tool = registry.get(SERVER_SCOPE, "work");
  assert.equal(
    [
      tool?.inProcess,
      tool?.specification.effect,
      tool?.specification.timeoutMs,
      tool?.specification.description,
    ],
    [false, "once", 60_000, ""],
  );
});

test("unregister does not take what a provider offers", () => {
  offered(SERVER_SCOPE, "work");
  assert.is(registry.unregister("work"), false);
  assert.equal(names(registry), ["work"]);
});

test("no offer takes the name of an in-process tool, at any scope", () => {
  registry.register(offer("clock"));
  for (const scope of [SERVER_SCOPE, "ses_1"]) {
    const error = refusal(() => registry.admit(scope, specification("clock")));
    assert.equal([error.code, error.details?.["tool"]], ["conflict", "clock"]);
  }
});

test("no session's offer shadows a name of the server", () => {
  offered(SERVER_SCOPE, "work");
  assert.is(refusal(() => registry.admit("ses_1", specification("work"))).code, "conflict");
});

test("a session's own name does not shadow one that the server gets later", () => {
  offered("ses_1", "work", { description: "the session's" });
  registry.register(offer("work", { description: "the server's" }));
  assert.equal(
    registry.visible([], "ses_1").map((tool) => tool.specification.description),
    ["the server's"],
  );
});

test("a session sees its own tools beside the server's, and no other session's", () => {
  registry.register(offer("clock"));
  offered("ses_1", "mine");
  offered("ses_2", "theirs");
  assert.equal(names(registry, [], "ses_1"), ["clock", "mine"]);
  assert.equal(names(registry, ["theirs"], "ses_1"), []);
  registry.remove("ses_1", "mine");
  assert.equal(names(registry, [], "ses_1"), ["clock"]);
});

test("a schema that cannot be checked is refused where it is offered, and nothing stays of it", () => {
  const bad = { inputSchema: { type: "no such type" } };
  assert.throws(() => registry.register(offer("a", bad)));
  assert.is(refusal(() => registry.admit(SERVER_SCOPE, specification("b", bad))).code, "bad-frame");
  assert.is(
    refusal(() => registry.admit(SERVER_SCOPE, specification("c", { outputSchema: { $ref: "http://x/y" } })))
      .code,
    "bad-frame",
  );
  assert.equal(names(registry), []);
});

test("names that no model accepts are refused", () => {
  for (const name of ["", "with space", "x".repeat(65), "a.b", "ü"]) {
    assert.throws(() => registry.register(offer(name)), undefined, name);
  }
});

test.run();
