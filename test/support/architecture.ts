/**
 * The rules of the house as functions over source texts: each answers a list of violations, empty when all is well.
 * Reads imports by pattern, not with a compiler: imports start their own line, as the formatter writes them.
 * Layers, high to low, are RANKS; a file imports from its own folder and from lower layers, nothing else.
 */
import { posix } from "node:path";

/** Paths from the root of the repository (`server/store/store.ts`) to texts. */
export type Sources = ReadonlyMap<string, string>;

export interface Import {
  readonly specifier: string;
  /** The imported file, for a relative import; undefined for a package. */
  readonly path: string | undefined;
  readonly typeOnly: boolean;
}

const RANKS: Readonly<Record<string, number>> = {
  main: 10,
  index: 10,
  server: 9,
  config: 8,
  demo: 8,
  socket: 7,
  edge: 7,
  cluster: 7,
  runtime: 6,
  session: 5,
  agent: 4,
  model: 3,
  tool: 3,
  auth: 2,
  store: 2,
  observe: 1,
  protocol: 0,
};
/** config reads files and checks values; what it may know of the parts it configures ends here. */
const HIGHEST_FOR_CONFIG = "agent";
/** All that the page may know of the client. */
const PUBLIC_CLIENT = "client/index.ts";
const MAY_IMPORT_CONFIG = new Set(["main", "server", "index"]);

const STATIC = /^(?:import|export)\b(\s+type\b)?[^"';]*?\bfrom\s*["']([^"']+)["']/gm;
const BARE = /^import\s*["']([^"']+)["']/gm;
const DYNAMIC = /\bimport\(\s*["']([^"']+)["']\s*[,)]/g;

export function importsOf(path: string, text: string): Import[] {
  const found: { specifier: string; typeOnly: boolean }[] = [];
  for (const [, type, specifier = ""] of text.matchAll(STATIC))
    found.push({ specifier, typeOnly: Boolean(type) });
  for (const [, specifier = ""] of text.matchAll(BARE)) found.push({ specifier, typeOnly: false });
  const code = text.replace(/^\s*(?:\/\/|\/?\*).*$/gm, "");
  for (const [, specifier = ""] of code.matchAll(DYNAMIC)) found.push({ specifier, typeOnly: false });
  return found.map(({ specifier, typeOnly }) => ({
    specifier,
    typeOnly,
    path: specifier.startsWith(".") ? posix.join(posix.dirname(path), specifier) : undefined,
  }));
}

/** Cycles among the files, type-only imports included: `a.ts → b.ts → a.ts`. */
export function findCycles(sources: Sources): string[] {
  const cycles: string[] = [];
  const done = new Set<string>();
  const trail: string[] = [];
  const visit = (path: string): void => {
    const start = trail.indexOf(path);
    if (start >= 0) cycles.push([...trail.slice(start), path].join(" → "));
    if (start >= 0 || done.has(path)) return;
    trail.push(path);
    for (const next of importsOf(path, sources.get(path) ?? "")) {
      if (next.path !== undefined && sources.has(next.path)) visit(next.path);
    }
    trail.pop();
    done.add(path);
  };
  for (const path of sources.keys()) visit(path);
  return cycles;
}

/** The part a file belongs to: a layer's name, `client`, `cli`, `ui`, or undefined when it has no place in the house. */
export function partOf(path: string): string | undefined {
  const [top, second = "", ...rest] = path.split("/");
  if (top === "protocol") return "protocol";
  if (top === "client") return (second === "cli" || second === "ui") && rest.length > 0 ? second : "client";
  if (top !== "server") return undefined;
  const name = second.replace(/\.ts$/, "");
  const part = name === "hook" || name === "reader" ? "runtime" : name;
  return part in RANKS && part !== "protocol" ? part : undefined;
}

export function findUpwardImports(sources: Sources): string[] {
  const violations: string[] = [];
  for (const [path, text] of sources) {
    const from = partOf(path);
    if (from === undefined) {
      violations.push(`${path} belongs to no layer`);
      continue;
    }
    for (const { path: target } of importsOf(path, text)) {
      if (target === undefined) continue;
      const to = partOf(target);
      if (to === undefined) violations.push(`${path} imports ${target}, which belongs to no layer`);
      else if (from === "ui" && to === "client" && target !== PUBLIC_CLIENT)
        violations.push(`${path} (ui) must not import ${target}, only ${PUBLIC_CLIENT}`);
      else if (!mayImport(from, to)) violations.push(`${path} (${from}) must not import ${target} (${to})`);
    }
  }
  return violations;
}

function mayImport(from: string, to: string): boolean {
  if (from === to) return true;
  if (from === "client") return to === "protocol";
  if (from === "cli") return to === "client" || to === "protocol";
  if (from === "ui") return to === "client";
  if (to === "ui") return false;
  if (to === "cli") return from === "main";
  if (to === "client") return false;
  if (to === "config") return MAY_IMPORT_CONFIG.has(from);
  if (from === "config") return rank(to) <= rank(HIGHEST_FOR_CONFIG);
  return rank(to) < rank(from);
}

function rank(part: string): number {
  return RANKS[part] ?? -1;
}

/** The ways by which running `entry` loads `specifier`; imports of types load nothing. */
export function findLoads(sources: Sources, entry: string, specifier: string): string[] {
  const ways: string[] = [];
  const seen = new Set<string>();
  const visit = (path: string, way: readonly string[]): void => {
    if (seen.has(path)) return;
    seen.add(path);
    for (const each of importsOf(path, sources.get(path) ?? "")) {
      if (each.typeOnly) continue;
      const name = each.specifier;
      if (name === specifier || name.startsWith(`${specifier}/`)) ways.push([...way, path, name].join(" → "));
      else if (each.path !== undefined && sources.has(each.path)) visit(each.path, [...way, path]);
    }
  };
  if (sources.has(entry)) visit(entry, []);
  return ways;
}

export function lineCount(text: string): number {
  return text === "" ? 0 : text.replace(/\n$/, "").split("\n").length;
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.floor((sorted.length - 1) / 2)] ?? 0;
}

/**
 * What is wrong with the comment a file opens with, after a possible `#!` line; undefined when it is fine.
 * At least three lines with its delimiters, at most eight lines of text.
 */
export function headerProblem(text: string): string | undefined {
  const lines = text.split("\n");
  if (lines[0]?.startsWith("#!")) lines.shift();
  let length = 0;
  let inBlock = false;
  let words = 0;
  for (const line of lines) {
    const trimmed = line.trim();
    if (!inBlock && !trimmed.startsWith("//") && !trimmed.startsWith("/*")) break;
    if (!trimmed.startsWith("//")) inBlock = !trimmed.endsWith("*/");
    length++;
    if (/[\p{L}\p{N}]/u.test(trimmed)) words++;
  }
  if (length === 0) return "has no header comment";
  if (length < 3) return `has a header of ${length} lines; it needs three`;
  return words > 8 ? `has a header of ${words} lines; eight are enough` : undefined;
}
