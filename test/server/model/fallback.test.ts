/**
 * A chain of models: who is asked, when the next one is, who is left out for a while. The models are made by hand and time
 * is a number.
 */
import { chooseModels, withFallback } from "../../../server/model/fallback.ts";
import { ModelError, type Model, type ModelPart } from "../../../server/model/model.ts";
import { assert, suite } from "../../support/suite.ts";
import { ASK, drain } from "./drain.ts";

const test = suite("fallback");
const usage = { inputTokens: 1, outputTokens: 1 };
const done: ModelPart = { type: "finish", reason: "stop", usage };
const hello: ModelPart = { type: "text", block: "0", text: "hello" };

type Play = readonly (ModelPart | Error)[];

/** Plays one after the other, the last one for ever; counts how often it was asked. */
function model(id: string, ...plays: Play[]): Model & { asked: number } {
  return {
    id,
    asked: 0,
    async *stream() {
      const play = plays[Math.min(this.asked++, plays.length - 1)]!;
      for (const item of play) {
        if (item instanceof Error) throw item;
        yield item;
      }
    },
  };
}
const failed = (code: string, more: { retryable?: boolean; retryAfterMs?: number } = {}): Play => [
  new ModelError(code, code, more),
];

test("the first that begins answers, and the finish says who it was", async () => {
  const [a, b, c] = [model("a", failed("overloaded")), model("b", [hello, done]), model("c", [done])];
  const chain = withFallback([a, b, c]);
  assert.is(chain.id, "a");
  const { parts } = await drain(chain);
  assert.equal(parts, [hello, { ...done, model: "b" }]);
  assert.equal([a.asked, b.asked, c.asked], [1, 1, 0]);
});

test("one alone is itself", () => {
  const alone = model("a", [done]);
  assert.is(withFallback([alone]), alone);
});

test("after the first part there is no other: what was shown is not taken back here", async () => {
  const [a, b] = [
    model("a", [hello, new ModelError("connection-lost", "x", { retryable: true })]),
    model("b", [done]),
  ];
  const error = await assert.rejects(drain(withFallback([a, b])), ModelError);
  assert.is(error.code, "connection-lost");
  assert.is(b.asked, 0);
});

test("when all fail the failure that can be retried soonest is told, else the first one's", async () => {
  const all = (...plays: Play[]): Promise<any> => {
    const [first, ...rest] = plays.map((play, index) => model(String(index), play));
    return assert.rejects(drain(withFallback([first!, ...rest])), ModelError);
  };
  assert.is((await all(failed("unauthorized"), failed("bad-request"))).code, "unauthorized");
  const soonest = await all(
    failed("unauthorized"),
    failed("rate-limited", { retryable: true, retryAfterMs: 9000 }),
    failed("overloaded", { retryable: true, retryAfterMs: 10 }),
  );
  assert.is(soonest.code, "overloaded");
});

test("one that failed of itself comes last for a while, then first again", async () => {
  let now = 1000;
  const [a, b] = [model("a", failed("overloaded"), [done]), model("b", [done])];
  const chain = withFallback([a, b], { coolDownMs: 500, now: () => now });
  const who = async (): Promise<string | undefined> => {
    const finish = (await drain(chain)).parts.at(-1);
    return finish?.type === "finish" ? finish.model : undefined;
  };
  assert.is(await who(), "b");
  assert.is(await who(), "b");
  assert.is(a.asked, 1);
  now += 500;
  assert.is(await who(), "a");
});

test("one that refused a request is asked the next one all the same", async () => {
  const [a, b] = [model("a", failed("context-overflow"), [done]), model("b", [done])];
  const chain = withFallback([a, b]);
  await drain(chain);
  await drain(chain);
  assert.equal([a.asked, b.asked], [2, 1]);
});

test("an abort asks nobody else", async () => {
  const abort = new AbortController();
  const stuck: Model = {
    id: "a",
    // eslint-disable-next-line require-yield
    async *stream() {
      abort.abort();
      throw new ModelError("cancelled", "x");
    },
  };
  const b = model("b", [done]);
  await assert.rejects(drain(withFallback([stuck, b]), ASK, abort.signal), ModelError);
  assert.is(b.asked, 0);
});

test("an agent's chain is made once, and of one model where it names no other", async () => {
  const models = new Map(["a", "b"].map((id) => [id, model(id, failed("overloaded"), [done])]));
  const choose = chooseModels((name) => models.get(name)!);
  const alone = { model: "a" };
  assert.is(choose(alone), models.get("a"));
  const agent = { model: "a", fallback: ["b"] };
  assert.is(choose(agent), choose(agent));
  assert.is(choose(agent).id, "a");
});

test.run();
