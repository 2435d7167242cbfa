/**
 * Finds and loads what is not part of this package: provider packages and a person's own model modules. Owns where they
 * are looked for (beside this package, then in the folder of the configuration); loads nothing before it is asked to.
 */
import { existsSync, readFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { pathToFileURL } from "node:url";

const MAX_WHY = 200;

export interface FoundPackage {
  readonly version: string;
  /** What import() takes. */
  readonly url: string;
}

/** A package as it stands on disk, or nothing. `cwd`: where its owner may have installed it. */
export function findPackage(name: string, cwd: string): FoundPackage | undefined {
  for (const start of [import.meta.dirname, cwd]) {
    for (let folder = start; ; folder = dirname(folder)) {
      const found = readPackage(join(folder, "node_modules", name));
      if (found !== undefined) return found;
      if (folder === dirname(folder)) break;
    }
  }
  return undefined;
}

function readPackage(folder: string): FoundPackage | undefined {
  const path = join(folder, "package.json");
  if (!existsSync(path)) return undefined;
  try {
    const { version, exports, main } = JSON.parse(readFileSync(path, "utf8")) as Record<string, unknown>;
    const entry = entryOf((exports as Record<string, unknown> | undefined)?.["."]) ?? main;
    if (typeof version !== "string" || typeof entry !== "string") return undefined;
    return { version, url: pathToFileURL(join(folder, entry)).href };
  } catch {
    return undefined;
  }
}

/** The file that an ESM import of the package loads, as far as its conditions go. */
function entryOf(exported: unknown): string | undefined {
  if (typeof exported === "string") return exported;
  if (typeof exported !== "object" || exported === null) return undefined;
  const conditions = exported as Record<string, unknown>;
  return entryOf(conditions["node"]) ?? entryOf(conditions["import"]) ?? entryOf(conditions["default"]);
}

/** The path of a `module:` name, seen from the folder of the configuration. */
export function modulePath(name: string, cwd: string): string {
  return resolve(cwd, name);
}

/** What keeps a model from being loaded, in a sentence for people. */
export class LoadError extends Error {
  override readonly name = "LoadError";
}

/** Throws LoadError. */
export async function loadModule(path: string): Promise<Record<string, unknown>> {
  if (!existsSync(path)) throw new LoadError(`there is no file ${path}`);
  try {
    return (await import(pathToFileURL(path).href)) as Record<string, unknown>;
  } catch (error) {
    const { code, message = "" } = error as { code?: unknown; message?: string };
    const typescript = code === "ERR_UNKNOWN_FILE_EXTENSION" && /\.[cm]?tsx?$/.test(path);
    const why = typescript
      ? `this Node (${process.version}) cannot read TypeScript: write it in JavaScript, or use Node 22.18 or newer`
      : `it cannot be loaded: ${message.split("\n")[0]!.slice(0, MAX_WHY)}`;
    throw new LoadError(`${path}: ${why}`, { cause: error });
  }
}
