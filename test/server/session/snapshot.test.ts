/**
 * What a snapshot and a page of history hold: as many of the newest messages as one frame can, in bytes and in values.
 * Owns messages at the bounds of a payload; every frame here is put before the scan that each client applies.
 */
import { encodeFrame } from "../../../protocol/codec.ts";
import type { DataPart } from "../../../protocol/content.ts";
import { scanMsgpack } from "../../../protocol/scan.ts";
import { MAX_FRAME_BYTES } from "../../../protocol/version.ts";
import { readHistory } from "../../../server/session/history.ts";
import { snapshotFor } from "../../../server/session/snapshot.ts";
import { closeRuntimes, script, startRuntime } from "../../support/runtime.ts";
import { assert, suite } from "../../support/suite.ts";

const test = suite("snapshots and history within a frame");
test.after.each(closeRuntimes);

const many: DataPart = { type: "data-numbers", data: Array.from({ length: 9000 }, (_, index) => index) };
const long: DataPart = { type: "data-text", data: "x".repeat(700_000) };

for (const [name, part] of Object.entries({ values: many, bytes: long })) {
  test(`messages that fill a frame in ${name} leave a frame that every client takes`, async () => {
    const runtime = await startRuntime();
    const session = await runtime.session();
    for (let sent = 0; sent < 3; sent++) await runtime.run(session, [part]);
    const { store, registry } = runtime.runtime;
    const { state } = await registry.with(session, (held) => Promise.resolve(held));

    const snapshot = encodeFrame({ type: "ok", id: 1, snapshot: snapshotFor(state, 200) });
    assert.is(scanMsgpack(snapshot), snapshot.length);
    assert.ok(snapshot.length <= MAX_FRAME_BYTES);

    const seen: string[] = [];
    for (let cursor: string | undefined; ;) {
      const page = await readHistory(store, state, cursor, 50);
      const frame = encodeFrame({ type: "ok", id: 1, ...page });
      assert.is(scanMsgpack(frame), frame.length);
      assert.ok(frame.length <= MAX_FRAME_BYTES);
      seen.unshift(...page.items.map(({ id }) => id));
      if (page.cursor === undefined || page.items.length === 0) break;
      ({ cursor } = page);
    }
    assert.equal(
      seen,
      state.messages.map(({ id }) => id),
    );
  });
}

test("outputs that do not fit are left out and marked, the log has them whole", async () => {
  const output = Array.from({ length: 9000 }, (_, index) => index);
  const runtime = await startRuntime({
    tools: [{ name: "count", effect: "pure", inputSchema: {}, execute: () => output }],
  });
  const session = await runtime.session();
  const { calls } = { calls: [{ tool: "count" }, { tool: "count" }, { tool: "count" }] };
  await runtime.run(session, script({ calls }));
  const { state } = await runtime.runtime.registry.with(session, (held) => Promise.resolve(held));
  const frame = encodeFrame({ type: "ok", id: 1, snapshot: snapshotFor(state, 1) });
  assert.is(scanMsgpack(frame), frame.length);
  const parts = snapshotFor(state, 1).state.messages.at(-1)!.parts;
  assert.ok(parts.some((part) => part.type === "dynamic-tool" && part.truncated));
  assert.ok(parts.some((part) => part.type === "dynamic-tool" && part.output !== undefined));
});

test.run();
