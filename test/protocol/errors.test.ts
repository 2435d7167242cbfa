/**
 * The tables of errors and close codes: what each code tells a client to do, and the class that carries them. That they
 * are the tables of SPEC.md is in spec.test.ts.
 */
import { afterClose, CLOSE_CODES, ERROR_CODES, ERRORS, ProtocolError } from "../../protocol/errors.ts";
import { serverFrames } from "../../protocol/frames.ts";
import { assert, suite } from "../support/suite.ts";

const test = suite("errors");

test("every error code is one that an error frame may carry", () => {
  for (const code of ERROR_CODES) {
    serverFrames.error.parse({ type: "error", code, message: "", retryable: ERRORS[code].retryable });
  }
  assert.is(ERROR_CODES.length, 18);
  assert.not(
    serverFrames.error.safeParse({ type: "error", code: "other", message: "", retryable: true }).success,
  );
});

test("an error takes its flag from the table unless told otherwise", () => {
  for (const code of ERROR_CODES) {
    assert.is(new ProtocolError(code, "x").retryable, ERRORS[code].retryable);
    assert.is(
      new ProtocolError(code, "x", { retryable: !ERRORS[code].retryable }).retryable,
      !ERRORS[code].retryable,
    );
  }
});

test("an error keeps its cause, details and pause", () => {
  const cause = new Error("inner");
  const error = new ProtocolError("busy", "later", { cause, details: { run: "r" }, retryAfterMs: 5 });
  assert.instance(error, Error);
  assert.is(error.name, "ProtocolError");
  assert.equal([error.cause, error.details, error.retryAfterMs], [cause, { run: "r" }, 5]);
  assert.not("cause" in new ProtocolError("busy", "later"));
});

test("what a client does after a close goes by range", () => {
  const cases: [number, number, string][] = [
    [4000, 4099, "reconnect"],
    [4100, 4299, "back-off"],
    [4300, 4399, "back-off"],
    [4400, 4499, "new-token"],
    [4500, 4999, "stop"],
    [1000, 1000, "stop"],
    [1001, 1001, "back-off"],
    [1002, 1003, "stop"],
    [1005, 1006, "back-off"],
    [1007, 1007, "stop"],
    [1008, 1008, "back-off"],
    [1009, 1009, "stop"],
    [1010, 3999, "back-off"],
    [5000, 5000, "back-off"],
  ];
  for (const [from, to, action] of cases) {
    for (let code = from; code <= to; code++) assert.is(afterClose(code), action, String(code));
  }
});

test("close codes are distinct and in a range that a client understands", () => {
  const codes = Object.values(CLOSE_CODES);
  assert.is(new Set(codes).size, codes.length);
  for (const code of codes) assert.ok(code >= 4000 && code <= 4999);
});

test.run();
