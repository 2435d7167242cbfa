/**
 * Close codes as the metrics count them: those that the socket itself sends for a fault, and those that peers send. Owns
 * which are told apart; a peer may send any, and a label must not grow with them.
 */

/** Close codes that the socket itself has sent, by its error. */
const FAULT_CODES: Readonly<Record<string, string>> = {
  WS_ERR_UNSUPPORTED_MESSAGE_LENGTH: "1009",
  WS_ERR_TOO_MANY_BUFFERED_PARTS: "1008",
  WS_ERR_INVALID_UTF8: "1007",
};
const PEER_CODES = new Set([1000, 1001, 1005, 1006]);

/** Undefined for an error that is no fault of the peer's messages. */
export function codeOfFault(error: Error): string | undefined {
  const { code } = error as { code?: string };
  return code?.startsWith("WS_ERR_") ? (FAULT_CODES[code] ?? "1002") : undefined;
}

export function codeOfPeer(code: number): string {
  return PEER_CODES.has(code) ? String(code) : "other";
}
