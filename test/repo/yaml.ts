/**
 * Reads the small part of YAML that this repository's own files use: block mappings and sequences of scalars, flow lists
 * of scalars on one line, comments. Owns that subset; throws at everything else, so that it never guesses. No general
 * parser, and nothing outside the tests may use it.
 */

type Value = string | number | boolean | null | Value[] | { [key: string]: Value };

interface Line {
  readonly indent: number;
  readonly text: string;
  readonly number: number;
}

/** Throws Error with the line's number for what is no YAML of this subset. */
export function readYaml(text: string): Value {
  const lines = text.split("\n").flatMap((raw, at) => {
    const content = withoutComment(raw).trimEnd();
    if (content.trim() === "") return [];
    const indent = content.length - content.trimStart().length;
    const line: Line = { indent, text: content.trimStart(), number: at + 1 };
    if (line.text.startsWith("\t") || indent % 2 !== 0) refuse(line, "indentation is by two spaces");
    return [line];
  });
  const [value, rest] = block(lines, 0);
  if (rest[0] !== undefined) refuse(rest[0], "indentation");
  return value;
}

function block(lines: readonly Line[], indent: number): [Value, readonly Line[]] {
  return lines[0]?.text.startsWith("- ") ? sequence(lines, indent) : mapping(lines, indent);
}

function sequence(lines: readonly Line[], indent: number): [Value[], readonly Line[]] {
  const items: Value[] = [];
  let rest = lines;
  while (rest[0]?.indent === indent) {
    const line = rest[0];
    if (!line.text.startsWith("- ")) refuse(line, "a list item");
    if (/^[^"']*:(?: |$)/.test(line.text)) refuse(line, "a list of scalars");
    items.push(scalar(line.text.slice(2).trim(), line));
    rest = rest.slice(1);
  }
  return [items, rest];
}

function mapping(lines: readonly Line[], indent: number): [Value, readonly Line[]] {
  const result: { [key: string]: Value } = {};
  let rest = lines;
  while (rest[0]?.indent === indent) {
    const line = rest[0];
    const [, key, given = ""] = /^([A-Za-z_][\w.-]*):(?: +(.*))?$/.exec(line.text) ?? refuse(line, "a key");
    if (key === undefined || key in result) refuse(line, "a key that is not there yet");
    rest = rest.slice(1);
    const next = rest[0];
    if (given !== "") result[key] = scalar(given, line);
    else if (next !== undefined && next.indent > indent) [result[key], rest] = block(rest, next.indent);
    else result[key] = null;
  }
  return [result, rest];
}

function scalar(text: string, line: Line): Value {
  if (text === "{}") return {};
  if (text.startsWith("[")) {
    const [, inner] = /^\[(.*)\]$/.exec(text) ?? refuse(line, "a flow list on one line");
    return split(inner ?? "", line).map((item) => scalar(item, line));
  }
  if (text.startsWith('"'))
    return quoted(/^"(?:[^"\\]|\\["\\nt])*"$/, text, line, (whole) => JSON.parse(whole) as string);
  if (text.startsWith("'")) {
    return quoted(/^'(?:[^']|'')*'$/, text, line, (whole) => whole.slice(1, -1).replaceAll("''", "'"));
  }
  if (/^[{}&*!|>%@`,\]]/.test(text) || /: |:$/.test(text)) refuse(line, "a plain scalar");
  if (/^(?:true|false)$/.test(text)) return text === "true";
  if (/^(?:null|~)$/.test(text)) return null;
  if (/^(?:yes|no|on|off|0[0-9]+|[+-]?\.?\d[\d_]*:.*)$/i.test(text)) refuse(line, "an unambiguous scalar");
  return /^-?(?:0|[1-9]\d*)(?:\.\d+)?$/.test(text) ? Number(text) : text;
}

function quoted(pattern: RegExp, text: string, line: Line, read: (text: string) => string): string {
  return pattern.test(text) ? read(text) : refuse(line, "a quoted scalar on one line");
}

/** Items between the commas that stand outside quotes. */
function split(inner: string, line: Line): string[] {
  const items = inner.match(/\s*(?:"(?:[^"\\]|\\.)*"|'(?:[^']|'')*'|[^,"'[\]{}]+)\s*(?:,|$)/g) ?? [];
  if (items.join("").length !== inner.length) refuse(line, "a flow list of scalars");
  return items.map((item) => item.replace(/,$/, "").trim());
}

/** A `#` begins a comment at the start of a line or after a space, outside quotes. */
function withoutComment(raw: string): string {
  const [kept = ""] = /^(?:"(?:[^"\\]|\\.)*"|'(?:[^']|'')*'|(?<!\s|^)#|[^#"']|["'])*/.exec(raw) ?? [];
  return kept;
}

function refuse(line: Line, wanted: string): never {
  throw new Error(`line ${line.number}: ${wanted} is needed: ${line.text}`);
}
