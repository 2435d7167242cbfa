/**
 * What a browser gets from `haulout/protocol`: everything that its modules import at run time, which must never be zod, a
 * module of Node, or anything beside the codec's library.
 */
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { assert, suite } from "../support/suite.ts";

const test = suite("haulout/protocol");

/** Packages that a compiled module imports, itself or by what it imports. Types are gone by then. */
function packages(file: string, seen = new Set<string>()): Set<string> {
  const found = new Set<string>();
  if (seen.has(file)) return found;
  seen.add(file);
  const imports =
    /^\s*(?:import|export)\b[^;]*?\bfrom\s*"([^"]+)"|^\s*import\s*"([^"]+)"|\bimport\("([^"]+)"\)/gm;
  for (const match of readFileSync(file, "utf8").matchAll(imports)) {
    const target = match[1] ?? match[2] ?? match[3]!;
    if (!target.startsWith(".")) found.add(target);
    else for (const name of packages(join(dirname(file), target), seen)) found.add(name);
  }
  return found;
}

const compiledProtocol = join(dirname(fileURLToPath(import.meta.url)), "..", "..", "protocol");

test("imports nothing but msgpackr", () => {
  assert.equal([...packages(join(compiledProtocol, "index.js"))], ["msgpackr"]);
});

test("leaves zod to haulout/protocol/schemas", () => {
  assert.ok(packages(join(compiledProtocol, "schemas.js")).has("zod"));
});

test("offers codec, fold, errors and versions", async () => {
  const api = await import("../../protocol/index.ts");
  for (const name of [
    "encodeFrame",
    "decodeBinary",
    "decodeText",
    "fold",
    "cut",
    "afterClose",
    "newId",
  ] as const) {
    assert.type(api[name], "function", name);
  }
  assert.is(api.PROTOCOL_VERSION, 1);
});

test.run();
