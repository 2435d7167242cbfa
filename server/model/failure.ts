/**
 * Any failure of a model's client as a ModelError. Owns the words: they are made here from the status and from codes
 * that are known, never from what a provider, a URL or a header says, for those may hold keys and contents. Foreign text
 * is read only to tell one cause from another.
 */
import { ModelError } from "./model.ts";

interface Cause {
  readonly says: string;
  readonly retryable: boolean;
}

/** Every code a failed request can have, and what it says after the model's name. */
const CAUSES = {
  unauthorized: { says: "refused the key", retryable: false },
  "model-not-found": { says: "does not know the model", retryable: false },
  "bad-request": { says: "refused the request", retryable: false },
  "context-overflow": { says: "cannot take a prompt this long", retryable: false },
  refused: { says: "refused the prompt by its content rules", retryable: false },
  quota: { says: "has no quota left for this key", retryable: false },
  "rate-limited": { says: "asks for fewer requests", retryable: true },
  overloaded: { says: "is overloaded", retryable: true },
  provider: { says: "failed on its side", retryable: true },
  timeout: { says: "did not answer in time", retryable: true },
  unreachable: { says: "cannot be reached", retryable: true },
  "connection-lost": { says: "broke off its answer", retryable: true },
  incomplete: { says: "ended its answer without finishing it", retryable: true },
  "bad-response": { says: "sent what cannot be read", retryable: true },
  unsupported: { says: "cannot be sent what this prompt or these settings hold", retryable: false },
  "no-key": { says: "has no key", retryable: false },
  cancelled: { says: "is no longer wanted", retryable: false },
  internal: { says: "could not be asked", retryable: false },
} as const satisfies Record<string, Cause>;
export type FailureCode = keyof typeof CAUSES;

/** Codes of providers' own, as they stand in `type`, `code` or `status` of an error. */
const KNOWN: Readonly<Record<string, FailureCode>> = {
  invalid_api_key: "unauthorized",
  authentication_error: "unauthorized",
  permission_error: "unauthorized",
  UNAUTHENTICATED: "unauthorized",
  PERMISSION_DENIED: "unauthorized",
  API_KEY_INVALID: "unauthorized",
  model_not_found: "model-not-found",
  not_found_error: "model-not-found",
  NOT_FOUND: "model-not-found",
  context_length_exceeded: "context-overflow",
  request_too_large: "context-overflow",
  content_filter: "refused",
  content_policy_violation: "refused",
  insufficient_quota: "quota",
  billing_error: "quota",
  billing_hard_limit_reached: "quota",
  rate_limit_exceeded: "rate-limited",
  rate_limit_error: "rate-limited",
  RESOURCE_EXHAUSTED: "rate-limited",
  overloaded_error: "overloaded",
  UNAVAILABLE: "overloaded",
  server_is_overloaded: "overloaded",
  api_error: "provider",
  server_error: "provider",
  INTERNAL: "provider",
  timeout_error: "timeout",
  DEADLINE_EXCEEDED: "timeout",
  invalid_request_error: "bad-request",
  INVALID_ARGUMENT: "bad-request",
};
const STATUSES: Readonly<Record<number, FailureCode>> = {
  401: "unauthorized",
  402: "quota",
  403: "unauthorized",
  404: "model-not-found",
  408: "timeout",
  409: "provider",
  413: "context-overflow",
  425: "overloaded",
  429: "rate-limited",
  503: "overloaded",
  504: "timeout",
  529: "overloaded",
};
/** Classes of the AI SDK, by name: several versions of it are about. */
const NAMES: Readonly<Record<string, FailureCode>> = {
  AI_LoadAPIKeyError: "no-key",
  AI_NoSuchModelError: "model-not-found",
  AI_UnsupportedFunctionalityError: "unsupported",
  AI_InvalidPromptError: "unsupported",
  AI_InvalidArgumentError: "unsupported",
  AI_JSONParseError: "bad-response",
  AI_TypeValidationError: "bad-response",
  AI_InvalidResponseDataError: "bad-response",
  AI_EmptyResponseBodyError: "bad-response",
  AI_NoContentGeneratedError: "bad-response",
};
const TOO_LONG =
  /prompt is too long|context (?:length|window)|maximum context|too many tokens|exceeds the maximum number of tokens/i;
const UNFINISHED = /ended without a finish/i;
const LOST = /terminated|other side closed|premature close|socket hang up|aborted/i;
const MAX_READ = 64 * 1024;

/** What is looked at of a failure; all of it may be absent or of any type. */
interface Foreign {
  readonly name?: unknown;
  readonly message?: unknown;
  readonly code?: unknown;
  readonly type?: unknown;
  readonly status?: unknown;
  readonly statusCode?: unknown;
  readonly isRetryable?: unknown;
  readonly responseHeaders?: unknown;
  readonly responseBody?: unknown;
  readonly data?: unknown;
  readonly error?: unknown;
  readonly response?: unknown;
  readonly cause?: unknown;
}

/** A failure of our own finding, in the words of the table. */
export function failure(
  code: FailureCode,
  model: string,
  more: { detail?: string; retryable?: boolean; retryAfterMs?: number } = {},
): ModelError {
  const { says, retryable } = CAUSES[code];
  const { detail, retryAfterMs } = more;
  return new ModelError(code, `${model} ${says}${detail === undefined ? "" : ` (${detail})`}`, {
    retryable: more.retryable ?? retryable,
    ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
  });
}

