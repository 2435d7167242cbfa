/**
 * A real Haulout server as a process of its own, for tests: started on a free port, killed, stopped and started again on
 * the same data. Owns the process and its folders; never looks into what it does.
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { spawnProcess, temporaryDirectory, type Exit, type TestProcess } from "./process.ts";
import { compiled } from "./root.ts";

export interface ServerOptions {
  readonly store?: "embedded" | "memory";
  /** The data directory; a new one unless told. */
  readonly data?: string;
  /** Written to a file that HAULOUT_CONFIG names. */
  readonly config?: object;
  readonly env?: Readonly<Record<string, string>>;
  /** A command that becomes the command given after it, such as nsenter: where the server runs. */
  readonly within?: readonly string[];
}

const START_LIMIT_MS = 60_000;

export class TestServer {
  readonly process: TestProcess;
  readonly data: string;
  /** `http://127.0.0.1:PORT`. */
  readonly http: string;
  readonly options: ServerOptions;

  private constructor(process: TestProcess, http: string, data: string, options: ServerOptions) {
    this.process = process;
    this.http = http;
    this.data = data;
    this.options = options;
  }

  static async start(options: ServerOptions = {}): Promise<TestServer> {
    const data = options.data ?? temporaryDirectory();
    const process = spawnServer({ ...options, data });
    const [, http] = await process.waitForLine(/^haulout listening on (http:\/\/\S+)$/, START_LIMIT_MS);
    return new TestServer(process, http!, data, options);
  }

  /** Where WebSocket is. */
  get url(): string {
    return `${this.http.replace("http", "ws")}/ws`;
  }

  get port(): number {
    return Number(new URL(this.http).port);
  }

  /** kill -9; resolves when the process is gone. */
  async kill(): Promise<void> {
    this.process.kill("SIGKILL");
    await this.process.exited;
  }

  /** SIGTERM; resolves with how it ended. */
  async stop(): Promise<Exit> {
    this.process.kill("SIGTERM");
    return this.process.exited;
  }

  /** A new process on the same data and settings. The old one must be gone. */
  again(): Promise<TestServer> {
    return TestServer.start({ ...this.options, data: this.data });
  }
}

/** Starts the server and does not wait for it. Its folder is a new one, so that no haulout.json of others counts. */
export function spawnServer(options: ServerOptions & { readonly data: string }): TestProcess {
  const cwd = temporaryDirectory();
  const env: Record<string, string> = {
    HAULOUT_PORT: "0",
    HAULOUT_DATA: options.data,
    HAULOUT_STORE: options.store ?? "embedded",
    HAULOUT_LOG: "warn",
    ...options.env,
  };
  if (options.config !== undefined) {
    env["HAULOUT_CONFIG"] = join(cwd, "config.json");
    writeFileSync(env["HAULOUT_CONFIG"], JSON.stringify(options.config));
  }
  const serve = [process.execPath, "--enable-source-maps", compiled("server/main.ts"), "serve"];
  const [command = "", ...rest] = [...(options.within ?? []), ...serve];
  return spawnProcess(command, rest, { env, cwd });
}
