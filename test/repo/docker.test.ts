/**
 * The Dockerfile, without Docker: its steps are played in an empty folder, one folder a stage, with what .dockerignore
 * lets into the context; then CMD is started as the image would, and HEALTHCHECK asked. Shows that the image has what the
 * server needs and nothing else, and that it does not bind outward without a token. Cannot show: users and base image.
 * limit: 600 s
 */
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { repositoryRoot } from "../support/root.ts";
import { spawnProcess, temporaryDirectory } from "../support/process.ts";
import type { Exit, TestProcess } from "../support/process.ts";
import { assert, suite } from "../support/suite.ts";
import { until } from "../support/wait.ts";
import { dockerIgnores, readDockerfile } from "./dockerfile.ts";
import type { Stage, Step } from "./dockerfile.ts";

const test = suite("Dockerfile");

const read = (name: string): string => readFileSync(join(repositoryRoot, name), "utf8");
const stages = readDockerfile(read("Dockerfile"));
const ignoreFile = read(".dockerignore");

/** What `docker build --build-arg` would give. */
const BUILD_ARGUMENTS: Readonly<Record<string, string>> = { PROVIDERS: "@ai-sdk/openai" };

/** A stage as it is being built: a folder that stands for its `/`. */
class Image {
  readonly root = temporaryDirectory();
  readonly environment: Record<string, string> = {};
  readonly #atBuild: Record<string, string> = {};
  workdir = "/";
  user = "root";
  command: readonly string[] = [];
  check: readonly string[] = [];

  /** Where a path of the image is on this machine. */
  at(path: string): string {
    return join(this.root, path.startsWith("/") ? path : join(this.workdir, path));
  }

  async play(step: Step, built: ReadonlyMap<string, Image>): Promise<void> {
    switch (step.name) {
      case "ENV":
        for (const [name, value] of step.pairs) this.environment[name] = value;
        return;
      case "ARG":
        for (const [name, value] of step.pairs) this.#atBuild[name] = BUILD_ARGUMENTS[name] ?? value;
        return;
      case "WORKDIR":
        this.workdir = step.value;
        mkdirSync(this.at("."), { recursive: true });
        return;
      case "COPY":
        for (const source of step.sources) this.#copy(source, step, built);
        return;
      case "RUN":
        return this.#run(step.script);
      case "USER":
        this.user = step.value;
        return;
      case "CMD":
        this.command = step.command;
        return;
      case "HEALTHCHECK":
        this.check = step.command;
        return;
      default:
    }
  }

  #copy(source: string, step: Extract<Step, { name: "COPY" }>, built: ReadonlyMap<string, Image>): void {
    const from = step.from === undefined ? join(repositoryRoot, source) : built.get(step.from)!.at(source);
    if (!existsSync(from)) throw new Error(`COPY ${source}: there is none`);
    if (step.sources.length > 1 && !step.target.endsWith("/")) throw new Error("a target folder ends with /");
    const intoFolder = step.target.endsWith("/") && statSync(from).isFile();
    const to = join(this.at(step.target), intoFolder ? basename(source) : "");
    const wanted = (path: string): boolean => {
      if (step.from !== undefined) return true;
      const relative = path.slice(repositoryRoot.length + 1);
      // A folder may be ignored while something in it is not.
      return statSync(path).isDirectory() || !dockerIgnores(ignoreFile, relative);
    };
    cpSync(from, to, { recursive: true, filter: wanted, verbatimSymlinks: true });
    if (!existsSync(to)) throw new Error(`COPY ${source}: .dockerignore keeps it out`);
  }

  async #run(script: string): Promise<void> {
    const child = spawnProcess("bash", ["-euo", "pipefail", "-c", this.#placed(script)], {
      cwd: this.at("."),
      env: { ...bare(), ...this.#atBuild, ...this.environment, PATH: `${stubs}:${process.env["PATH"]}` },
    });
    const exit = await child.exited;
    if (exit.code !== 0)
      throw new Error(
        `RUN ${script}: ${JSON.stringify(exit)}\n${[...child.stdout, ...child.stderr].join("\n")}`,
      );
  }

  /** Starts a command of the image. The data folder, the one absolute path in the settings, is put below our root. */
  start(command: readonly string[], environment: Record<string, string> = {}): TestProcess {
    const [program = "", ...rest] = command;
    const env: Record<string, string | undefined> = { ...bare(), ...this.environment, ...environment };
    env["HAULOUT_DATA"] = this.at(env["HAULOUT_DATA"] ?? "");
    return spawnProcess(program === "node" ? process.execPath : program, rest, { cwd: this.at("."), env });
  }

  #placed(script: string): string {
    return script.replaceAll(
      /(^| )(\/(?:app|data)\b)/g,
      (_, space: string, path: string) => space + this.at(path),
    );
  }
}

