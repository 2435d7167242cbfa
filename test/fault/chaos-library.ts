/**
 * A client of the chaos worlds that uses the client library as an application does: one handle, which comes back by
 * itself. Owns what it was shown through the library's events, and their rules; never a socket.
 */
import { connect, ProtocolError, type Client, type SessionHandle } from "../../client/index.ts";
import type { PlainRequest } from "../../client/index.ts";
import type { EventFrame } from "../../protocol/entries.ts";
import type { SessionState } from "../../protocol/frames.ts";
import type { Frame } from "../support/wire.ts";
import type { ChaosClient, ClientOptions, View, Watcher } from "./chaos-client.ts";

export class LibraryClient implements ChaosClient {
  readonly name: string;
  readonly user: string;
  readonly session: string;
  readonly #client: Client;
  readonly #handle: Promise<SessionHandle>;
  readonly #entries: { readonly entry: EventFrame }[] = [];
  readonly #ends: number[] = [];
  readonly #faults: string[] = [];
  /** Text by message and part, as the deltas tell it. */
  readonly #shown = new Map<string, Map<number, string>>();
  #state: SessionState | undefined;
  #closed = false;

  constructor(options: ClientOptions, watcher: Watcher) {
    this.name = options.name;
    this.user = options.user;
    this.session = options.session;
    const { url, encoding, user } = options;
    this.#client = connect({ url, encoding, user: { id: user } });
    this.#client.on("status", ({ state, reason }) => {
      if (state === "closed" && !this.#closed) this.#faults.push(`${this.name}: gave up: ${reason}`);
    });
    this.#client.on("error", (error) => this.#faults.push(`${this.name}: ${error.message}`));
    this.#handle = this.#attach(watcher);
    this.#handle.catch((error: unknown) => this.#faults.push(`${this.name}: ${String(error)}`));
  }

  get state(): SessionState | undefined {
    return this.#state;
  }

  get seq(): number {
    return this.#entries.length;
  }

  get ends(): readonly number[] {
    return this.#ends;
  }

  async ask(type: string, fields: Frame): Promise<Frame | undefined> {
    await this.#handle;
    try {
      const ok = await this.#client.request(type as PlainRequest, fields, { timeoutMs: 60_000 });
      return ok;
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      // Of the server, or of the library about a lost connection: in both cases it may have been done.
      if (error.code === "unavailable" || error.code === "timeout") return undefined;
      const { code, retryable, message, details } = error;
      return { type: "error", code, retryable, message, ...(details === undefined ? {} : { details }) };
    }
  }

  view(): View {
    const faults = [...this.#faults];
    const last = this.#entries.at(-1)?.entry.seq ?? 0;
    if (last !== this.#state?.seq)
      faults.push(`${this.name}: its state is of ${this.#state?.seq}, not ${last}`);
    return {
      client: this.name,
      session: this.session,
      entries: this.#entries,
      state: this.#state,
      faults,
    };
  }

  close(): void {
    this.#closed = true;
    this.#client.close();
  }

  async #attach(watcher: Watcher): Promise<SessionHandle> {
    const handle = await this.#client.attach(this.session, {
      after: { epoch: 0, seq: 0 },
      timeoutMs: 60_000,
    });
    handle.on("entry", (entry) => {
      this.#entry(entry);
      watcher.entry(entry, this);
    });
    handle.on("state", (state) => (this.#state = state));
    handle.on("live", () => watcher.live(this));
    handle.on("snapshot", () => this.#faults.push(`${this.name}: its position is lost`));
    handle.on("detached", (error) => {
      if (error.details?.["reason"] !== undefined) this.#faults.push(`${this.name}: ${error.message}`);
    });
    handle.on("delta", ({ message, part, kind, offset, text }) => {
      // Committed, a call's input is a value, and of a message that was cut off it may be left out.
      if (kind === "tool-input") return;
      const parts = this.#shown.get(message) ?? new Map<number, string>();
      const before = parts.get(part) ?? "";
      if (offset !== before.length && offset !== 0)
        this.#faults.push(`${this.name}: text at ${offset} of ${message}, where ${before.length} are shown`);
      parts.set(part, before.slice(0, offset) + text);
      this.#shown.set(message, parts);
    });
    return handle;
  }

  #entry(entry: EventFrame): void {
    const last = this.#entries.at(-1)?.entry;
    if (entry.seq !== (last?.seq ?? 0) + 1)
      this.#faults.push(`${this.name}: entry ${entry.seq} follows ${last?.seq}`);
    this.#entries.push({ entry });
    const { event } = entry;
    if (event.type === "run-finished") this.#ends.push(entry.seq);
    if (event.type !== "message") return;
    const texts = event.message.parts.flatMap((part) => ("text" in part ? [part.text] : []));
    const shown = [...(this.#shown.get(event.message.id)?.values() ?? [])];
    for (const text of shown) {
      // After a crash what was kept of it is committed, when its run had been cancelled.
      const known = texts.some(
        (whole) => whole.startsWith(text) || (event.incomplete === true && text.startsWith(whole)),
      );
      if (!known) this.#faults.push(`${this.name}: shown ${JSON.stringify(text)}, which was not committed`);
    }
    this.#shown.delete(event.message.id);
  }
}
