/**
 * docker-compose.yml, without Docker: it passes the schema of the Compose specification, and says what the README says of
 * it: a volume at /data, a health check on /readyz, a token that must be given, nothing that listens to strangers.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Ajv2019, type ErrorObject } from "ajv/dist/2019.js";
import { fixture, repositoryRoot } from "../support/root.ts";
import { assert, suite } from "../support/suite.ts";
import { readDockerfile } from "./dockerfile.ts";
import { readYaml } from "./yaml.ts";

const test = suite("docker-compose.yml");

const text = readFileSync(join(repositoryRoot, "docker-compose.yml"), "utf8");
const compose = readYaml(text) as any;
const service = compose.services.haulout;

/** What the schema says against a document. Its keywords are of draft 7; `id` was its name for `$id` before that. */
function violations(document: unknown): readonly ErrorObject[] {
  const {
    $schema: _,
    id: __,
    ...schema
  } = JSON.parse(
    readFileSync(fixture("compose", "compose-spec.json"), "utf8").replaceAll(/"id": "[^"]*",?/g, ""),
  );
  const ajv = new Ajv2019({
    strict: false,
    allErrors: true,
    formats: {
      duration: /^(?:\d+(?:\.\d+)?(?:us|ms|s|m|h))+$/,
      ports:
        /^(?:\[?[\da-fA-F.:]+\]?:)?(?:\$\{\w+(?::-\d+)?\}|\d+(?:-\d+)?)(?::\d+(?:-\d+)?)?(?:\/(?:tcp|udp))?$/,
      expose: /^\d+(?:-\d+)?(?:\/(?:tcp|udp))?$/,
      subnet_ip_address: true,
    },
  });
  const validate = ajv.compile(schema);
  return validate(document) ? [] : (validate.errors ?? []);
}

test("passes the Compose specification's schema", () => {
  assert.equal(violations(compose), []);
});

test("the schema refuses planted faults", () => {
  for (const fault of [
    { healthcheck: { test: 5 } },
    { healthcheck: { intervall: "10s" } },
    { healthcheck: { interval: "ten" } },
    { port: ["4787:4787"] },
    { ports: ["here:4787"] },
    { volumes: "data:/data" },
    { read_only: "yes" },
  ]) {
    const wrong = structuredClone(compose);
    Object.assign(wrong.services.haulout, fault);
    assert.ok(violations(wrong).length > 0, `${JSON.stringify(fault)} passes`);
  }
});

test("keeps the data in a named volume and asks /readyz", () => {
  assert.ok(service.volumes.includes("data:/data"));
  assert.ok("data" in compose.volumes);
  const [kind, ...command] = service.healthcheck.test as string[];
  assert.is(kind, "CMD");
  assert.match(command.join(" "), /127\.0\.0\.1:4787\/readyz/);
});

test("needs a token, publishes on loopback alone, runs without rights", () => {
  assert.match(service.environment.HAULOUT_TOKEN, /^\$\{HAULOUT_TOKEN:\?.+\}$/);
  for (const port of service.ports) assert.match(port, /^127\.0\.0\.1:/);
  assert.is(service.read_only, true);
  assert.equal(service.cap_drop, ["ALL"]);
});

test("agrees with the Dockerfile on port, folder and health check", () => {
  const image = readDockerfile(readFileSync(join(repositoryRoot, "Dockerfile"), "utf8")).at(-1)!;
  const environment = Object.fromEntries(
    image.steps.flatMap((step) => (step.name === "ENV" ? step.pairs : [])),
  );
  assert.is(environment["HAULOUT_DATA"], "/data");
  assert.is(environment["HAULOUT_PORT"], "4787");
  assert.is(environment["HAULOUT_HOST"], "0.0.0.0");
  const check = image.steps.find((step) => step.name === "HEALTHCHECK");
  const inImage = check?.name === "HEALTHCHECK" ? check.command.at(-1)! : "";
  const same = inImage.replace(
    "`http://127.0.0.1:${process.env.HAULOUT_PORT}/readyz`",
    "'http://127.0.0.1:4787/readyz'",
  );
  assert.is(service.healthcheck.test.at(-1), same);
});

test("the YAML reader refuses what it does not know", () => {
  for (const strange of [
    "a: &x 1",
    "a: [b",
    "a: {b: 1}",
    "a: yes",
    "a:\n   b: 1",
    "a: 1\na: 2",
    "a: 'b",
    "- a: 1",
  ]) {
    assert.throws(() => readYaml(strange), /is needed/, strange);
  }
  assert.equal(readYaml(`a: "#1" # one\nb:\n  - x#y\n  - 'it''s'\nc: [1, "a, b"]\nd:\n`), {
    a: "#1",
    b: ["x#y", "it's"],
    c: [1, "a, b"],
    d: null,
  });
});

test.run();
