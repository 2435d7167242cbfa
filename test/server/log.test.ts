/**
 * The log: one JSON object a line, no secrets, errors without what hangs on them, and a reader that is slow loses lines
 * instead of holding the server up.
 */
import { createLog, flushLog, silentLog, type LogLevel } from "../../server/observe/log.ts";
import { assert, suite } from "../support/suite.ts";

const test = suite("log");

function logged(level: LogLevel, write: (log: ReturnType<typeof createLog>) => void): any[] {
  const lines: string[] = [];
  write(createLog({ level, destination: { write: (line) => void lines.push(line) } }));
  return lines.map((line) => JSON.parse(line));
}

test("writes level, time, ids and message as JSON", () => {
  const [line] = logged("info", (log) => {
    log.child({ session: "ses_1" }).child({ run: "run_1" }).info("began");
    log.debug("not shown");
  });
  const { time, ...rest } = line;
  assert.equal(rest, { level: "info", session: "ses_1", run: "run_1", msg: "began" });
  assert.ok(Math.abs(Date.parse(time) - Date.now()) < 60_000);
});

test("blanks secrets up to two levels down", () => {
  const secrets = {
    token: "hush",
    authorization: "hush",
    apiKey: "hush",
    password: "hush",
    instance: "hush",
  };
  const lines = logged("info", (log) => {
    log.info({ ...secrets, headers: { ...secrets }, models: { openai: { ...secrets } }, user: "ann" }, "x");
    log.child({ hello: secrets }).warn("y");
  });
  assert.not.match(JSON.stringify(lines), /hush/);
  assert.is(lines[0].user, "ann");
  assert.is(lines[0].headers.token, "[redacted]");
});

test("writes of an error its name, message, code, stack and causes, and nothing else", () => {
  const cause = Object.assign(new RangeError("inner"), { code: "E_INNER" });
  const error = Object.assign(new Error("outer", { cause }), { requestBody: "hush", statusCode: 400 });
  for (const key of ["error", "err"]) {
    const [line] = logged("error", (log) => log.error({ [key]: error }, "failed"));
    assert.not.match(JSON.stringify(line), /hush/);
    assert.equal([line[key].type, line[key].message], ["Error", "outer"]);
    assert.match(line[key].stack, /log\.test/);
    assert.equal([line[key].cause.type, line[key].cause.code], ["RangeError", "E_INNER"]);
  }
  const [odd] = logged("error", (log) => log.error({ error: { secret: "hush" } }, "failed"));
  assert.not.match(JSON.stringify(odd), /hush/);
});

test("an error that is its own cause does not hang the log", () => {
  const error = new Error("round");
  error.cause = error;
  const [line] = logged("error", (log) => log.error({ error }, "failed"));
  assert.is(line.error.message, "round");
});

test("flushing resolves, also for a log that writes nothing", async () => {
  await flushLog(silentLog());
  await flushLog(createLog({ destination: { write: () => undefined } }));
});

test.run();
