/**
 * The log of the process: JSON lines by pino, on stderr. Owns the level, what must be blanked and how an error is
 * written. Contents of messages and calls are never given to it; child loggers carry session and run ids.
 */
import { pino, type DestinationStream, type Logger } from "pino";

export type Log = Logger;

export const LOG_LEVELS = ["fatal", "error", "warn", "info", "debug", "trace", "silent"] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

const SECRETS = ["token", "authorization", "apiKey", "password", "secret", "cookie", "sha256", "instance"];
/** A reader of the log that is slow costs this much and then loses lines, never the server's time. */
const MAX_BUFFERED_BYTES = 1024 * 1024;

export interface LogOptions {
  readonly level?: LogLevel;
  /** stderr unless told. */
  readonly destination?: DestinationStream;
}

export function createLog(options: LogOptions = {}): Log {
  return pino(
    {
      level: options.level ?? "info",
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      redact: {
        paths: SECRETS.flatMap((name) => [name, `*.${name}`, `*.*.${name}`]),
        censor: "[redacted]",
      },
      serializers: { error: describeError, err: describeError },
    },
    options.destination ?? pino.destination({ dest: 2, sync: false, maxLength: MAX_BUFFERED_BYTES }),
  );
}

/** A log that writes nothing, for parts that are used without one. */
export function silentLog(): Log {
  return pino({ level: "silent" });
}

/** Resolves when all lines are with the system, or after a second. */
export function flushLog(log: Log): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, 1000);
    log.flush(() => {
      clearTimeout(timer);
      resolve();
    });
  });
}

/**
 * Name, message, code and stack of an error and of its causes. Nothing else: errors of model clients carry the whole
 * request, and with it contents and keys.
 */
function describeError(error: unknown, depth = 0): unknown {
  if (!(error instanceof Error)) return { message: typeof error === "string" ? error : "not an Error" };
  const described: Record<string, unknown> = { type: error.name, message: error.message, stack: error.stack };
  const { code } = error as { code?: unknown };
  if (typeof code === "string" || typeof code === "number") described["code"] = code;
  if (error.cause !== undefined && depth < 4) described["cause"] = describeError(error.cause, depth + 1);
  return described;
}
