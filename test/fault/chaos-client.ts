/**
 * A client of the chaos worlds that speaks the wire itself: comes back after every broken connection with its position,
 * and attaches again when the server says so. Owns its connection and what it was shown; what it asks for is
 * ./chaos-player.ts, whether it was treated rightly ./chaos-oracle.ts.
 */
import type { EventFrame } from "../../protocol/entries.ts";
import type { SessionState } from "../../protocol/frames.ts";
import type { Encoding } from "../../protocol/version.ts";
import { Reader } from "../support/reader.ts";
import { Refused, Wire, WireOver, type Frame } from "../support/wire.ts";

/** What a client was shown in the end. */
export interface View {
  readonly client: string;
  readonly session: string;
  readonly entries: readonly { readonly entry: EventFrame; readonly raw?: Uint8Array | string }[];
  readonly state: SessionState | undefined;
  /** What broke the rules of the wire, in words. */
  readonly faults: readonly string[];
}

export interface ChaosClient {
  readonly name: string;
  /** Whose name it acts in; two clients of a session are the same person. */
  readonly user: string;
  readonly session: string;
  /** As far as it was shown. */
  readonly state: SessionState | undefined;
  readonly seq: number;
  /** The run-finished entries that it was shown. */
  readonly ends: readonly number[];
  /** The answer, ok or error; undefined: the connection ended first, and it may have been done or not. */
  ask(type: string, fields: Frame): Promise<Frame | undefined>;
  view(): View;
  close(): void;
}

/** What a client tells its world. */
export interface Watcher {
  /** An entry, once by each client that is shown it. */
  entry(entry: EventFrame, client: ChaosClient): void;
  live(client: ChaosClient): void;
  /** Resolves while a server is there; thousands of refused attempts would only heat the machine. */
  up(): Promise<unknown>;
}

export interface ClientOptions {
  readonly name: string;
  readonly user: string;
  readonly session: string;
  readonly url: string;
  readonly encoding: Encoding;
}

const ANSWER_MS = 20_000;
const PAUSE_MS = 100;

export class RawClient implements ChaosClient {
  readonly name: string;
  readonly user: string;
  readonly session: string;
  readonly #options: ClientOptions;
  readonly #watcher: Watcher;
  readonly #reader: Reader;
  readonly #ends: number[] = [];
  readonly #faults: string[] = [];
  #closed = false;
  #wire: Wire | undefined;
  #attached: Promise<Wire>;
  #isAttached!: (wire: Wire) => void;

  constructor(options: ClientOptions, watcher: Watcher) {
    this.name = options.name;
    this.user = options.user;
    this.session = options.session;
    this.#options = options;
    this.#watcher = watcher;
    this.#reader = new Reader(options.session, { after: { epoch: 0, seq: 0 }, crashes: true });
    this.#attached = this.#nextAttached();
    void this.#run();
  }

  get state(): SessionState | undefined {
    return this.#reader.state;
  }

  get seq(): number {
    return this.#reader.position?.seq ?? 0;
  }

  get ends(): readonly number[] {
    return this.#ends;
  }

  async ask(type: string, fields: Frame): Promise<Frame | undefined> {
    const wire = await this.#attached;
    try {
      return await wire.request(type, fields, ANSWER_MS);
    } catch (error) {
      if (error instanceof WireOver) return undefined;
      this.#faults.push(`${this.name}: ${error instanceof Error ? error.message : String(error)}`);
      wire.cut();
      return undefined;
    }
  }

  view(): View {
    const { session, state, entries, faults } = this.#reader;
    return { client: this.name, session, entries, state, faults: [...this.#faults, ...faults] };
  }

  close(): void {
    this.#closed = true;
    this.#wire?.cut();
  }

  #nextAttached(): Promise<Wire> {
    return new Promise((resolve) => (this.#isAttached = resolve));
  }

  async #run(): Promise<void> {
    const { url, encoding, user, name } = this.#options;
    while (!this.#closed) {
      await this.#watcher.up();
      try {
        const wire = await Wire.connect(url, { encoding, instance: `ins_${name}`, user: { id: user } });
        this.#wire = wire;
        wire.listeners.add(({ frame }) => this.#see(wire, frame));
        await this.#attach(wire);
        this.#isAttached(wire);
        await wire.closed;
        this.#attached = this.#nextAttached();
      } catch (error) {
        if (error instanceof Refused) this.#refused(error);
      }
      this.#wire?.cut();
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    }
  }

  async #attach(wire: Wire): Promise<void> {
    for (;;) {
      try {
        const { mode } = await this.#reader.attach(wire);
        if (mode !== "events") this.#faults.push(`${this.name}: its position is lost`);
        return;
      } catch (error) {
        if (!(error instanceof Refused)) throw error;
        // Detached again meanwhile: a later attach took this one's place.
        if (error.code === "conflict") return;
        this.#refused(error);
        await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
      }
    }
  }

  #refused(error: Refused): void {
    if (error.frame["retryable"] !== true) this.#faults.push(`${this.name}: ${error.message}`);
  }

  #see(wire: Wire, frame: Frame): void {
    const type = frame["type"] as string;
    if (type === "error" && frame["id"] === undefined)
      this.#faults.push(`${this.name}: ${JSON.stringify(frame)}`);
    if (frame["session"] !== this.session) return;
    if (type === "event") {
      const entry = frame as unknown as EventFrame;
      if (entry.event.type === "run-finished") this.#ends.push(entry.seq);
      this.#watcher.entry(entry, this);
    } else if (type === "live") {
      this.#watcher.live(this);
    } else if (type === "detached") {
      if (frame["reason"] !== "unavailable") this.#faults.push(`${this.name}: ${JSON.stringify(frame)}`);
      // After it has been told everything that came with this message.
      setImmediate(() => void this.#attach(wire).catch(() => wire.cut()));
    }
  }
}
