/**
 * The audit of dependencies in `npm run check`: high faults fail it, and silence of the registry is never taken for good news.
 */
import { judge } from "../support/audit.ts";
import { assert, suite } from "../support/suite.ts";

const test = suite("audit of dependencies");

test("high and critical faults are bad, lesser ones are told", () => {
  const report = (severity: string) =>
    judge(JSON.stringify({ vulnerabilities: { ws: { severity, range: "<8.21" } }, metadata: {} }));
  assert.equal(report("critical"), { asked: true, bad: true, lines: ["critical: ws <8.21"] });
  assert.is(report("high").bad, true);
  assert.equal(report("moderate"), { asked: true, bad: false, lines: ["moderate: ws <8.21"] });
  assert.equal(judge('{"vulnerabilities":{}}'), { asked: true, bad: false, lines: [] });
});

test("an answer that is none is not one without faults", () => {
  for (const output of ["", "<html>", '{"message":"405 Method Not Allowed"}', "{}"]) {
    assert.is(judge(output).asked, false, output);
  }
});

test.run();
