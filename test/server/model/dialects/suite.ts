/**
 * Plays the table of cases through every dialect with the provider packages of one specification version, over real HTTP.
 * Owns the making of models; the cases say what must come of it.
 */
import { fromLanguageModel } from "../../../../server/model/aisdk.ts";
import { ModelError, type Model, type ModelPart } from "../../../../server/model/model.ts";
import { assert, suite } from "../../../support/suite.ts";
import { ASK, sum } from "../drain.ts";
import { anthropic } from "./anthropic.ts";
import { CASES, requestOf, SECRET, type Case } from "./cases.ts";
import type { Dialect, Version } from "./dialect.ts";
import { google } from "./google.ts";
import { openaiChat, openaiCompatible } from "./openai-chat.ts";
import { openaiResponses } from "./openai-responses.ts";
import { ProviderServer } from "./server.ts";

export const DIALECTS: readonly Dialect[] = [
  openaiChat,
  openaiResponses,
  openaiCompatible,
  anthropic,
  google,
];
const KEY = `sk-${SECRET}`;
/** Short where the case is a silence, and no limit at all elsewhere, so that a slow machine fails nothing. */
const PATIENCE = { firstPartMs: 20_000, idleMs: 20_000 };

export async function modelOf(
  dialect: Dialect,
  version: Version,
  url: string,
  options: { firstPartMs?: number; idleMs?: number; model?: string } = {},
): Promise<Model> {
  const loaded = (await import(dialect.packages[version])) as Record<string, (options: object) => unknown>;
  const provider = loaded[dialect.factory]!({
    ...(dialect.factory === "createOpenAICompatible" ? { name: "local" } : {}),
    apiKey: KEY,
    baseURL: `${url}${dialect.base}`,
    includeUsage: true,
  });
  const model = dialect.make(provider, options.model ?? dialect.model);
  return fromLanguageModel(model, { ...PATIENCE, ...options, id: "the model" });
}

export function dialectSuite(version: Version): void {
  const test = suite(`dialects ${version}`);
  let server: ProviderServer;
  test.before(async () => {
    server = await ProviderServer.start();
    for (const { packages } of DIALECTS) await import(packages[version]);
  });
  test.after(() => server.stop());

  for (const dialect of DIALECTS) {
    for (const each of CASES) {
      test(`${dialect.name}: ${each.name}`, () => play(dialect, version, each, server));
    }
  }
  test.run();
}

async function play(dialect: Dialect, version: Version, each: Case, server: ProviderServer): Promise<void> {
  const reply = each.reply(dialect);
  const silent = reply.mute === true || reply.ending === "silence";
  const limit = each.shown === undefined ? { firstPartMs: 60 } : { idleMs: 60 };
  const model = await modelOf(dialect, version, server.playApart(reply), silent ? limit : {});
  const parts: ModelPart[] = [];
  let failed: unknown;
  try {
    for await (const part of model.stream(requestOf(each), new AbortController().signal)) parts.push(part);
  } catch (error) {
    failed = error;
  }
  const [asked] = server.asked;
  // A request that was given up at once may never have arrived.
  if (asked !== undefined || !silent) {
    assert.match(asked!.path, dialect.path);
    assert.ok(String(dialect.key(asked!.headers)).includes(KEY), "the key is sent");
  }
  const drained = sum(parts);
  const expected = each.error?.(dialect);
  if (expected === undefined) {
    if (failed !== undefined) throw new Error("no answer", { cause: failed });
    for (const [actual, wanted] of each.answer?.(drained, dialect) ?? []) assert.equal(actual, wanted);
    return;
  }
  assert.ok(
    failed instanceof ModelError,
    `an error is thrown, got ${JSON.stringify(drained)} and ${String(failed)}`,
  );
  const error = failed;
  const found = Object.fromEntries(Object.keys(expected).map((key) => [key, error[key as keyof ModelError]]));
  assert.equal(found, expected, error.message);
  assert.is(drained.text, each.shown ?? "");
  assert.is(drained.reason, undefined);
  for (const said of [error.message, error.stack, JSON.stringify(error), String(error.cause)]) {
    assert.not.ok(String(said).includes(SECRET), `the secret is told: ${said}`);
  }
  if (silent) await asked?.left;
}

export { ASK };
