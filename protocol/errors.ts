/**
 * Errors and close codes as tables: cause → error code or close code → what a client does. Owns the closed unions and
 * ProtocolError; never decides when an error occurs.
 */

interface ErrorRule {
  /** Whether the same request may succeed later. The flag on the wire, not the code, tells a client what to do. */
  readonly retryable: boolean;
}

export const ERRORS = {
  "bad-frame": { retryable: false },
  "unknown-frame": { retryable: false },
  "hello-required": { retryable: false },
  "unsupported-protocol": { retryable: false },
  unauthenticated: { retryable: false },
  forbidden: { retryable: false },
  "not-found": { retryable: false },
  conflict: { retryable: false },
  busy: { retryable: true },
  "queue-full": { retryable: true },
  "rate-limited": { retryable: true },
  "too-large": { retryable: false },
  closed: { retryable: false },
  unavailable: { retryable: true },
  timeout: { retryable: true },
  draining: { retryable: true },
  "not-started": { retryable: true },
  internal: { retryable: true },
} as const satisfies Record<string, ErrorRule>;

export type ErrorCode = keyof typeof ERRORS;
export const ERROR_CODES = Object.keys(ERRORS) as [ErrorCode, ...ErrorCode[]];

/** A refusal with a code from the closed union; everything else that is thrown becomes `internal` in one place. */
export class ProtocolError extends Error {
  override readonly name = "ProtocolError";
  readonly code: ErrorCode;
  readonly retryable: boolean;
  readonly retryAfterMs: number | undefined;
  readonly details: Record<string, unknown> | undefined;

  constructor(
    code: ErrorCode,
    message: string,
    options: {
      retryable?: boolean;
      retryAfterMs?: number;
      details?: Record<string, unknown>;
      cause?: unknown;
    } = {},
  ) {
    super(message, options.cause === undefined ? {} : { cause: options.cause });
    this.code = code;
    this.retryable = options.retryable ?? ERRORS[code].retryable;
    this.retryAfterMs = options.retryAfterMs;
    this.details = options.details;
  }
}

/** Causes for which a server ends a connection, with the code that it sends. */
export const CLOSE_CODES = {
  draining: 4000,
  overloaded: 4101,
  "no-pong": 4102,
  "slow-reader": 4103,
  "rate-limited": 4104,
  "hello-timeout": 4106,
  "token-expired": 4400,
  "token-revoked": 4401,
  malformed: 4500,
  "bad-token": 4501,
  forbidden: 4502,
  "unsupported-version": 4503,
  superseded: 4510,
} as const;

export type CloseCause = keyof typeof CLOSE_CODES;

/** What a client does after a close: by range, so that an unknown code stays safe. */
export type AfterClose = "reconnect" | "back-off" | "new-token" | "stop";

export function afterClose(code: number): AfterClose {
  if (code >= 4000 && code <= 4099) return "reconnect";
  if (code >= 4400 && code <= 4499) return "new-token";
  if (code >= 4500 && code <= 4999) return "stop";
  if (code === 1000 || code === 1002 || code === 1003 || code === 1007 || code === 1009) return "stop";
  return "back-off";
}
