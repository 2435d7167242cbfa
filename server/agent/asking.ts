/**
 * Patience with a model: how often a request that failed is made again, how long it waits before that, and how whoever
 * waits is let go at once when the run must end. Owns these bounds; never asks a model itself.
 */
import type { ModelError } from "../model/model.ts";
import type { Deadlines } from "../tool/deadlines.ts";

export const MAX_ATTEMPTS = 3;
const MAX_RETRY_AFTER_MS = 60_000;

/** Waits until the request may be made again. Rejects as soon as the signal aborts. */
export function pauseBefore(
  attempt: number,
  { retryAfterMs }: ModelError,
  deadlines: Deadlines,
  signal: AbortSignal,
): Promise<void> {
  const backoff = retryAfterMs ?? 500 * 2 ** (attempt - 1) * (1 + Math.random());
  const waited = new Promise<void>((resolve) => {
    deadlines.after(Math.min(backoff, MAX_RETRY_AFTER_MS), resolve);
  });
  return orAbort(waited, signal);
}

/** The promise, or a rejection as soon as the signal aborts. */
export function orAbort<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const abort = (): void => reject(new Error("aborted"));
    if (signal.aborted) {
      promise.catch(() => {});
      abort();
      return;
    }
    signal.addEventListener("abort", abort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", abort));
  });
}
