/**
 * The ways of proving who one is have one shape: Method. Owns that shape, what is known of a request before anybody
 * said who they are, and the refusals that all ways share. Decides nothing.
 */
import type { IncomingHttpHeaders } from "node:http";
import { ProtocolError } from "../../protocol/errors.ts";
import type { ClientFrameOf } from "../../protocol/frames.ts";
import type { Account } from "./identity.ts";

export type Hello = ClientFrameOf<"hello">;

/** A request as the server believes it: what proxies say counts only from those that are trusted. */
export interface ClientRequest {
  /** Address of the client: of the socket, or the one that a trusted proxy names. */
  readonly address: string;
  /** True if the client's own connection is encrypted. */
  readonly secure: boolean;
  /** The host that the client asked for, with its port if it is not the usual one. */
  readonly host: string | undefined;
  readonly origin: string | undefined;
  /** Path and query. */
  readonly url: string;
  readonly headers: IncomingHttpHeaders;
}

export interface Method {
  readonly mode: "none" | "token" | "jwt" | "custom";
  /** Rejects with ProtocolError: `unauthenticated`, `forbidden`, or one that is retryable when it cannot tell now. */
  prove(hello: Hello, request: ClientRequest): Promise<Account>;
  /** The account as it stands now, undefined when what proved it does not count any more. */
  review(account: Account): Account | undefined;
}

/** The refusal of what was good once: its holder should get something new. */
export function expired(message: string): ProtocolError {
  return new ProtocolError("unauthenticated", message, { details: { reason: "expired" } });
}

/** Whether a refusal says that something new would be taken. */
export function isExpiry(error: ProtocolError): boolean {
  return error.code === "unauthenticated" && error.details?.["reason"] === "expired";
}

export function requireToken(hello: Hello): string {
  if (hello.token === undefined) throw new ProtocolError("unauthenticated", "a token is required");
  return hello.token;
}

/** One refusal for every token that was never good: it tells nothing about why. */
export function invalidToken(cause?: unknown): ProtocolError {
  return new ProtocolError("unauthenticated", "the token is not valid", { cause });
}
