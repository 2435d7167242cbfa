/**
 * Mode `jwt`: a hello carries a JSON Web Token that somebody else signed. Owns which claims are required and what they
 * become; signatures and times are checked by jose, keys come from keys.ts. Never accepts an algorithm that is not listed.
 */
import { errors, jwtVerify, type JWTPayload } from "jose";
import { ProtocolError } from "../../protocol/errors.ts";
import { DEFAULT_RIGHTS, isUserId, RIGHT_PATTERN, sha256, type Account } from "./identity.ts";
import { createKeys, type KeyOptions } from "./keys.ts";
import { expired, invalidToken, requireToken, type Method } from "./method.ts";

export interface JwtOptions extends KeyOptions {
  /** `iss` must be this; any unless given, required with `jwksUrl`. */
  readonly issuer?: string | undefined;
  /** `aud` must have this; any unless given, required with `jwksUrl`. */
  readonly audience?: string | undefined;
  /** How far the issuer's clock may be off, ms (5000). */
  readonly clockSkewMs?: number | undefined;
  /** Which claims say the user's id (`sub`), the name (`name`), and rights (`rights`: a list, or words in a string). */
  readonly claims?:
    | {
        readonly user?: string | undefined;
        readonly name?: string | undefined;
        readonly rights?: string | undefined;
      }
    | undefined;
  /** Rights of a token without that claim (`create:*`). */
  readonly rights?: readonly string[] | undefined;
}

/** Throws TypeError with what is wrong in the options. */
export function jwtMethod(options: JwtOptions): Method {
  const { issuer, audience, clockSkewMs = 5000, rights = DEFAULT_RIGHTS } = options;
  if (options.jwksUrl !== undefined && (issuer === undefined || audience === undefined))
    throw new TypeError("jwksUrl: issuer and audience are needed, for its keys may sign for others too");
  const keys = createKeys(options);
  const { user = "sub", name = "name", rights: rightsClaim = "rights" } = options.claims ?? {};
  const claims = { user, name, rights: rightsClaim };
  // Another key, issuer or audience: what was proved by the old one does not count any more.
  const credential = sha256(
    JSON.stringify([options.secret, options.publicKey, options.jwksFile, options.jwksUrl, issuer, audience]),
  ).toString("base64url");
  const verifying = {
    algorithms: [...keys.algorithms],
    clockTolerance: clockSkewMs / 1000,
    requiredClaims: ["exp", claims.user],
    ...(issuer === undefined ? {} : { issuer }),
    ...(audience === undefined ? {} : { audience }),
  };
  return {
    mode: "jwt",
    async prove(hello) {
      const token = requireToken(hello);
      let payload: JWTPayload;
      try {
        ({ payload } = await jwtVerify(token, keys.find, verifying));
      } catch (error) {
        if (error instanceof ProtocolError) throw error;
        throw error instanceof errors.JWTExpired ? expired("the token has expired") : invalidToken(error);
      }
      return accountOf(payload, claims, { rights, credential, clockSkewMs });
    },
    review: (account) => (account.credential === credential ? account : undefined),
  };
}

function accountOf(
  payload: JWTPayload,
  claims: { readonly user: string; readonly name: string; readonly rights: string },
  { rights, credential, clockSkewMs }: { rights: readonly string[]; credential: string; clockSkewMs: number },
): Account {
  const id = payload[claims.user];
  if (!isUserId(id)) throw invalidToken();
  const name = payload[claims.name];
  return {
    user: { id, name: typeof name === "string" && name !== "" ? name.slice(0, 256).toWellFormed() : id },
    verified: true,
    rights: rightsOf(payload[claims.rights]) ?? rights,
    expiresAt: payload.exp! * 1000 + clockSkewMs,
    credential,
  };
}

/** Words that are no right here are the issuer's own business; a claim of another kind gives none. */
function rightsOf(claim: unknown): string[] | undefined {
  if (claim === undefined) return undefined;
  const words: unknown[] = typeof claim === "string" ? claim.split(" ") : Array.isArray(claim) ? claim : [];
  return words.filter((word): word is string => typeof word === "string" && RIGHT_PATTERN.test(word));
}
