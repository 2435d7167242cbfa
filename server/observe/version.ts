/**
 * The version of this package, read from its package.json once. Owns that one string.
 * Never the version of the protocol, which is protocol/version.ts.
 */
import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

export const VERSION: string = read(dirname(fileURLToPath(import.meta.url)));

function read(folder: string): string {
  const path = join(folder, "package.json");
  if (existsSync(path)) {
    const content = JSON.parse(readFileSync(path, "utf8")) as { name?: string; version?: string };
    if (content.name === "haulout") return content.version ?? "0.0.0";
  }
  const parent = dirname(folder);
  return parent === folder ? "0.0.0" : read(parent);
}
