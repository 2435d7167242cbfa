/**
 * Where the keys that check a JWT come from: a secret, a public key, or a set of keys in a file or behind a URL. Owns
 * which algorithms go with which key, and what it means when a set cannot be had. Never reads a claim.
 */
import { createPublicKey, type KeyObject } from "node:crypto";
import { readFileSync } from "node:fs";
import { createLocalJWKSet, createRemoteJWKSet, customFetch, errors } from "jose";
import type { JSONWebKeySet, JWTVerifyGetKey } from "jose";
import { ProtocolError } from "../../protocol/errors.ts";

export const JWT_ALGORITHMS = ["HS256", "RS256", "ES256", "EdDSA"] as const;
export type JwtAlgorithm = (typeof JWT_ALGORITHMS)[number];

export interface KeyOptions {
  /** For HS256: at least 32 bytes. */
  readonly secret?: string | undefined;
  /** For one of the others: PEM, or a JWK as JSON. */
  readonly publicKey?: string | undefined;
  /** A JSON Web Key Set: a file, or a URL (`https:`, or `http:` on a loopback address). */
  readonly jwksFile?: string | undefined;
  readonly jwksUrl?: string | undefined;
  /** Unless told: what the secret or the public key is for; with a set RS256, ES256 and EdDSA. */
  readonly algorithms?: readonly JwtAlgorithm[] | undefined;
  /** How long a set from a URL is kept (600 000), and the least time between two fetches of it (30 000). */
  readonly jwksCacheMs?: number | undefined;
  readonly jwksCooldownMs?: number | undefined;
}

export interface Keys {
  readonly algorithms: readonly JwtAlgorithm[];
  /** Rejects with an error of jose for a token that no key fits, with a retryable ProtocolError when keys cannot be had. */
  readonly find: JWTVerifyGetKey;
}

const MIN_SECRET_BYTES = 32;
const FETCH_MS = 5000;

/** Throws TypeError with what is wrong. */
export function createKeys(options: KeyOptions): Keys {
  const { secret, publicKey, jwksFile, jwksUrl } = options;
  const sources = [secret, publicKey, jwksFile, jwksUrl].filter((source) => source !== undefined);
  if (sources.length !== 1) throw new TypeError("one of secret, publicKey, jwksFile and jwksUrl is needed");
  if (secret !== undefined) {
    const bytes = new TextEncoder().encode(secret);
    if (bytes.length < MIN_SECRET_BYTES) throw new TypeError(`secret: at least ${MIN_SECRET_BYTES} bytes`);
    return { algorithms: only(options, ["HS256"]), find: async () => bytes };
  }
  if (publicKey !== undefined) {
    const key = readPublicKey(publicKey);
    return { algorithms: only(options, [algorithmOf(key)]), find: async () => key };
  }
  // Never HS256: a set is public, and its bytes must not become a secret.
  const algorithms = only(options, ["RS256", "ES256", "EdDSA"]);
  if (jwksFile !== undefined) return { algorithms, find: createLocalJWKSet(readSet(jwksFile)) };
  return { algorithms, find: remoteSet(new URL(jwksUrl!), options) };
}

function only({ algorithms }: KeyOptions, possible: readonly JwtAlgorithm[]): readonly JwtAlgorithm[] {
  const wrong = algorithms?.find((algorithm) => !possible.includes(algorithm));
  if (wrong !== undefined) throw new TypeError(`algorithms: ${wrong} does not go with this key`);
  return algorithms === undefined || algorithms.length === 0 ? possible : algorithms;
}

function readPublicKey(text: string): KeyObject {
  try {
    if (!text.trimStart().startsWith("{")) return createPublicKey(text);
    return createPublicKey({ key: JSON.parse(text) as Record<string, string>, format: "jwk" });
  } catch {
    // What the parser says may quote the key.
    throw new TypeError("publicKey: neither PEM nor a JWK");
  }
}

function algorithmOf({ asymmetricKeyType, asymmetricKeyDetails }: KeyObject): JwtAlgorithm {
  if (asymmetricKeyType === "rsa" && (asymmetricKeyDetails?.modulusLength ?? 0) >= 2048) return "RS256";
  if (asymmetricKeyType === "ec" && asymmetricKeyDetails?.namedCurve === "prime256v1") return "ES256";
  if (asymmetricKeyType === "ed25519") return "EdDSA";
  throw new TypeError("publicKey: RSA of 2048 bits or more, P-256 or Ed25519 is needed");
}

function readSet(path: string): JSONWebKeySet {
  let set: unknown;
  try {
    set = JSON.parse(readFileSync(path, "utf8"));
  } catch (error) {
    const why = error instanceof SyntaxError ? "is no JSON" : "cannot be read";
    throw new TypeError(`jwksFile: ${path} ${why}`, { cause: error });
  }
  if (!Array.isArray((set as { keys?: unknown } | null)?.keys))
    throw new TypeError(`jwksFile: ${path} has no list of keys`);
  return set as JSONWebKeySet;
}

function remoteSet(
  url: URL,
  { jwksCacheMs = 600_000, jwksCooldownMs = 30_000 }: KeyOptions,
): JWTVerifyGetKey {
  let askedAt = -Infinity;
  const set = createRemoteJWKSet(url, {
    cacheMaxAge: jwksCacheMs,
    cooldownDuration: jwksCooldownMs,
    timeoutDuration: FETCH_MS,
    [customFetch]: (...asked) => {
      askedAt = performance.now();
      return fetch(...asked);
    },
  });
  return async (header, token) => {
    const before = askedAt;
    try {
      return await set(header, token);
    } catch (error) {
      const noKey =
        error instanceof errors.JWKSNoMatchingKey || error instanceof errors.JWKSMultipleMatchingKeys;
      // A set that was not fetched for this token may be older than its key.
      const stale = askedAt === before && set.coolingDown;
      if (noKey && !stale) throw error;
      const retryAfterMs = stale
        ? Math.max(0, Math.ceil(askedAt + jwksCooldownMs - performance.now()))
        : 1000;
      throw new ProtocolError("unavailable", "the keys for tokens cannot be had now", {
        retryAfterMs,
        cause: error,
      });
    }
  };
}
