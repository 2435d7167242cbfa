/**
 * SPEC.md and the code say the same: every frame, entry, shape, enum, error and close code, with its fields, types, bounds
 * and defaults, both ways; and the transcript at its end is valid. A stranger writes a client from that page alone.
 */
import { z } from "zod";
import * as content from "../../protocol/content.ts";
import { entryBodies } from "../../protocol/entries.ts";
import { afterClose, CLOSE_CODES, ERRORS } from "../../protocol/errors.ts";
import * as frames from "../../protocol/frames.ts";
import { RETAIN_BYTES, RETAIN_MESSAGES } from "../../protocol/state.ts";
import * as version from "../../protocol/version.ts";
import { FRAME_RIGHTS, rightOf } from "../../server/auth/rights.ts";
import { assert, suite } from "../support/suite.ts";
import type { JsonSchemaObject } from "./spec.ts";
import {
  code,
  enumValues,
  fieldList,
  fieldTable,
  normalized,
  objectSchema,
  shapeNames,
  spec,
  table,
} from "./spec.ts";

const test = suite("SPEC.md");

function ofCode(schema: z.ZodType): unknown {
  return normalized(z.toJSONSchema(schema, { io: "input", unrepresentable: "any" }));
}

function sameNames(written: Iterable<string>, inCode: Iterable<string>): void {
  assert.equal([...written].toSorted(), [...inCode].toSorted());
}

const type = (name: string): JsonSchemaObject => ({ type: { type: "string", const: name } });
const requestId = { id: { type: "integer", minimum: 0, maximum: 0xffff_ffff } };

const requests = fieldTable("request", "fields", "`ok` carries");
const notices = fieldTable("notice", "fields");
const server = fieldTable("frame", "fields", "meaning");
const entries = fieldTable("entry", "fields", "effect on the state");

test("requests: the same names, fields and bounds", () => {
  sameNames(requests.keys(), Object.keys(frames.requests));
  for (const [name, { fields }] of requests) {
    const schema = objectSchema(fields, { ...type(name), ...requestId });
    if (name === "hello")
      schema["required"] = (schema["required"] as string[]).filter((field) => field !== "id");
    assert.equal(ofCode(frames.requests[name as frames.RequestType]), normalized(schema), name);
  }
});

test("what ok carries: the same fields", () => {
  for (const [name, { last }] of requests) {
    if (name === "hello") continue;
    const schema = frames.results[name as keyof typeof frames.results];
    assert.equal(ofCode(schema), normalized(objectSchema(last)), name);
  }
});

test("notices: the same names, fields and bounds", () => {
  sameNames(notices.keys(), Object.keys(frames.notices));
  for (const [name, { fields }] of notices) {
    const schema = frames.notices[name as frames.NoticeType];
    assert.equal(ofCode(schema), normalized(objectSchema(fields, type(name))), name);
  }
});

test("server frames: the same names, fields and bounds", () => {
  sameNames(server.keys(), Object.keys(frames.serverFrames));
  for (const [name, { fields }] of server) {
    const schema = ofCode(frames.serverFrames[name as frames.ServerFrameType]) as JsonSchemaObject;
    // The entries have a test of their own.
    if (name === "event") (schema["properties"] as JsonSchemaObject)["event"] = {};
    assert.equal(schema, normalized(objectSchema(fields, type(name))), name);
  }
});

test("entries: the same names, fields and bounds", () => {
  sameNames(entries.keys(), Object.keys(entryBodies));
  for (const [name, { fields }] of entries) {
    const schema = entryBodies[name as keyof typeof entryBodies];
    assert.equal(ofCode(schema), normalized(objectSchema(fields, type(name))), name);
  }
});