/** Nothing of what `npm test` set around us, but npm's cache: it has what `npm ci` needs. */
function bare(): Record<string, string | undefined> {
  const names = Object.keys(process.env).filter(
    (name) => /^(?:npm_|NODE_|UVU)/.test(name) && !/cache|registry/.test(name),
  );
  const quiet = { npm_config_prefer_offline: "true", npm_config_audit: "false", npm_config_fund: "false" };
  return { ...Object.fromEntries(names.map((name) => [name, undefined])), ...quiet };
}

/** `chown` needs root and a user of the base image; here it succeeds. */
const stubs = temporaryDirectory();
writeFileSync(join(stubs, "chown"), "#!/bin/sh\nexit 0\n", { mode: 0o755 });

const built = new Map<string, Image>();
let image: Image;

async function build(stage: Stage): Promise<Image> {
  const result = new Image();
  for (const step of stage.steps) await result.play(step, built);
  if (stage.as !== undefined) built.set(stage.as, result);
  return result;
}

test("all steps succeed in an empty folder", { limitMs: 500_000 }, async () => {
  for (const stage of stages) image = await build(stage);
  assert.is(stages.length, 2);
});

test("the base is Node 20, the user is not root, the data folder is closed to others", () => {
  for (const { base } of stages) assert.match(base, /^node:20/);
  assert.is(image.user, "node");
  assert.is(statSync(image.at("/data")).mode & 0o777, 0o700);
});

test("the image holds the build and runtime packages, no sources, tests or tools", () => {
  assert.equal(readdirSync(image.at("/app")).toSorted(), ["LICENSE", "dist", "node_modules", "package.json"]);
  const packages = readdirSync(image.at("/app/node_modules"));
  const { dependencies, devDependencies } = JSON.parse(read("package.json"));
  for (const name of Object.keys(dependencies)) assert.ok(packages.includes(name), name);
  for (const name of ["typescript", "oxlint", "uvu", "fast-check", "tsx"]) {
    assert.ok(name in devDependencies && !packages.includes(name), name);
  }
});

test("a provider's package that was asked for is there, no other", async () => {
  const models = image.start([...image.command.slice(0, -1), "models"], {
    OPENAI_API_KEY: "any",
    ANTHROPIC_API_KEY: "any",
  });
  assert.is((await models.exited).code, 0);
  const says = (name: string): string => models.stdout.find((line) => line.includes(` ${name} `)) ?? "";
  assert.match(says("openai"), /^ready/);
  assert.match(says("anthropic"), /npm install @ai-sdk\/anthropic/);
});

test("it does not bind outward without a token, and says why", async () => {
  const server = image.start(image.command, { HAULOUT_PORT: "0" });
  const exit: Exit = await server.exited;
  assert.is.not(exit.code, 0);
  const said = [...server.stdout, ...server.stderr].join("\n");
  assert.match(said, /HAULOUT_TOKEN|token/);
});

test("with a token it serves, its health check passes, and SIGTERM ends it", async () => {
  const environment = { HAULOUT_PORT: "0", HAULOUT_TOKEN: "a token for the test" };
  const server = image.start(image.command, environment);
  const [, port = ""] = await server.waitForLine(/listening on http:\/\/\S+:(\d+)/);
  const healthy = async (): Promise<boolean> =>
    (await image.start(image.check, { HAULOUT_PORT: port }).exited).code === 0;
  await until(healthy, 20_000, "the health check");
  assert.ok(readdirSync(image.at("/data")).length > 0, "the data is in /data");
  server.kill("SIGTERM");
  assert.equal(await server.exited, { code: 0, signal: null });
  assert.is(await healthy(), false);
});

test(".dockerignore keeps everything out that is not named", () => {
  for (const path of [
    ".git/config",
    ".env",
    "haulout-data/CURRENT",
    "node_modules/ws/index.js",
    "haulout.json",
    "test/server/a.ts",
    "test/support/run.ts",
  ]) {
    assert.is(dockerIgnores(ignoreFile, path), true, path);
  }
  for (const path of ["package.json", "server/store/store.ts", "test/support/build.mjs"]) {
    assert.is(dockerIgnores(ignoreFile, path), false, path);
  }
});

test.run();
