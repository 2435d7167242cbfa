/**
 * The bytes on disk, written out. They may not change without a new format number and a migration: a failure here is
 * a fault of the change, never of the test.
 */
import {
  EntryEncoder,
  FORMAT,
  FORMAT_KEY,
  Kind,
  encodeIndex,
  entryKey,
  keyRowKey,
  listEnd,
  listKey,
  listPrefix,
  ownedKey,
  idOfListKey,
  idOfOwnedKey,
  idOfSessionKey,
  rangeOf,
  readEntry,
  readIndex,
  readSessionRow,
  readTallyKey,
  seal,
  sealDeletedSession,
  sealLiveSession,
  sessionKey,
  markKey,
  tallyKey,
  uint48,
} from "../../../server/store/layout.ts";
import { StoreDamagedError } from "../../../server/store/store.ts";
import { assert, suite } from "../../support/suite.ts";

const test = suite("layout on disk");
const ID = "ses_1";
const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");
const INDEX = {
  readers: ["ada", "Zoë"],
  open: true,
  updatedAt: 1_700_000_000_000,
  info: Buffer.from("info"),
};

test("keys are the bytes that they were in format 1", () => {
  assert.is(FORMAT, 1);
  assert.is(hex(FORMAT_KEY), "00666f726d6174");
  assert.is(hex(entryKey(ID, 258)), "017365735f3100000000000102");
  assert.is(hex(sessionKey(Kind.session, ID)), "027365735f3100");
  assert.is(hex(listKey(listPrefix(undefined), 258, ID)), "0300fffffffffefd7365735f31");
  assert.is(
    hex(listKey(listPrefix("ada"), 258, ID)),
    "0301fdee430d40bd57deeac186cd9790033dfffffffffefd7365735f31",
  );
  assert.is(hex(sessionKey(Kind.open, ID)), "047365735f3100");
  assert.is(hex(keyRowKey(ID, "ada", "k")), "057365735f310046a37575079eda25f1a26b06f2042b98");
  assert.is(hex(sessionKey(Kind.snapshot, ID)), "067365735f3100");
  assert.is(hex(sessionKey(Kind.checkpoint, ID)), "077365735f3100");
  assert.is(hex(sessionKey(Kind.purge, ID)), "087365735f3100");
  assert.is(hex(ownedKey("ada", ID)), "0cfdee430d40bd57deeac186cd9790033d7365735f31");
  assert.is(idOfOwnedKey(ownedKey("ada", ID)), ID);
  assert.is(hex(markKey(ID, "ada")), "0d7365735f3100fdee430d40bd57deeac186cd9790033d");
  assert.is(hex(sessionKey(Kind.agent, "demo")), "0e64656d6f00");
  assert.is(hex(tallyKey("Zoë")), "0b225a6fc3ab2200");
  assert.is(hex(tallyKey("a\0", 258)), "0b22615c75303030302200000000000102");
  assert.equal(readTallyKey(tallyKey("a\0", 258)), { user: "a\0", day: 258 });
  assert.equal(readTallyKey(tallyKey("Zoë")), { user: "Zoë", day: undefined });
});

test("values are the bytes that they were in format 1", () => {
  const encoder = new EntryEncoder();
  encoder.encode(ID, 1_700_000_000_000, 258, Buffer.from("entry"));
  assert.is(hex(encoder.key), hex(entryKey(ID, 258)));
  assert.is(hex(encoder.value), "01191114f4018bcfe56800656e747279");
  const index = encodeIndex(INDEX);
  assert.is(hex(index), "01018bcfe568000002000361646100045a6fc3ab696e666f");
  const owned = encodeIndex({ ...INDEX, owner: "ada" });
  assert.is(hex(owned), "03018bcfe568000002000361646100045a6fc3ab0003616461696e666f");
  const row = sessionKey(Kind.session, ID);
  assert.is(hex(sealLiveSession(row, 258, index)), `01a93fa2dc01000000000102${hex(index)}`);
  assert.is(hex(sealDeletedSession(row, 1_700_000_000_000)), "016bfb650802018bcfe56800");
  assert.is(hex(seal(sessionKey(Kind.open, ID))), "016d701d72");
  assert.is(hex(seal(keyRowKey(ID, "ada", "k"), uint48(258))), "0180b9e0b7000000000102");
  const snapshot = seal(sessionKey(Kind.snapshot, ID), uint48(258), Buffer.from("state"));
  assert.is(hex(snapshot), "01eb8569680000000001027374617465");
});

