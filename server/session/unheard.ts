/**
 * Requests that nobody who is online may answer: somebody outside is told of them, at least once. Owns when that is due,
 * that it is tried again, and the mark in the log by which a restart knows what was told. Never speaks to the outside
 * itself (Tell), and no run waits for it.
 */
import type { ListedRequest, SessionState } from "../../protocol/frames.ts";
import type { Log } from "../observe/log.ts";
import type { Store } from "../store/store.ts";
import type { Deadlines } from "../tool/deadlines.ts";
import { answerable, answerersOf, askingOf, askingPages, decodeAsking, listed } from "./asking.ts";
import type { SessionRegistry } from "./registry.ts";
import type { SessionView } from "./services.ts";
import type { Session } from "./session.ts";
import type { Watches } from "./watches.ts";

/** What is told: the request, when it was opened or found again, and the members whose answer would count. */
export interface Unanswered {
  readonly since: number;
  readonly waiting: ListedRequest;
  readonly answerers: readonly string[];
}

/** One attempt. Rejects when it must be tried again; `told` is kept between attempts and names who was told already. */
export type Tell = (unanswered: Unanswered, told: Set<string>) => Promise<void>;

export interface UnheardOptions {
  readonly tell: Tell;
  /** How long a request waits for somebody to come before anybody is told, ms (10 000). */
  readonly delayMs?: number;
  /** Attempts under way at once (8). */
  readonly maxAtOnce?: number;
  /** Before the second attempt (1000), doubled up to the longest (300 000), ms. */
  readonly retryMs?: number;
  readonly maxRetryMs?: number;
}

export interface UnheardParts {
  readonly store: Store;
  readonly registry: SessionRegistry;
  readonly watches: Watches;
  readonly deadlines: Deadlines;
  readonly log: Log;
}

interface Open {
  readonly session: string;
  readonly request: string;
  readonly since: number;
  readonly told: Set<string>;
  attempts: number;
}

const PAGE = 100;
const MAX_ANSWERERS = 100;

export class Unheard {
  readonly #parts: UnheardParts;
  readonly #options: Required<UnheardOptions>;
  /** Requests that are open and that nobody was told of. */
  readonly #open = new Map<string, Open>();
  #due: Open[] = [];
  #running = 0;
  #closed = false;

  constructor(parts: UnheardParts, options: UnheardOptions) {
    this.#parts = parts;
    this.#options = {
      tell: options.tell,
      delayMs: options.delayMs ?? 10_000,
      maxAtOnce: options.maxAtOnce ?? 8,
      retryMs: options.retryMs ?? 1000,
      maxRetryMs: options.maxRetryMs ?? 300_000,
    };
  }

  /** Finds what the process before left open. */
  async start(): Promise<void> {
    for await (const page of askingPages(this.#parts.store, { limit: PAGE })) {
      if (this.#closed) return;
      for (const { id, requests } of page) this.#take(id, decodeAsking(requests));
    }
  }

  close(): void {
    this.#closed = true;
    this.#open.clear();
    this.#due = [];
  }

  /** A session is committed otherwise than before; undefined: it is new. */
  changed({ id, state }: SessionView, before: SessionState | undefined): void {
    if (before?.requests !== state.requests) this.#take(id, state);
  }

  #take(
    session: string,
    { requests }: Pick<SessionState, "requests"> | ReturnType<typeof decodeAsking>,
  ): void {
    for (const { request, notifiedAt } of requests) {
      if (notifiedAt !== undefined || this.#closed || this.#open.has(request)) continue;
      const since = this.#parts.deadlines.now();
      const open: Open = { session, request, since, told: new Set(), attempts: 0 };
      this.#open.set(request, open);
      this.#later(open, this.#options.delayMs);
    }
  }

  #later(open: Open, ms: number): void {
    this.#parts.deadlines.after(ms, () => {
      if (this.#closed) return;
      this.#due.push(open);
      this.#next();
    });
  }

  #next(): void {
    while (this.#running < this.#options.maxAtOnce) {
      const open = this.#due.shift();
      if (open === undefined) return;
      this.#running++;
      this.#attempt(open)
        .catch((error: unknown) => this.#failed(open, error))
        .finally(() => {
          this.#running--;
          this.#next();
        });
    }
  }

  /** Looks at the request as it is now: it may be resolved, or somebody may have come. */
  async #attempt(open: Open): Promise<void> {
    const { session: id, request, since, told } = open;
    const unanswered = await this.#parts.registry.with(id, async (session) => {
      const asking = askingOf(session.state);
      const item = asking?.requests.find((other) => other.request === request);
      if (asking === undefined || item === undefined || item.notifiedAt !== undefined) return undefined;
      if (this.#isHeard(session, { ...asking, requests: [item] })) return "heard" as const;
      const answerers = answerersOf(asking, item).slice(0, MAX_ANSWERERS);
      return { since, waiting: listed(id, asking, item), answerers };
    });
    if (unanswered === "heard") {
      this.#later(open, this.#options.delayMs);
      return;
    }
    if (unanswered !== undefined) {
      await this.#options.tell(unanswered, told);
      if (!this.#closed) await this.#mark(open);
    }
    this.#open.delete(request);
  }

  /** Somebody has the request before their eyes who may answer it: a reader of its session, or who watches for requests. */
  #isHeard({ feed }: Session, asking: ReturnType<typeof askingOf>): boolean {
    for (const { identity } of feed)
      if (identity !== undefined && answerable(identity, asking).length > 0) return true;
    return this.#parts.watches.mayBeAnswered(asking);
  }

  #mark({ session: id, request }: Open): Promise<void> {
    return this.#parts.registry.with(id, (session) =>
      session.exclusive(async () => {
        const item = session.state.requests.find((other) => other.request === request);
        if (item === undefined || item.notifiedAt !== undefined) return;
        await session.append([{ body: { type: "request-notified", request } }]);
      }),
    );
  }

  #failed(open: Open, error: unknown): void {
    if (this.#closed || this.#isGone(error)) {
      this.#open.delete(open.request);
      return;
    }
    const { retryMs, maxRetryMs } = this.#options;
    const ms = Math.min(maxRetryMs, retryMs * 2 ** open.attempts++);
    const { session, request } = open;
    this.#parts.log.warn({ session, request, retryMs: ms, err: error }, "nobody could be told of a request");
    this.#later(open, ms);
  }

  #isGone(error: unknown): boolean {
    return error instanceof Error && (error as { code?: unknown }).code === "not-found";
  }
}
