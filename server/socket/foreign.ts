/**
 * Foreign errors as errors of the protocol. Owns what a client learns of a fault of ours: a code, and whether to ask again;
 * never the fault itself, which stays as the cause for the log.
 */
import { ProtocolError } from "../../protocol/errors.ts";
import { SessionDropped } from "../session/services.ts";
import { StoreDamagedError, StoreUnavailableError } from "../store/store.ts";

/** Any error as one that may be sent. */
export function toProtocolError(error: unknown): ProtocolError {
  if (error instanceof ProtocolError) return error;
  if (error instanceof StoreUnavailableError || error instanceof SessionDropped) {
    const wait = (error as { retryAfterMs?: number }).retryAfterMs;
    return new ProtocolError("unavailable", "the store cannot be used now", {
      retryAfterMs: wait ?? 1000,
      cause: error,
    });
  }
  if (error instanceof StoreDamagedError) {
    return new ProtocolError("internal", "the session's log is damaged", { retryable: false, cause: error });
  }
  return new ProtocolError("internal", "internal error", { cause: error });
}