/** Whatever a provider package threw or streamed as an error. `model` is the name that messages begin with. */
export function toModelError(error: unknown, model: string): ModelError {
  if (error instanceof ModelError) return error;
  const foreign = (typeof error === "object" && error !== null ? error : { message: error }) as Foreign;
  const status = statusOf(foreign);
  const text = readable(foreign);
  const found = knownCode(foreign, text);
  const code = classify(foreign, status, found, text);
  const detail = [status, found ?? systemCode(foreign)].filter((item) => item !== undefined).join(" ");
  const made = failure(code, model, {
    ...(detail === "" ? {} : { detail }),
    ...retryAfter(foreign, text),
  });
  if (code === "internal" && error instanceof Error) showFrames(made, error);
  return made;
}

function classify(
  foreign: Foreign,
  status: number | undefined,
  known: string | undefined,
  text: string,
): FailureCode {
  const byName = typeof foreign.name === "string" ? NAMES[foreign.name] : undefined;
  const byCode = known === undefined ? undefined : KNOWN[known];
  const byStatus =
    status === undefined ? undefined : (STATUSES[status] ?? (status >= 500 ? "provider" : undefined));
  if (byCode !== undefined && byCode !== "bad-request") return byCode;
  if (TOO_LONG.test(text)) return "context-overflow";
  if (byStatus !== undefined) return byStatus;
  if (byCode !== undefined || (status !== undefined && status >= 400)) return "bad-request";
  if (byName !== undefined) return UNFINISHED.test(text) ? "incomplete" : byName;
  if (foreign.name === "AI_APICallError") {
    // Without a status there was no answer; a good status was followed by what nobody could read to the end.
    if (foreign.statusCode === undefined) return "unreachable";
    return systemCode(foreign) === undefined ? "bad-response" : "connection-lost";
  }
  if (LOST.test(text)) return "connection-lost";
  if (systemCode(foreign) !== undefined) return "unreachable";
  return foreign.name === undefined ? "provider" : "internal";
}

/** The status of the answer; a stream's error event may carry it as `code` or `status`. */
function statusOf({ statusCode, status, code, error }: Foreign): number | undefined {
  for (const value of [statusCode, status, code]) {
    if (typeof value === "number" && value >= 400 && value < 600) return value;
  }
  return typeof error === "object" && error !== null ? statusOf(error) : undefined;
}

/** The first code we know, in the error or in what it wraps. */
function knownCode(foreign: Foreign, text: string, depth = 0): string | undefined {
  // Google calls a bad key an invalid argument, and says which in a detail.
  if (text.includes('"API_KEY_INVALID"')) return "API_KEY_INVALID";
  for (const value of [foreign.code, foreign.type, foreign.status]) {
    if (typeof value === "string" && Object.hasOwn(KNOWN, value) && KNOWN[value] !== "bad-request")
      return value;
  }
  for (const inner of [foreign.data, foreign.error, foreign.response]) {
    if (depth > 3 || typeof inner !== "object" || inner === null) continue;
    const found = knownCode(inner, "", depth + 1);
    if (found !== undefined) return found;
  }
  for (const value of [foreign.code, foreign.type, foreign.status]) {
    if (typeof value === "string" && Object.hasOwn(KNOWN, value)) return value;
  }
  return undefined;
}

/** The system's own code (ECONNREFUSED), which holds no name and no address. */
function systemCode(foreign: Foreign, depth = 0): string | undefined {
  const { code, cause } = foreign;
  if (typeof code === "string" && /^(?:E[A-Z]{3,}|UND_ERR_[A-Z_]+|CERT_[A-Z_]+|ERR_TLS[A-Z_]*)$/.test(code))
    return code;
  return depth < 4 && typeof cause === "object" && cause !== null ? systemCode(cause, depth + 1) : undefined;
}

/** What is searched for known words; nothing of it is ever shown. */
function readable(foreign: Foreign): string {
  const { message, responseBody, error, response, cause } = foreign;
  const inner = [error, response, cause].map((item) =>
    typeof item === "string"
      ? item
      : typeof item === "object" && item !== null
        ? (item as Foreign).message
        : undefined,
  );
  return [message, responseBody, ...inner]
    .filter((item): item is string => typeof item === "string")
    .map((item) => item.slice(0, MAX_READ))
    .join("\n");
}

/** How long the provider asks to be left alone: by header, or as Google says it in the body. */
function retryAfter({ responseHeaders }: Foreign, text: string): { retryAfterMs?: number } {
  const headers = (responseHeaders ?? {}) as Record<string, unknown>;
  const number = (value: unknown): number =>
    typeof value === "string" && value !== "" ? Number(value) : NaN;
  const inMs = number(headers["retry-after-ms"]);
  if (inMs >= 0) return { retryAfterMs: Math.ceil(inMs) };
  const header = headers["retry-after"];
  const seconds = number(header);
  if (seconds >= 0) return { retryAfterMs: Math.ceil(seconds * 1000) };
  const at = typeof header === "string" ? Date.parse(header) : NaN;
  if (!Number.isNaN(at)) return { retryAfterMs: Math.max(0, at - Date.now()) };
  const [, delay] = /"retryDelay":\s*"(\d+(?:\.\d+)?)s"/.exec(text) ?? [];
  return delay === undefined ? {} : { retryAfterMs: Math.ceil(Number(delay) * 1000) };
}

/** Where it happened, for whoever mends it; the message above the frames may quote a header or a URL. */
function showFrames(made: ModelError, error: Error): void {
  const frames = (error.stack ?? "").split("\n").filter((line) => /^\s+at .*:\d+:\d+\)?$/.test(line));
  made.stack = [`${made.name}: ${made.message} (${error.constructor.name})`, ...frames.slice(0, 12)].join(
    "\n",
  );
}
