/**
 * Turns a hello into an Identity by the auth mode. Owns modes and tokens. Keeps tokens as SHA-256 only; never logs one and
 * never closes a connection.
 */
import { timingSafeEqual } from "node:crypto";
import { ProtocolError } from "../../protocol/errors.ts";
import type { ClientFrameOf } from "../../protocol/frames.ts";
import { DEFAULT_RIGHTS, identify, sha256, type Identity } from "./identity.ts";

const ALL_RIGHTS: readonly string[] = ["admin"];

/** One token: in clear or as its SHA-256 in hexadecimal digits, and whom it stands for. */
export interface TokenGrant {
  readonly token?: string | undefined;
  readonly sha256?: string | undefined;
  readonly user: string;
  readonly name?: string | undefined;
  readonly rights?: readonly string[] | undefined;
}

/**
 * `none`: everyone is who they say they are and holds every right; only for addresses that others cannot reach.
 * `token`: a hello must carry one of the tokens.
 */
export type AuthOptions =
  | { readonly mode: "none" }
  | { readonly mode: "token"; readonly tokens: readonly TokenGrant[] };

export interface Authenticator {
  readonly mode: AuthOptions["mode"];
  /** Throws ProtocolError `unauthenticated`. */
  authenticate(hello: ClientFrameOf<"hello">): Identity;
}

export function createAuthenticator(options: AuthOptions): Authenticator {
  if (options.mode === "none") return { mode: "none", authenticate: trust };
  const known = options.tokens.map((grant) => ({ digest: digestOf(grant), grant }));
  return {
    mode: "token",
    authenticate(hello) {
      if (hello.token === undefined) throw new ProtocolError("unauthenticated", "a token is required");
      const presented = sha256(hello.token);
      let found: TokenGrant | undefined;
      // All are compared, each in constant time, so that the time taken tells nothing about any of them.
      for (const { digest, grant } of known) if (timingSafeEqual(digest, presented)) found = grant;
      if (found === undefined) throw new ProtocolError("unauthenticated", "the token is not valid");
      const user = { id: found.user, name: found.name ?? found.user };
      return identify(user, true, hello.instance, found.rights ?? DEFAULT_RIGHTS);
    },
  };
}

function trust(hello: ClientFrameOf<"hello">): Identity {
  const user = hello.user
    ? { id: hello.user.id, name: hello.user.name ?? hello.user.id }
    : { id: "local", name: "local" };
  return identify(user, false, hello.instance, ALL_RIGHTS);
}

function digestOf(grant: TokenGrant): Buffer {
  if (grant.sha256 !== undefined) {
    if (!/^[0-9a-f]{64}$/i.test(grant.sha256))
      throw new TypeError("sha256 of a token is 64 hexadecimal digits");
    return Buffer.from(grant.sha256, "hex");
  }
  if (!grant.token) throw new TypeError("a token has neither token nor sha256");
  return sha256(grant.token);
}
