/**
 * Who somebody is once they are let in, and what they may do. Owns the shapes of account and identity, rights and
 * provider ids. Never decides who is let in (authenticator.ts), nor what a session's member may do (session/access.ts).
 */
import { createHash } from "node:crypto";
import { userId, type Actor } from "../../protocol/content.ts";
import { newId } from "../../protocol/ids.ts";

/** Whom a token, a ticket or a program's own check stands for; the same on every connection that showed it. */
export interface Account {
  readonly user: { readonly id: string; readonly name: string };
  /** False in mode `none`, where a client names itself. */
  readonly verified: boolean;
  readonly rights: readonly string[];
  /** When what was shown is no longer good, in ms since 1970; absent: never. */
  readonly expiresAt?: number;
  /** What was shown, so that it can be found again when the settings change; no secret. */
  readonly credential?: string;
}

/** An account on one connection. */
export interface Identity extends Account {
  /** Known to the client and this process alone: whoever has it can supersede the connection. */
  readonly instance: string;
  /** `prv_` + a hash of (user, instance): the same for the same client on every node and after every restart. */
  readonly provider: string;
  readonly actor: Actor;
}

/** `admin` includes every other; `create` and `provide` are for names that a glob (`*` = any text) matches. */
export type RightKind = "admin" | "watch" | "create" | "provide";

/** Every right: `admin`, `watch`, `create:<glob>` or `provide:<glob>`. */
export const RIGHT_PATTERN = /^(?:admin|watch|(?:create|provide):[A-Za-z0-9_*-]{1,128})$/;

/** Rights of an embedder, and of everybody where nobody is asked who they are. */
export const ALL_RIGHTS: readonly string[] = ["admin"];

/** Rights of a token that lists none. */
export const DEFAULT_RIGHTS: readonly string[] = ["create:*"];

export function identify(account: Account, instance: string = newId("ins")): Identity {
  const { user, verified } = account;
  const actor: Actor = { kind: "user", id: user.id, name: user.name, verified };
  return { ...account, instance, provider: providerId(user.id, instance), actor };
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
export function matches(glob: string, text: string): boolean {
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

/** Whether a user may be called so. */
export function isUserId(id: unknown): id is string {
  return userId.safeParse(id).success && (id as string).isWellFormed();
}

export function sha256(text: string): Buffer {
  return createHash("sha256").update(text).digest();
}