const SHAPES: Record<string, z.ZodType> = {
  Position: content.position,
  Actor: content.actor,
  Usage: content.usage,
  TextPart: content.textPart,
  ReasoningPart: content.reasoningPart,
  FilePart: content.filePart,
  DataPart: content.dataPart,
  ToolPart: content.toolPart,
  Message: content.message,
  HistoryMessage: frames.historyMessage,
  CallError: content.callError,
  SessionInfo: content.sessionInfo,
  Parent: content.parentLink,
  OpenInvite: content.openInvite,
  State: frames.sessionState,
  QueuedInput: frames.queuedInput,
  OpenRun: frames.openRun,
  FinishedRun: frames.finishedRun,
  OpenCall: frames.openCall,
  OpenRequest: frames.openRequest,
  ListedRequest: frames.listedRequest,
  SessionFilter: frames.sessionFilter,
  Partial: frames.partial,
  ToolOffer: content.toolSpecification,
  ListedAgent: frames.listedAgent,
  ListedTool: frames.listedTool,
  ListedProvider: frames.listedProvider,
  BackedUp: frames.backedUp,
  ImportedEntry: frames.importedEntry,
};

test("shapes: the same fields and bounds, and each is used", () => {
  for (const [name, schema] of Object.entries(SHAPES)) {
    const cell = fieldTable("shape", "fields", "notes").get(name)!.fields;
    assert.equal(ofCode(schema), normalized(objectSchema(cell)), name);
  }
  const cells = [...requests.values(), ...notices.values(), ...server.values(), ...entries.values()];
  const all = [...cells, ...fieldTable("shape", "fields", "notes").values()].map(
    (row) => `${row.fields} ${row.last}`,
  );
  for (const name of [...shapeNames, ...enumValues.keys()]) {
    const used = all.some((text) => new RegExp(`[ [{]${name}\\b`).test(text));
    assert.ok(used || ["TextPart", "ReasoningPart", "FilePart", "DataPart", "ToolPart"].includes(name), name);
  }
});

test("enums: the same values in the same order", () => {
  const inCode: Record<string, { options: readonly string[] }> = {
    Role: content.role,
    Effect: content.effect,
    SendMode: content.sendMode,
    Outcome: content.outcome,
    Verdict: content.verdict,
    FinishReason: content.finishReason,
    BudgetUnit: content.budgetUnit,
    RunReason: content.runReason,
    PartKind: frames.partKind,
  };
  for (const [name, { options }] of Object.entries(inCode)) assert.equal(enumValues.get(name), options, name);
});

test("defaults: those of the offers and of tail", () => {
  const offer = content.toolSpecification.parse({ name: "a", inputSchema: {} }) as Record<string, unknown>;
  for (const field of fieldList(fieldTable("shape", "fields", "notes").get("ToolOffer")!.fields)) {
    if (field.absent !== undefined)
      assert.is(field.absent, JSON.stringify(offer[field.name]).replace(/^"(.+)"$/, "$1"));
  }
  const tail = fieldList(requests.get("attach")!.fields).find((field) => field.name === "tail");
  assert.is(tail?.absent, String(version.DEFAULT_TAIL));
});

test("rights: every client frame asks for the same", () => {
  const listed = (cell: string): string[] => [...cell.matchAll(/`([^`]+)`/g)].map(([, name]) => name!);
  const rows = table("client frame", "role", "right").flatMap(([names = "", role = "", right = ""]) =>
    listed(names).map((name) => {
      const [others = "", own = ""] = role.split("; oneself ");
      return [name, { roles: listed(others), ownRoles: listed(own), right }];
    }),
  );
  assert.is(new Set(rows.map(([name]) => name)).size, rows.length, "each is there once");
  const inCode = Object.keys(FRAME_RIGHTS).map((name) => {
    const { roles = [], ownRoles = [], right, ownCalls } = rightOf(name as frames.ClientFrameType);
    return [
      name,
      {
        roles: [...roles],
        ownRoles: [...ownRoles],
        right: ownCalls ? "own calls" : right === undefined ? "" : `\`${right}\``,
      },
    ];
  });
  assert.equal(Object.fromEntries(rows), Object.fromEntries(inCode));
});

test("errors: the same codes and flags", () => {
  const rows = table("code", "retryable", "when").map(([name = "", flag]) => [code(name), flag === "yes"]);
  assert.equal(
    rows,
    Object.entries(ERRORS).map(([name, rule]) => [name, rule.retryable]),
  );
});

