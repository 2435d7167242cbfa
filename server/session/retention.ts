/**
 * Deletes sessions that nobody has used for a number of days, whole. Owns the clock of that and the rule: closed or idle,
 * and its last entry is that old; reading a session does not make it younger. Off unless a number of days is set. Never
 * touches a session in which anything is open.
 */
import { ProtocolError } from "../../protocol/errors.ts";
import type { Log } from "../observe/log.ts";
import type { Store } from "../store/store.ts";
import type { SessionRegistry } from "./registry.ts";

const DAY_MS = 86_400_000;
/** How often the list is walked through, and rows in one page of it. */
const SWEEP_MS = 3_600_000;
const PAGE = 200;

export interface RetentionParts {
  readonly store: Store;
  readonly registry: SessionRegistry;
  readonly log: Log;
  /** ms since 1970. */
  readonly now: () => number;
}

export class Retention {
  readonly #parts: RetentionParts;
  readonly #days: number;
  #timer: NodeJS.Timeout | undefined;
  #sweeping: Promise<number> | undefined;
  #closed = false;

  constructor(parts: RetentionParts, days: number) {
    this.#parts = parts;
    this.#days = days;
  }

  /** The first walk begins soon, the next ones each an hour after the last has ended. */
  start(ms = 10_000): void {
    if (this.#closed) return;
    this.#timer = setTimeout(() => {
      this.sweep()
        .catch((error: unknown) => this.#parts.log.warn({ err: error }, "old sessions could not be deleted"))
        .finally(() => this.start(SWEEP_MS));
    }, ms);
    this.#timer.unref();
  }

  /** Walks once through all sessions; answers how many were deleted. */
  sweep(): Promise<number> {
    return (this.#sweeping ??= this.#sweep().finally(() => (this.#sweeping = undefined)));
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#timer);
    await this.#sweeping?.catch(() => {});
  }

  async #sweep(): Promise<number> {
    const before = this.#parts.now() - this.#days * DAY_MS;
    let deleted = 0;
    let cursor: string | undefined;
    do {
      const page = await this.#parts.store.list({ limit: PAGE, ...(cursor === undefined ? {} : { cursor }) });
      for (const { id, index } of page.items) {
        if (this.#closed) return deleted;
        // A row's time is a lower bound: the session itself says when its last entry was written.
        if (index.open || index.updatedAt >= before) continue;
        if (await this.#delete(id, before)) deleted++;
      }
      ({ cursor } = page);
    } while (cursor !== undefined);
    if (deleted > 0) this.#parts.log.info({ deleted, days: this.#days }, "old sessions deleted");
    return deleted;
  }

  async #delete(id: string, before: number): Promise<boolean> {
    try {
      return await this.#parts.registry.with(id, (session) =>
        session.exclusive(async () => {
          const { state, updatedAt } = session.state.session;
          if ((state !== "idle" && state !== "closed") || updatedAt >= before) return false;
          if (session.state.run !== undefined || session.state.queue.length > 0) return false;
          await session.remove();
          return true;
        }),
      );
    } catch (error) {
      // Gone already, or damaged: the others need not wait for it.
      const known = error instanceof ProtocolError && error.code === "not-found";
      if (!known) this.#parts.log.warn({ session: id, err: error }, "an old session could not be deleted");
      return false;
    }
  }
}
