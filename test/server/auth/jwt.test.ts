/**
 * JSON Web Tokens: which are taken, by every kind of key, and that each way of forging, stretching or reusing one is
 * refused. Tokens are signed by real keys; key sets come from a file and from a real issuer on loopback.
 */
import { createHmac } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { ProtocolError } from "../../../protocol/errors.ts";
import { Authenticator } from "../../../server/auth/authenticator.ts";
import type { Account } from "../../../server/auth/identity.ts";
import type { JwtOptions } from "../../../server/auth/jwt.ts";
import { temporaryDirectory } from "../../support/process.ts";
import { assert, suite } from "../../support/suite.ts";
import { until } from "../../support/wait.ts";
import { AUDIENCE, Issuer, ISSUER, jwkOf, newPair, pem, SECRET, sign, type Pair } from "./issuer.ts";

const test = suite("jwt");
const issuers: Issuer[] = [];
test.after(() => issuers.forEach((issuer) => issuer.stop()));

const rsa = newPair("RS256");
const ec = newPair("ES256");
const ed = newPair("EdDSA");

const REQUEST = { address: "", secure: false, host: undefined, origin: undefined, url: "/ws", headers: {} };

function taking(options: JwtOptions): (token: string) => Promise<Account> {
  const authenticator = new Authenticator({ mode: "jwt", ...options });
  return (token) => authenticator.authenticate({ type: "hello", protocol: 1, token }, REQUEST);
}

async function refusal(answer: Promise<Account>): Promise<ProtocolError> {
  const error = await assert.rejects(answer, ProtocolError);
  return error;
}

async function isRefused(answer: Promise<Account>, what: string): Promise<void> {
  const { code, message, details } = await refusal(answer);
  assert.equal([code, message, details], ["unauthenticated", "the token is not valid", undefined], what);
}

async function issuerOf(...keys: [Pair, string][]): Promise<Issuer> {
  const issuer = await Issuer.start(await Promise.all(keys.map(([pair, kid]) => jwkOf(pair, kid))));
  issuers.push(issuer);
  return issuer;
}

const remote = (issuer: Issuer, more: JwtOptions = {}): JwtOptions => ({
  jwksUrl: issuer.url,
  issuer: ISSUER,
  audience: AUDIENCE,
  ...more,
});

test("HS256 by a secret, RS256, ES256 and EdDSA by a public key, in PEM and as a JWK", async () => {
  assert.is((await taking({ secret: SECRET })(await sign(SECRET))).user.id, "ann");
  for (const pair of [rsa, ec, ed]) {
    const token = await sign(pair);
    assert.is((await taking({ publicKey: pem(pair) })(token)).user.id, "ann", pair.algorithm);
    const jwk = JSON.stringify(await jwkOf(pair));
    assert.is((await taking({ publicKey: jwk })(token)).user.id, "ann", `${pair.algorithm} as a JWK`);
  }
});

test("the claims become user, name, rights and expiry", async () => {
  const take = taking({ secret: SECRET, clockSkewMs: 0 });
  const exp = Math.floor(Date.now() / 1000) + 500;
  const claims = { exp, name: "Ann", rights: ["provide:a*", "nonsense", 5, "watch"] };
  const { credential, ...account } = await take(await sign(SECRET, claims));
  assert.equal(account, {
    user: { id: "ann", name: "Ann" },
    verified: true,
    rights: ["provide:a*", "watch"],
    expiresAt: exp * 1000,
  });
  assert.type(credential, "string");
  const words = await take(await sign(SECRET, { rights: "openid watch create:x" }));
  assert.equal([words.rights, words.user.name], [["watch", "create:x"], "ann"]);
  assert.equal((await take(await sign(SECRET))).rights, ["create:*"], "none given");
  assert.equal((await take(await sign(SECRET, { rights: { admin: true } }))).rights, [], "of another kind");
});

test("other names of claims, and other default rights, can be set", async () => {
  const take = taking({
    secret: SECRET,
    claims: { user: "email", name: "given_name", rights: "scope" },
    rights: ["watch"],
  });
  const { user, rights } = await take(
    await sign(SECRET, { email: "a@example", given_name: "A", rights: ["admin"] }),
  );
  assert.equal([user, rights], [{ id: "a@example", name: "A" }, ["watch"]]);
  await isRefused(take(await sign(SECRET)), "without the claim of the user");
});

test("a token that nobody signed, with algorithm none, is refused by every kind of key", async () => {
  const encode = (value: object): string => Buffer.from(JSON.stringify(value)).toString("base64url");
  const payload = encode({ sub: "ann", exp: Math.floor(Date.now() / 1000) + 60 });
  for (const alg of ["none", "None", "NONE", ""]) {
    for (const forged of [`${encode({ alg })}.${payload}.`, `${encode({ alg })}.${payload}.AAAA`]) {
      await isRefused(taking({ secret: SECRET })(forged), alg);
      await isRefused(taking({ publicKey: pem(rsa) })(forged), alg);
    }
  }
});

