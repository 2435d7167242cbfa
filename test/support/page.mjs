/**
 * Bundles the page: `page.mjs FOLDER` puts it into FOLDER/client/page, where the server finds it beside the compiled
 * client. Scripts and styles get names with hashes; what is loaded later is a file of its own. Plain JavaScript, as build.mjs.
 */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { build } from "esbuild";

const root = join(dirname(fileURLToPath(import.meta.url)), "..", "..");

export async function bundlePage(output) {
  const sources = join(root, "client", "ui");
  const folder = join(output, "client", "page");
  const { outputFiles, metafile } = await build({
    entryPoints: { page: join(sources, "main.tsx"), style: join(sources, "style", "index.css") },
    entryNames: "[name]-[hash]",
    chunkNames: "[name]-[hash]",
    outdir: folder,
    absWorkingDir: root,
    bundle: true,
    splitting: true,
    format: "esm",
    minify: true,
    target: "es2022",
    jsx: "automatic",
    jsxImportSource: "preact",
    legalComments: "none",
    metafile: true,
    write: false,
  });
  const nameOf = (entry) => {
    const found = Object.entries(metafile.outputs).find(([, { entryPoint }]) => entryPoint?.endsWith(entry));
    return basename(found[0]);
  };
  const index = readFileSync(join(sources, "index.html"), "utf8")
    .replace("page.js", nameOf("/main.tsx"))
    .replace("style.css", nameOf("/index.css"));
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  for (const { path, contents } of outputFiles) writeFileSync(join(folder, basename(path)), contents);
  writeFileSync(join(folder, "index.html"), index);
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) await bundlePage(process.argv[2]);
