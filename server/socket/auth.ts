/**
 * Who is at the other end: turns a hello into an Identity by the auth mode, and answers what an identity may do.
 * Owns tokens, rights and provider ids. Keeps tokens as SHA-256 only; never logs one and never closes a connection.
 */
import { createHash, timingSafeEqual } from "node:crypto";
import type { Actor } from "../../protocol/content.ts";
import { ProtocolError } from "../../protocol/errors.ts";
import type { ClientFrameOf } from "../../protocol/frames.ts";
import { newId } from "../../protocol/ids.ts";

export interface Identity {
  readonly user: { readonly id: string; readonly name: string };
  /** False in mode `none`, where a client names itself. */
  readonly verified: boolean;
  /** Known to the client and this process alone: whoever has it can supersede the connection. */
  readonly instance: string;
  /** `prv_` + a hash of (user, instance): the same for the same client on every node and after every restart. */
  readonly provider: string;
  readonly rights: readonly string[];
  readonly actor: Actor;
}

/** `admin` includes every other; `create` and `provide` are for names that a glob (`*` = any text) matches. */
export type RightKind = "admin" | "watch" | "create" | "provide";

/** Rights of a token that lists none. */
export const DEFAULT_RIGHTS: readonly string[] = ["create:*"];

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

function identify(
  user: Identity["user"],
  verified: boolean,
  instance: string = newId("ins"),
  rights: readonly string[],
): Identity {
  const actor: Actor = { kind: "user", id: user.id, name: user.name, verified };
  return { user, verified, instance, provider: providerId(user.id, instance), rights, actor };
}

/** The id under which a provider stands in logs and frames. It says nothing about the instance. */
export function providerId(user: string, instance: string): string {
  return `prv_${sha256(JSON.stringify([user, instance]))
    .toString("base64url")
    .slice(0, 26)}`;
}

/** Whether the identity has the right; `create` and `provide` need the agent's or tool's name. */
export function allows(identity: Pick<Identity, "rights">, kind: RightKind, name?: string): boolean {
  return identity.rights.some((right) => {
    if (right === "admin") return true;
    if (kind === "admin" || kind === "watch") return right === kind;
    return name !== undefined && right.startsWith(`${kind}:`) && matches(right.slice(kind.length + 1), name);
  });
}

/** Whether a glob, in which only `*` is special, matches the whole text. Linear in both. */
function matches(glob: string, text: string): boolean {
  const [first = "", ...rest] = glob.split("*");
  const last = rest.pop();
  if (last === undefined) return text === first;
  if (text.length < first.length + last.length || !text.startsWith(first) || !text.endsWith(last))
    return false;
  const end = text.length - last.length;
  let at = first.length;
  for (const piece of rest) {
    const found = text.indexOf(piece, at);
    if (found < 0 || found + piece.length > end) return false;
    at = found + piece.length;
  }
  return true;
}

function sha256(text: string): Buffer {
  return createHash("sha256").update(text).digest();
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
