/**
 * Settings that a running server takes without a restart: read again on SIGHUP, and when the content of their file
 * changes; where there is a terminal, SIGHUP says that it is gone (main.ts). Owns when that is; what they change is the server's. A file that is wrong changes nothing and is logged.
 */
import { existsSync, readFileSync, watchFile } from "node:fs";
import { loadConfig, type Config } from "../config.ts";
import type { HauloutServer } from "../server.ts";

/** How often the file is looked at, ms. */
const LOOK_EVERY_MS = 1000;

export function reloadOnChange(server: HauloutServer, { path }: Config): void {
  let content = read(path);
  const reload = (): void => {
    content = read(path);
    try {
      const config = loadConfig();
      server.reload(config, config.where);
    } catch (error) {
      server.log.error({ problem: (error as Error).message }, "settings are not taken: they are as before");
    }
  };
  // By looking, not by notices: those are lost where a file is put in place of another, or is mounted.
  watchFile(path, { interval: LOOK_EVERY_MS, persistent: false }, () => {
    if (read(path) !== content) reload();
  });
  if (!process.stdin.isTTY) process.on("SIGHUP", reload);
}

function read(path: string): string | undefined {
  return existsSync(path) ? readFileSync(path, "utf8") : undefined;
}
