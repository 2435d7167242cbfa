/**
 * Waiting with a limit: a deadline, an abort signal, or anything else that ends it. Owns no work and undoes none.
 */
import { ProtocolError } from "../protocol/errors.ts";
import type { Clock } from "./clock.ts";
import type { RequestOptions } from "./requests.ts";

/** The work's result, unless `timeoutMs` (30 000), the signal or what `other` watches for comes first. */
export function inTime<T>(
  work: Promise<T>,
  { timeoutMs = 30_000, signal }: RequestOptions,
  clock: Clock,
  other: (stop: (error: Error) => void) => () => void,
): Promise<T> {
  return new Promise((resolve, reject) => {
    const late = new ProtocolError("timeout", `not within ${timeoutMs} ms`);
    const aborted = (): void => end(() => reject(signal?.reason as Error));
    const endTimer =
      timeoutMs === Infinity ? undefined : clock.after(timeoutMs, () => end(() => reject(late)));
    const endOther = other((error) => end(() => reject(error)));
    signal?.addEventListener("abort", aborted);
    const end = (act: () => void): void => {
      endTimer?.();
      endOther();
      signal?.removeEventListener("abort", aborted);
      act();
    };
    work.then(
      (value) => end(() => resolve(value)),
      (error: unknown) => end(() => reject(error instanceof Error ? error : new Error(String(error)))),
    );
  });
}
