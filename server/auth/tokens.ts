/**
 * Modes `none` and `token`: everyone is who they say, or a hello carries one of the tokens of the settings. Keeps tokens
 * as SHA-256 only; never logs one.
 */
import { timingSafeEqual } from "node:crypto";
import { ALL_RIGHTS, DEFAULT_RIGHTS, sha256, type Account } from "./identity.ts";
import { invalidToken, requireToken, type Method } from "./method.ts";

/** One token: in clear or as its SHA-256 in hexadecimal digits, and whom it stands for. */
export interface TokenGrant {
  readonly token?: string | undefined;
  readonly sha256?: string | undefined;
  readonly user: string;
  readonly name?: string | undefined;
  readonly rights?: readonly string[] | undefined;
}

/** Everyone is who they say they are and holds every right. */
export const trustEveryone: Method = {
  mode: "none",
  async prove({ user }) {
    const named = user ? { id: user.id, name: user.name ?? user.id } : { id: "local", name: "local" };
    return { user: named, verified: false, rights: ALL_RIGHTS };
  },
  review: (account) => account,
};

/** Throws TypeError for a token that has neither form. */
export function tokenMethod(grants: readonly TokenGrant[]): Method {
  const known = grants.map((grant) => ({ digest: digestOf(grant), account: accountOf(grant) }));
  const byCredential = new Map(known.map(({ account }) => [account.credential, account]));
  return {
    mode: "token",
    async prove(hello) {
      const presented = sha256(requireToken(hello));
      let found: Account | undefined;
      // All are compared, each in constant time, so that the time taken tells nothing about any of them.
      for (const { digest, account } of known) if (timingSafeEqual(digest, presented)) found = account;
      if (found === undefined) throw invalidToken();
      return found;
    },
    review({ credential, user }) {
      const account = byCredential.get(credential);
      return account?.user.id === user.id ? account : undefined;
    },
  };
}

function accountOf(grant: TokenGrant): Account {
  return {
    user: { id: grant.user, name: grant.name ?? grant.user },
    verified: true,
    rights: grant.rights ?? DEFAULT_RIGHTS,
    // The hash of the hash: who reads it can neither show the token nor find it in a file of settings.
    credential: sha256(digestOf(grant).toString("hex")).toString("base64url"),
  };
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