test("close codes: the same causes, codes and ranges", () => {
  const rows = table("cause", "code", "when").map(([cause = "", number]) => [code(cause), Number(number)]);
  assert.equal(rows, Object.entries(CLOSE_CODES));
  const listed = new Set<number>();
  let other = "";
  for (const [codes = "", action = ""] of table("codes", "do")) {
    const does = /`([a-z-]+)`/.exec(action)![1]!;
    if (codes.startsWith("everything")) other = does;
    for (const range of codes.matchAll(/(\d{4})(?:–(\d{4}))?/g)) {
      if (codes.startsWith("everything")) continue;
      for (let number = Number(range[1]); number <= Number(range[2] ?? range[1]); number++) {
        assert.is(afterClose(number), does, String(number));
        listed.add(number);
      }
    }
  }
  for (let number = 1000; number <= 4999; number++)
    if (!listed.has(number)) assert.is(afterClose(number), other);
});

test("run reasons and verdicts each have a row", () => {
  const reasons = table("reason", "when").flatMap(([cell = ""]) => cell.split(", ").map(code));
  sameNames(reasons, content.runReason.options);
  sameNames(
    table("verdict", "meaning").map(([cell = ""]) => code(cell)),
    content.verdict.options,
  );
});

test("numbers: those of the code", () => {
  const says = (text: string): void => assert.ok(spec.includes(text), text);
  assert.is(version.MAX_FRAME_BYTES, 1024 * 1024);
  says("| one frame, in MessagePack, both ways | 1 MiB |");
  says(
    `| \`hello\`) | ${version.MAX_HELLO_BYTES / 1024} KiB |`.replace(
      "| `hello`",
      "| the first message (`hello`",
    ),
  );
  says(`the frame included | ${version.MAX_FRAME_DEPTH} |`);
  says(`the frame included | ${version.MAX_FRAME_ITEMS.toLocaleString("en").replace(",", " ")} |`);
  const items = version.MAX_PAYLOAD_ITEMS.toLocaleString("en").replace(",", " ");
  says(
    `${version.MAX_PAYLOAD_BYTES / 1024} KiB in MessagePack and in JSON, depth ${version.MAX_PAYLOAD_DEPTH}, ${items} values`,
  );
  says(`\`maxFrame\` | bytes of a frame and of an inbound message: ${version.MAX_FRAME_BYTES} |`);
  says(`\`maxPayload\` | bytes of a payload value: ${version.MAX_PAYLOAD_BYTES} |`);
  says(`newest messages within ${RETAIN_BYTES / 1024 / 1024} MiB`);
  says(`except the last ${RETAIN_MESSAGES} of all`);
  says(`contents are cut to ${version.SNAPSHOT_QUEUED_CONTENT / 1024} KiB`);
  for (const name of [version.SUBPROTOCOL_JSON, version.SUBPROTOCOL_MSGPACK]) says(`| \`${name}\` |`);
});

test("every frame named in the text exists", () => {
  const known = new Set([
    ...requests.keys(),
    ...notices.keys(),
    ...server.keys(),
    ...entries.keys(),
    ...Object.keys(ERRORS),
    ...[...enumValues.values()].flat(),
  ]);
  // Hyphenated words in backticks are entries, codes or values; nothing else on the page looks like that.
  for (const [, word = ""] of spec.matchAll(/`([a-z]+(?:-[a-z]+)+)`/g)) {
    assert.ok(
      known.has(word) || word in CLOSE_CODES || ["back-off", "new-token", "dynamic-tool"].includes(word),
      word,
    );
  }
});

test("the transcript is valid, and its entries are gapless", () => {
  const lines = spec.split("\n").filter((line) => /^[<>] \{/.test(line));
  assert.ok(lines.length > 25);
  const pending = new Map<number, string>();
  let seq = 0;
  for (const line of lines) {
    const frame = JSON.parse(line.slice(2)) as { type: string; id: number; seq: number };
    if (line.startsWith(">")) {
      frames.clientFrames[frame.type as frames.ClientFrameType].parse(frame);
      pending.set(frame.id, frame.type);
      continue;
    }
    frames.serverFrames[frame.type as frames.ServerFrameType].parse(frame);
    if (frame.type === "ok")
      frames.results[pending.get(frame.id) as keyof typeof frames.results].parse(frame);
    if (frame.type === "event") assert.is(frame.seq, ++seq);
  }
});

test.run();
