/**
 * Golden bytes: what is on the wire and in logs today must read and write the same for ever. A failure here means that the
 * codec or a schema changed; test/fixtures/generate.ts says what to do when that is really meant.
 */
import { decodeBinary, decodeText, encodeFrame, encodeJsonFrame } from "../../protocol/codec.ts";
import { entryBodies } from "../../protocol/entries.ts";
import { clientFrames, results, serverFrames } from "../../protocol/frames.ts";
import { assert, suite } from "../support/suite.ts";
import { goldenFrames, GROUPS, schemaOf, TYPES } from "./frames.ts";

const test = suite("golden frames");

for (const group of GROUPS) {
  const frames = goldenFrames(group);

  test(`every type of ${group} has a golden frame, and every golden frame a type`, () => {
    const have = new Set(frames.map((golden) => golden.type));
    assert.equal([...have].toSorted(), [...TYPES[group]].toSorted());
    for (const golden of frames) {
      const type =
        group === "entries" ? (golden.frame["event"] as { type: string }).type : golden.frame["type"];
      assert.is(type, golden.type, golden.name);
    }
  });

  test(`encoding each golden frame of ${group} gives its bytes`, () => {
    for (const golden of frames) {
      const bytes = Buffer.from(encodeFrame(golden.frame)).toString("hex");
      assert.is(bytes, Buffer.from(golden.bytes).toString("hex"), golden.name);
      assert.is(encodeJsonFrame(golden.frame), golden.line, golden.name);
    }
  });

  test(`decoding the bytes of each golden frame of ${group} gives the frame`, () => {
    for (const golden of frames) {
      assert.equal([...decodeBinary(golden.bytes)], [golden.frame], golden.name);
      assert.equal([...decodeText(golden.line)], [golden.frame], golden.name);
    }
  });

  test(`the schemas accept each golden frame of ${group} and take nothing away`, () => {
    for (const golden of frames) {
      const { success, data, error } = schemaOf(golden).safeParse(golden.frame);
      assert.ok(success, `${golden.name}: ${String(error)}`);
      // Offers have defaults; everything else comes out as it went in.
      if (golden.name !== "offerTools") {
        const { type, id, ...fields } = golden.frame;
        assert.equal(data, golden.type === "ok" && golden.variant ? fields : golden.frame, golden.name);
        assert.ok(type !== undefined && (id === undefined || typeof id === "number"));
      }
    }
  });
}

test("golden frames use every field of every frame and entry", () => {
  const used = new Map<string, Set<string>>();
  const note = (type: string, value: object): void => {
    const fields = used.get(type) ?? new Set();
    for (const key of Object.keys(value)) fields.add(key);
    used.set(type, fields);
  };
  for (const golden of GROUPS.flatMap(goldenFrames)) {
    if (golden.group === "entries") note(`entry ${golden.type}`, golden.frame["event"] as object);
    else if (golden.type === "ok") note(`ok ${golden.variant}`, golden.frame);
    else note(golden.type, golden.frame);
  }
  const missing: string[] = [];
  const expect = (type: string, shape: object): void => {
    for (const field of Object.keys(shape)) {
      if (!used.get(type)?.has(field)) missing.push(`${type}.${field}`);
    }
  };
  for (const [type, schema] of Object.entries({ ...clientFrames, ...serverFrames })) {
    if (type !== "event" && type !== "ok") expect(type, schema.shape);
  }
  for (const [type, schema] of Object.entries(entryBodies)) expect(`entry ${type}`, schema.shape);
  // Answers that carry only a seq look alike.
  const alike = new Set(
    Object.entries(results).filter(([, schema]) => Object.keys(schema.shape).join() === "seq"),
  );
  for (const [type, schema] of Object.entries(results)) {
    if (![...alike].some(([name]) => name === type)) expect(`ok ${type}`, schema.shape);
  }
  assert.equal(
    missing.filter((field) => !/^ok (history|listAgents|listTools)\.cursor$/.test(field)),
    [],
  );
});

test("a changed byte is noticed", () => {
  const [golden] = goldenFrames("client");
  assert.ok(golden);
  const changed = golden.bytes.slice();
  changed[changed.length - 1]! ^= 1;
  assert.not.equal(Buffer.from(encodeFrame(golden.frame)), Buffer.from(changed));
});

test.run();
