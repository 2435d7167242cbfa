/**
 * The page that people open: the files that the build bundled, read once and kept in memory. Owns their types, their
 * caching (hashed names for ever, the first file by its ETag), gzip, and the policy under which a browser runs them. Never
 * reads a path that a request names.
 */
import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import type { IncomingMessage } from "node:http";
import { gzipSync } from "node:zlib";
import type { Answer } from "./answer.ts";

interface PageFile {
  readonly type: string;
  readonly plain: Buffer;
  /** Made when it is first asked for. */
  gzip?: Buffer;
  readonly headers: Readonly<Record<string, string>>;
}

/** Beside the compiled client, whether that is in `dist` or in a build for tests. */
const FOLDER = new URL("../../client/page/", import.meta.url);

/** No script, style, picture or connection but from here, no markup made of strings, in nobody's frame. */
const POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "connect-src 'self'",
  "img-src 'self' data:",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
  "require-trusted-types-for 'script'",
  "trusted-types 'none'",
].join("; ");

const TYPES: Readonly<Record<string, string>> = {
  html: "text/html; charset=utf-8",
  js: "text/javascript; charset=utf-8",
  css: "text/css; charset=utf-8",
  svg: "image/svg+xml",
};

export class Page {
  readonly #files: ReadonlyMap<string, PageFile>;

  private constructor(files: ReadonlyMap<string, PageFile>) {
    this.#files = files;
  }

  /** The page that was built; undefined where none was, as when sources run unbuilt. */
  static find(folder: URL = FOLDER): Page | undefined {
    const files = new Map<string, PageFile>();
    try {
      for (const name of readdirSync(folder)) {
        const path = name === "index.html" ? "/" : `/assets/${name}`;
        files.set(path, read(new URL(name, folder), name));
      }
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
    }
    return files.has("/") ? new Page(files) : undefined;
  }

  /** What a GET of this path is answered; undefined for what is none of its files. */
  answer(path: string, { headers }: Pick<IncomingMessage, "headers">): Answer | undefined {
    const file = this.#files.get(path);
    if (file === undefined) return undefined;
    if (headers["if-none-match"] === file.headers["etag"])
      return { status: 304, type: undefined, body: "", headers: file.headers };
    const zipped = /\bgzip\b/.test(String(headers["accept-encoding"]));
    return {
      status: 200,
      type: file.type,
      body: zipped ? (file.gzip ??= gzipSync(file.plain, { level: 9 })) : file.plain,
      headers: { ...file.headers, ...(zipped ? { "content-encoding": "gzip" } : {}) },
    };
  }
}

function read(url: URL, name: string): PageFile {
  const plain = readFileSync(url);
  const isFirst = name === "index.html";
  return {
    type: TYPES[name.split(".").at(-1)!] ?? "application/octet-stream",
    plain,
    headers: {
      etag: `"${createHash("sha256").update(plain).digest("base64url").slice(0, 22)}"`,
      "cache-control": isFirst ? "no-cache" : "public, max-age=31536000, immutable",
      vary: "accept-encoding",
      ...(isFirst ? { "content-security-policy": POLICY } : {}),
    },
  };
}