test("what is written is what is read", () => {
  const encoder = new EntryEncoder();
  for (const size of [0, 1, 300, 200_000]) {
    const bytes = Buffer.alloc(size, "some text ");
    encoder.encode("s".repeat(64), 2 ** 48 - 1, 2 ** 48 - 1, bytes);
    const entry = readEntry(
      "s".repeat(64),
      2 ** 48 - 1,
      Buffer.from(encoder.key),
      Buffer.from(encoder.value),
    );
    assert.is(entry.epoch, 2 ** 48 - 1);
    assert.ok(entry.bytes.equals(bytes));
  }
  assert.equal(readIndex(encodeIndex(INDEX)), INDEX);
  const mine = { ...INDEX, owner: "Zoë", open: false };
  assert.equal(readIndex(encodeIndex(mine)), mine);
  const none = { readers: [], open: false, updatedAt: 0, info: Buffer.alloc(0) };
  assert.equal(readIndex(encodeIndex(none)), none);
  const key = sessionKey(Kind.session, ID);
  assert.equal(readSessionRow(ID, key, sealLiveSession(key, 7, encodeIndex(INDEX))), {
    head: 7,
    index: INDEX,
  });
  assert.equal(readSessionRow(ID, key, sealDeletedSession(key, 9)), { deletedAt: 9 });
  assert.is(idOfSessionKey(key), ID);
  for (const prefix of [listPrefix(undefined), listPrefix("ada")]) {
    assert.is(idOfListKey(prefix, listKey(prefix, 5, ID)), ID);
  }
});

test("a changed bit anywhere in a value or its key is damage", () => {
  const key = entryKey(ID, 3);
  const encoder = new EntryEncoder();
  encoder.encode(ID, 1000, 3, Buffer.from("entry"));
  const value = Buffer.from(encoder.value);
  for (const target of [value, key]) {
    for (let bit = 0; bit < target.length * 8; bit++) {
      const flip = 1 << (bit % 8);
      target[bit >> 3] = (target[bit >> 3] ?? 0) ^ flip;
      assert.throws(
        () => readEntry(ID, 3, key, value),
        (error: unknown) => {
          return error instanceof StoreDamagedError && error.id === ID && error.seq === 3;
        },
      );
      target[bit >> 3] = (target[bit >> 3] ?? 0) ^ flip;
    }
  }
  for (let length = 0; length < value.length; length++) {
    assert.throws(
      () => readEntry(ID, 3, key, value.subarray(0, length)),
      (error: unknown) => {
        return error instanceof StoreDamagedError;
      },
    );
  }
  assert.is(readEntry(ID, 3, key, value).bytes.toString(), "entry");
});

test("ranges hold the rows of one session or one list and no others", () => {
  const within = (range: { gte: Buffer; lt: Buffer }, key: Buffer): boolean =>
    Buffer.compare(key, range.gte) >= 0 && Buffer.compare(key, range.lt) < 0;
  const ids = ["s", "s-", "s0", "sA", "s_", "sz", "S", "s".repeat(64)];
  for (const one of ids) {
    for (const other of ids) {
      for (const seq of [1, 2 ** 48 - 1]) {
        assert.is(within(rangeOf(Kind.entry, one), entryKey(other, seq)), one === other);
      }
      assert.is(within(rangeOf(Kind.key, one), keyRowKey(other, "ada", "k")), one === other);
    }
  }
  assert.ok(within(rangeOf(Kind.open), sessionKey(Kind.open, ID)));
  assert.not(within(rangeOf(Kind.open), keyRowKey(ID, "ada", "k")));
  const lists = [listPrefix(undefined), listPrefix("ada"), listPrefix("bob")];
  for (const prefix of lists) {
    for (const other of lists) {
      for (const updatedAt of [0, 1, 2 ** 48 - 1]) {
        const key = listKey(other, updatedAt, "z".repeat(64));
        assert.is(within({ gte: prefix, lt: listEnd(prefix) }, key), prefix === other);
      }
    }
  }
});

test.run();