test("a public key is no secret: HS256 signed with its bytes is refused", async () => {
  const encode = (value: object): string => Buffer.from(JSON.stringify(value)).toString("base64url");
  const body = `${encode({ alg: "HS256", kid: "1" })}.${encode({ sub: "root", exp: 4e9, iss: ISSUER, aud: AUDIENCE, rights: ["admin"] })}`;
  const issuer = await issuerOf([rsa, "1"]);
  for (const key of [pem(rsa), pem(rsa).trim(), JSON.stringify(await jwkOf(rsa))]) {
    const forged = `${body}.${createHmac("sha256", key).update(body).digest("base64url")}`;
    await isRefused(taking({ publicKey: pem(rsa) })(forged), "by a public key");
    await isRefused(taking(remote(issuer))(forged), "by a key set");
  }
  assert.throws(
    () => taking({ publicKey: pem(rsa), algorithms: ["HS256"] }),
    /HS256 does not go with this key/,
  );
  assert.throws(() => taking(remote(issuer, { algorithms: ["RS256", "HS256"] })), /HS256 does not go/);
});

test("a secret that stands in a public key set signs nothing", async () => {
  const issuer = await issuerOf([rsa, "1"]);
  const k = Buffer.from(SECRET).toString("base64url");
  issuer.keys.push({ kty: "oct", kid: "oct", alg: "HS256", k });
  await isRefused(taking(remote(issuer))(await sign(SECRET, {}, "oct")), "by oct");
});

test("only algorithms of the list are taken, although the key set has others", async () => {
  const issuer = await issuerOf([rsa, "r"], [ec, "e"]);
  const take = taking(remote(issuer, { algorithms: ["ES256"] }));
  assert.is((await take(await sign(ec, {}, "e"))).user.id, "ann");
  await isRefused(take(await sign(rsa, {}, "r")), "RS256");
});

test("a token of another key, a changed one and what is none are refused", async () => {
  const take = taking({ publicKey: pem(ec) });
  const good = await sign(ec);
  const [header, , signature] = good.split(".");
  const payload = Buffer.from(JSON.stringify({ sub: "root", exp: 4e9 })).toString("base64url");
  await isRefused(take(await sign(newPair("ES256"))), "another key");
  await isRefused(take(`${header}.${payload}.${signature}`), "another payload");
  for (const junk of ["", ".", "..", "a.b.c", good.slice(0, -4), `${good}.x`, "x".repeat(8192)])
    await isRefused(take(junk), junk.slice(0, 40));
});

test("expired is told from invalid; the clock may be off by the skew and no more; exp must be there", async () => {
  const take = taking({ secret: SECRET, clockSkewMs: 10_000 });
  const { code, details } = await refusal(take(await sign(SECRET, { lasts: -60 })));
  assert.equal([code, details], ["unauthenticated", { reason: "expired" }]);
  assert.is((await take(await sign(SECRET, { lasts: -5 }))).user.id, "ann", "within the skew");
  await isRefused(take(await sign(SECRET, { lasts: null })), "no exp");
  const now = Math.floor(Date.now() / 1000);
  await isRefused(take(await sign(SECRET, { nbf: now + 60 })), "not yet");
  assert.is((await take(await sign(SECRET, { nbf: now + 5 }))).user.id, "ann");
  // Signed by a stranger, an old token says nothing of its age.
  await isRefused(take(await sign(`${SECRET}x`, { lasts: -60 })), "expired and forged");
});

test("issuer and audience must be the ones that are set", async () => {
  const take = taking({ secret: SECRET, issuer: ISSUER, audience: AUDIENCE });
  assert.is((await take(await sign(SECRET, { aud: ["other", AUDIENCE] }))).user.id, "ann");
  await isRefused(take(await sign(SECRET, { iss: "https://login.example" })), "issuer");
  await isRefused(take(await sign(SECRET, { aud: "other" })), "audience");
});

test("a user that cannot be one is refused", async () => {
  const take = taking({ secret: SECRET });
  for (const sub of ["", "__proto__", "x".repeat(129), 7, ["ann"], { id: "ann" }])
    await isRefused(take(await sign(SECRET, { sub: sub as string })), JSON.stringify(sub));
});

test("a key set is fetched once for many, and again when a new key turns up", async () => {
  const [old, young] = [newPair("ES256"), newPair("EdDSA")];
  const issuer = await issuerOf([old, "1"]);
  const take = taking(remote(issuer, { jwksCooldownMs: 0 }));
  const tokens = await Promise.all(Array.from({ length: 20 }, () => sign(old, {}, "1")));
  assert.is((await Promise.all(tokens.map(take))).length, 20);
  assert.is(issuer.fetches, 1);
  issuer.keys = [await jwkOf(young, "2")];
  assert.is((await take(await sign(young, {}, "2"))).user.id, "ann");
  assert.is(issuer.fetches, 2);
  await isRefused(take(tokens[0]!), "signed by a key that has left the set");
  await isRefused(take(await sign(young, {}, "3")), "a key that there never was");
});

