/**
 * The architecture, held by a test: no import cycles, no import that goes up the layers, a client that knows only the
 * protocol and loads no zod, a page that knows only the client's public list, small files, and a header in each. The rules are in support/architecture.ts; here they are
 * applied to the tree, and each is shown to catch a planted fault.
 */
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import * as rules from "./support/architecture.ts";
import { repositoryRoot } from "./support/root.ts";
import { assert, suite } from "./support/suite.ts";

const LONGEST = 400;
const LARGEST_MEDIAN = 180;

const test = suite("architecture");
const sources = read("protocol", "server", "client");
const everything = new Map([...sources, ...read("test")]);

/** The code files in these folders; a folder that is not there has none. */
function read(...folders: string[]): Map<string, string> {
  const files = new Map<string, string>();
  for (const folder of folders) {
    if (!existsSync(join(repositoryRoot, folder))) continue;
    const names = readdirSync(join(repositoryRoot, folder), { recursive: true, encoding: "utf8" });
    for (const name of names.toSorted()) {
      const path = `${folder}/${name}`;
      if (!/\.(?:ts|tsx|mjs)$/.test(path) || path.startsWith("test/fixtures/")) continue;
      files.set(path, readFileSync(join(repositoryRoot, path), "utf8"));
    }
  }
  return files;
}

function none(violations: readonly string[]): void {
  assert.is(violations.length, 0, `\n  ${violations.join("\n  ")}`);
}

test("there are sources to judge", () => {
  assert.ok(sources.size > 0);
});

/** What a checkout of the tree would put in the place of something installed or built. */
const git = spawnSync("git", ["ls-files", "node_modules", "dist", ".build"], {
  cwd: repositoryRoot,
  encoding: "utf8",
});
if (git.status !== 0) test.skip("nothing that is installed or built is in the tree", "needs a clone of git");
else {
  test("nothing that is installed or built is in the tree", () => {
    none(git.stdout.split("\n").filter((path) => path !== ""));
  });
}

test("imports form no cycle", () => {
  none(rules.findCycles(sources));
});

test("imports go down the layers only", () => {
  none(rules.findUpwardImports(sources));
});

test("what a browser loads has no zod", () => {
  for (const entry of ["client/index.ts", "client/ui/main.tsx"]) none(rules.findLoads(sources, entry, "zod"));
});

test(`no file is longer than ${LONGEST} lines`, () => {
  const long = [...everything].filter(([, text]) => rules.lineCount(text) > LONGEST);
  none(long.map(([path, text]) => `${path}: ${rules.lineCount(text)} lines`));
});

test(`half of the source files have at most ${LARGEST_MEDIAN} lines`, () => {
  const middle = rules.median([...sources.values()].map(rules.lineCount));
  assert.ok(middle <= LARGEST_MEDIAN, `the median is ${middle}`);
});

test("each file opens with a header of three to eight lines", () => {
  const problems = [...everything].map(([path, text]) => [path, rules.headerProblem(text)] as const);
  none(problems.filter(([, problem]) => problem !== undefined).map((each) => each.join(" ")));
});

test("only support/ knows uvu", () => {
  const users = [...everything].filter(([path, text]) => rules.importsOf(path, text).some(isUvu));
  assert.equal(
    users.map(([path]) => path),
    ["test/support/assert.ts", "test/support/suite.ts"],
  );
});

function isUvu(each: rules.Import): boolean {
  return each.specifier.split("/")[0] === "uvu";
}

const planted = (files: Record<string, string>): rules.Sources => new Map(Object.entries(files));

test("a planted cycle is found, through types too", () => {
  const cycle = planted({
    "server/store/a.ts": `import type {\n  B,\n} from "./b.ts";`,
    "server/store/b.ts": `export { A } from "./a.ts";`,
  });
  assert.equal(rules.findCycles(cycle), ["server/store/a.ts → server/store/b.ts → server/store/a.ts"]);
});

test("planted upward and sideways imports are found", () => {
  const wrong: [string, string][] = [
    ["server/store/a.ts", "../session/session.ts"],
    ["server/socket/a.ts", "../edge/http.ts"],
    ["server/model/a.ts", "../tool/tool.ts"],
    ["server/session/a.ts", "../config.ts"],
    ["server/config.ts", "./session/session.ts"],
    ["server/socket/a.ts", "../server.ts"],
    ["server/edge/a.ts", "../../client/index.ts"],
    ["server/server.ts", "../client/cli/main.ts"],
    ["client/a.ts", "../server/store/store.ts"],
    ["client/a.ts", "./cli/main.ts"],
    ["client/a.ts", "./ui/main.tsx"],
    ["client/ui/main.tsx", "../session.ts"],
    ["client/ui/view/a.tsx", "../../../protocol/state.ts"],
    ["protocol/a.ts", "../server/observe/log.ts"],
    ["protocol/a.ts", "../test/support/wait.ts"],
    ["server/elsewhere/a.ts", "./b.ts"],
  ];
  for (const [path, specifier] of wrong) {
    const found = rules.findUpwardImports(planted({ [path]: `const x = await import("${specifier}");` }));
    assert.ok(found.length > 0, `${path} may import ${specifier}`);
  }
});

test("what the layers allow is allowed", () => {
  const right: [string, string][] = [
    ["server/main.ts", "../client/cli/main.ts"],
    ["server/main.ts", "./config.ts"],
    ["server/server.ts", "./config.ts"],
    ["server/config.ts", "./agent/agent.ts"],
    ["server/runtime.ts", "./hook.ts"],
    ["server/socket/a.ts", "../runtime.ts"],
    ["server/socket/a.ts", "./b.ts"],
    ["client/cli/a.ts", "../index.ts"],
    ["client/ui/main.tsx", "../index.ts"],
    ["client/ui/view/a.tsx", "../model/b.ts"],
    ["client/a.ts", "../protocol/codec.ts"],
  ];
  for (const [path, specifier] of right) {
    none(rules.findUpwardImports(planted({ [path]: `import { x } from "${specifier}";` })));
  }
});

test("a value import of zod is found behind other files, a type import is not", () => {
  const files = { "client/index.ts": `import { x } from "../protocol/x.ts";` };
  const value = planted({ ...files, "protocol/x.ts": `import * as z from "zod/mini";` });
  assert.equal(rules.findLoads(value, "client/index.ts", "zod"), [
    "client/index.ts → protocol/x.ts → zod/mini",
  ]);
  none(
    rules.findLoads(
      planted({ ...files, "protocol/x.ts": `import type { z } from "zod";` }),
      "client/index.ts",
      "zod",
    ),
  );
});

test("headers that are missing, short or long are found", () => {
  assert.is(rules.headerProblem("#!/usr/bin/env node\n/**\n * Starts.\n */\nimport x;"), undefined);
  assert.is(rules.headerProblem("// one\n// two\n// three\nimport x;"), undefined);
  assert.match(rules.headerProblem("import x;\n// a\n// b\n// c") ?? "", /no header/);
  assert.match(rules.headerProblem("/** Starts. */\nimport x;") ?? "", /needs three/);
  assert.match(rules.headerProblem(`/**\n${" * more\n".repeat(9)} */\n`) ?? "", /eight/);
});

test.run();
