/**
 * The audit log: who was let in or not, who gave rights, answered, deleted, and what admins did. A file of JSON lines of its
 * own, appended to. Owns its form; never a token, a content or a title, and never a decision.
 */
import { pino, type DestinationStream } from "pino";

/** What a line may say besides its time and event. */
export interface AuditFields {
  readonly user?: string | undefined;
  readonly address?: string | undefined;
  readonly connection?: string;
  readonly session?: string | undefined;
  /** Whom or what it is about: a user, a request, an allowance, an agent. */
  readonly subject?: string | undefined;
  readonly role?: string | undefined;
  readonly decision?: string | undefined;
  /** What is allowed from then on: `tool` or `input`, for `session` or `user`. */
  readonly remember?: string | undefined;
  /** `ok`, or the code of the error. */
  readonly outcome: string;
}

export interface Audit {
  write(event: string, fields: AuditFields): void;
  /** Resolves when all lines are with the system. */
  close(): Promise<void>;
}

/** A path that is appended to (mode 0600) or a stream; undefined: nothing is written. Throws when it cannot be opened. */
export function openAudit(to: string | DestinationStream | undefined): Audit {
  if (to === undefined) return { write() {}, close: () => Promise.resolve() };
  // Written at once: an event of security must not be lost with the process.
  const stream = typeof to === "string" ? pino.destination({ dest: to, sync: true, mode: 0o600 }) : to;
  const log = pino(
    {
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: () => ({ level: "audit" }) },
    },
    stream,
  );
  return {
    write: (event, fields) => log.info({ event, ...fields }),
    close: () => new Promise((resolve) => log.flush(() => resolve())),
  };
}
