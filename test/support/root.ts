/**
 * Where things are: the root of the repository, fixtures (read from the sources, never copied) and compiled files.
 * Tests run from .build, so a path relative to a source file would be wrong.
 */
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

function findRoot(): string {
  let folder = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(folder, "package.json"))) {
    const parent = dirname(folder);
    if (parent === folder) throw new Error("no package.json above this file");
    folder = parent;
  }
  return folder;
}

export const repositoryRoot: string = findRoot();

/** Absolute path of a file in test/fixtures. */
export function fixture(...parts: string[]): string {
  return join(repositoryRoot, "test", "fixtures", ...parts);
}

/** Absolute path of what a source file was compiled to: `compiled("server/main.ts")`. */
export function compiled(source: string): string {
  return join(repositoryRoot, ".build", source.replace(/\.tsx?$/, ".js"));
}