test("keys that nobody has cannot make it ask without pause: meanwhile it says to come back", async () => {
  const issuer = await issuerOf([ec, "1"]);
  const take = taking(remote(issuer, { jwksCooldownMs: 300 }));
  await take(await sign(ec, {}, "1"));
  const young = newPair("ES256");
  for (let at = 0; at < 10; at++) {
    const { code, retryable, retryAfterMs } = await refusal(take(await sign(young, {}, `guess-${at}`)));
    assert.equal([code, retryable], ["unavailable", true]);
    assert.ok(retryAfterMs! <= 300, `${retryAfterMs}`);
  }
  assert.is(issuer.fetches, 1);
  issuer.keys = [await jwkOf(young, "2")];
  const found = await until(async () => take(await sign(young, {}, "2")), 5000, "the new key");
  assert.is(found.user.id, "ann");
  assert.is(issuer.fetches, 2);
});

test("an issuer that does not answer is a reason to come back, not a wrong token", async () => {
  const issuer = await issuerOf([ec, "1"]);
  const take = taking(remote(issuer, { jwksCooldownMs: 0, jwksCacheMs: 0 }));
  const token = await sign(ec, {}, "1");
  issuer.status = 500;
  assert.is((await refusal(take(token))).code, "unavailable");
  issuer.status = 200;
  assert.is((await take(token)).user.id, "ann");
  issuer.stop();
  const { code, retryable, message } = await refusal(take(token));
  assert.equal([code, retryable, message], ["unavailable", true, "the keys for tokens cannot be had now"]);
});

test("a key set in a file holds until it is read again", async () => {
  const path = join(temporaryDirectory(), "keys.json");
  const put = async (...pairs: Pair[]): Promise<void> =>
    writeFileSync(path, JSON.stringify({ keys: await Promise.all(pairs.map((pair) => jwkOf(pair))) }));
  await put(ec, rsa);
  const options = { mode: "jwt", jwksFile: path } as const;
  const authenticator = new Authenticator(options);
  const take = (token: string): Promise<Account> =>
    authenticator.authenticate({ type: "hello", protocol: 1, token }, REQUEST);
  assert.is((await take(await sign(ec))).user.id, "ann");
  assert.is((await take(await sign(rsa))).user.id, "ann");
  await put(rsa);
  authenticator.reload(options);
  await isRefused(take(await sign(ec)), "its key has left the file");
  assert.is((await take(await sign(rsa))).user.id, "ann");
});

test("another secret, issuer or audience: who came by the old one does not count any more", async () => {
  const authenticator = new Authenticator({ mode: "jwt", secret: SECRET });
  const hello = { type: "hello", protocol: 1, token: await sign(SECRET) } as const;
  const account = await authenticator.authenticate(hello, REQUEST);
  authenticator.reload({ mode: "jwt", secret: SECRET, clockSkewMs: 1 });
  assert.is(authenticator.review(account), account);
  authenticator.reload({ mode: "jwt", secret: SECRET, issuer: ISSUER });
  assert.is(authenticator.review(account), undefined);
  authenticator.reload({ mode: "jwt", secret: `${SECRET}!` });
  assert.is(authenticator.review(account), undefined);
  await isRefused(authenticator.authenticate(hello, REQUEST), "signed by the old secret");
});

test("tokens of a list may stand beside", async () => {
  const tokens = [{ token: "for a program", user: "job", rights: ["provide:*"] }];
  const authenticator = new Authenticator({ mode: "jwt", secret: SECRET, tokens });
  const take = (token: string): Promise<Account> =>
    authenticator.authenticate({ type: "hello", protocol: 1, token }, REQUEST);
  const job = await take("for a program");
  assert.equal([job.user.id, job.rights, job.expiresAt], ["job", ["provide:*"], undefined]);
  const ann = await take(await sign(SECRET));
  assert.is(ann.user.id, "ann");
  await isRefused(take("for another"), "neither");
  authenticator.reload({ mode: "jwt", secret: SECRET, tokens: [] });
  assert.equal([authenticator.review(job), authenticator.review(ann)], [undefined, ann]);
});

const wrong: Record<string, [JwtOptions, RegExp]> = {
  "no key": [{}, /one of secret, publicKey, jwksFile and jwksUrl is needed/],
  "two keys": [{ secret: SECRET, publicKey: "x" }, /one of secret/],
  "a short secret": [{ secret: "x".repeat(31) }, /secret: at least 32 bytes/],
  "a key that is none": [{ publicKey: "-----BEGIN secret" }, /^publicKey: neither PEM nor a JWK$/],
  "a key set without issuer": [{ jwksUrl: "https://x/", audience: "a" }, /issuer and audience are needed/],
  "a key set without audience": [{ jwksUrl: "https://x/", issuer: "a" }, /issuer and audience are needed/],
  "a file that is not there": [{ jwksFile: "/nowhere/x" }, /jwksFile: \/nowhere\/x cannot be read/],
  "an algorithm of another key": [{ secret: SECRET, algorithms: ["RS256"] }, /RS256 does not go/],
};
for (const [what, [options, why]] of Object.entries(wrong)) {
  test(`${what} is an error of the settings`, () => {
    assert.throws(
      () => new Authenticator({ mode: "jwt", ...options }),
      (error: Error) => error instanceof TypeError && why.test(error.message),
    );
  });
}

test.run();
