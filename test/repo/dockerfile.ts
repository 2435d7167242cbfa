/**
 * Reads a Dockerfile and a .dockerignore as far as this repository uses them. Owns the instructions it knows and throws
 * at others, so that a new one cannot pass unnoticed. Runs nothing: that is docker.test.ts.
 */

export type Step =
  | { readonly name: "ENV" | "ARG"; readonly pairs: readonly (readonly [string, string])[] }
  | { readonly name: "WORKDIR" | "USER" | "VOLUME" | "EXPOSE"; readonly value: string }
  | {
      readonly name: "COPY";
      /** A stage's name; the build context when absent. */
      readonly from: string | undefined;
      readonly sources: readonly string[];
      readonly target: string;
    }
  | { readonly name: "RUN"; readonly script: string }
  | { readonly name: "CMD"; readonly command: readonly string[] }
  | {
      readonly name: "HEALTHCHECK";
      readonly options: readonly string[];
      readonly command: readonly string[];
    };

export interface Stage {
  readonly base: string;
  readonly as: string | undefined;
  readonly steps: readonly Step[];
}

export function readDockerfile(text: string): Stage[] {
  const stages: { base: string; as: string | undefined; steps: Step[] }[] = [];
  for (const line of logicalLines(text)) {
    const [, name = "", rest = ""] = /^([A-Z]+) +(.*)$/.exec(line) ?? [];
    if (name === "FROM") {
      const [, base, as] = /^(\S+)(?: AS (\S+))?$/.exec(rest) ?? refuse(line);
      stages.push({ base: base ?? refuse(line), as, steps: [] });
    } else (stages.at(-1) ?? refuse(line)).steps.push(readStep(name, rest, line));
  }
  return stages;
}

function logicalLines(text: string): string[] {
  return text
    .split("\n")
    .filter((line) => !/^\s*#/.test(line))
    .join("\n")
    .replaceAll(/\\\n\s*/g, "")
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line !== "");
}

function readStep(name: string, rest: string, line: string): Step {
  switch (name) {
    case "ENV":
    case "ARG": {
      if (/["'\\]/.test(rest)) refuse(line);
      const pairs = rest.split(" ").map((pair) => {
        const [, key, value] = /^(\w+)=(.*)$/.exec(pair) ?? refuse(line);
        return [key ?? refuse(line), value ?? ""] as const;
      });
      return { name, pairs };
    }
    case "WORKDIR":
    case "USER":
    case "VOLUME":
    case "EXPOSE":
      return { name, value: rest };
    case "COPY": {
      const words = rest.split(" ");
      const from = words[0]?.startsWith("--from=") ? words.shift()!.slice("--from=".length) : undefined;
      if (words.length < 2 || words.some((word) => word.startsWith("--"))) refuse(line);
      return { name, from, sources: words.slice(0, -1), target: words.at(-1)! };
    }
    case "RUN":
      return rest.startsWith("[") || rest.startsWith("--") ? refuse(line) : { name, script: rest };
    case "CMD":
      return { name, command: JSON.parse(rest) as string[] };
    case "HEALTHCHECK": {
      const [, options, command] = /^((?:--\S+ +)*)CMD +(\[.*\])$/.exec(rest) ?? refuse(line);
      return {
        name,
        options: (options ?? "").trim().split(/ +/),
        command: JSON.parse(command ?? "") as string[],
      };
    }
    default:
      return refuse(line);
  }
}

/** Whether a path of the context stays out of the image. The last pattern that matches it or a folder above decides. */
export function dockerIgnores(ignoreFile: string, path: string): boolean {
  const folders = path.split("/").map((_, at, parts) => parts.slice(0, at + 1).join("/"));
  let ignored = false;
  for (const raw of ignoreFile.split("\n")) {
    const line = raw.trim();
    if (line === "" || line.startsWith("#")) continue;
    const exception = line.startsWith("!");
    const pattern = exception ? line.slice(1) : line;
    if (/[?[\]]|\*\*/.test(pattern)) refuse(line);
    const expression = new RegExp(
      `^${pattern.replaceAll(/[.+^${}()|\\]/g, "\\$&").replaceAll("*", "[^/]*")}$`,
    );
    if (folders.some((folder) => expression.test(folder))) ignored = !exception;
  }
  return ignored;
}

function refuse(line: string): never {
  throw new Error(`this line is not understood: ${line}`);
}
