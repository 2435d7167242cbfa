/**
 * An issuer of JSON Web Tokens for tests: keys of every kind, tokens signed with them, and its key set behind a URL on
 * loopback, which can be changed, counted and made to fail. Knows nothing of the server.
 */
import { generateKeyPairSync, type KeyObject } from "node:crypto";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { exportJWK, SignJWT, type JWK, type JWTPayload } from "jose";

export const SECRET = "0123456789abcdef0123456789abcdef";
export const ISSUER = "https://login.example/";
export const AUDIENCE = "haulout";

export interface Pair {
  readonly algorithm: "RS256" | "ES256" | "EdDSA";
  readonly publicKey: KeyObject;
  readonly privateKey: KeyObject;
}

export function newPair(algorithm: Pair["algorithm"]): Pair {
  if (algorithm === "RS256") return { algorithm, ...generateKeyPairSync("rsa", { modulusLength: 2048 }) };
  if (algorithm === "ES256") return { algorithm, ...generateKeyPairSync("ec", { namedCurve: "P-256" }) };
  return { algorithm, ...generateKeyPairSync("ed25519") };
}

export const pem = ({ publicKey }: Pair): string =>
  publicKey.export({ type: "spki", format: "pem" }).toString();

export interface Claims extends JWTPayload {
  /** Seconds from now; one minute unless told, null for none. */
  readonly lasts?: number | null;
}

/** A token of ann's, unless the claims say otherwise. `key` is a pair, or a secret for HS256. */
export function sign(
  key: Pair | string,
  { lasts = 60, ...claims }: Claims = {},
  kid?: string,
): Promise<string> {
  const now = Math.floor(Date.now() / 1000);
  const alg = typeof key === "string" ? "HS256" : key.algorithm;
  const token = new SignJWT({
    sub: "ann",
    iss: ISSUER,
    aud: AUDIENCE,
    ...(lasts === null ? {} : { exp: now + lasts }),
    ...claims,
  }).setProtectedHeader({ alg, ...(kid === undefined ? {} : { kid }) });
  return token.sign(typeof key === "string" ? new TextEncoder().encode(key) : key.privateKey);
}

export async function jwkOf({ publicKey }: Pair, kid?: string): Promise<JWK> {
  return { ...(await exportJWK(publicKey)), ...(kid === undefined ? {} : { kid }) };
}

export class Issuer {
  /** What its URL answers. */
  keys: JWK[] = [];
  /** The status of its answers. */
  status = 200;
  fetches = 0;
  readonly #server = createServer((_, response) => {
    this.fetches++;
    response.writeHead(this.status, { "content-type": "application/json" });
    response.end(JSON.stringify({ keys: this.keys }));
  });

  static async start(keys: JWK[] = []): Promise<Issuer> {
    const issuer = new Issuer();
    issuer.keys = keys;
    await new Promise<void>((resolve) => issuer.#server.listen(0, "127.0.0.1", resolve));
    return issuer;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/jwks.json`;
  }

  stop(): void {
    this.#server.closeAllConnections();
    this.#server.close();
  }
}
