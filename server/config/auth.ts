/**
 * The settings of authentication: modes, tokens, JWT. Owns their shape and what goes with what; whether a key can be read
 * is found by the server.
 */
import { z } from "zod";
import { RIGHT_PATTERN } from "../auth/identity.ts";
import { JWT_ALGORITHMS } from "../auth/keys.ts";

const text = z.string().min(1);
const rights = z.array(z.string().regex(RIGHT_PATTERN, "admin, watch, create:<glob> or provide:<glob>"));

const token = z
  .strictObject({
    token: text.max(8192).optional(),
    sha256: z
      .string()
      .regex(/^[0-9a-fA-F]{64}$/, "64 hexadecimal digits")
      .optional(),
    user: text.max(128),
    name: text.max(256).optional(),
    rights: rights.optional(),
  })
  .refine(
    (value) => (value.token === undefined) !== (value.sha256 === undefined),
    "either token or sha256 is needed",
  );

const jwt = z.strictObject({
  /** One of these four says where the keys are. */
  secret: text.optional(),
  publicKey: text.optional(),
  jwksFile: text.optional(),
  jwksUrl: z
    .string()
    .regex(
      /^(?:https:\/\/|http:\/\/(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])(?=[:/]))/,
      "https:, or http: on a loopback address",
    )
    .optional(),
  algorithms: z.array(z.enum(JWT_ALGORITHMS)).min(1).optional(),
  issuer: text.optional(),
  audience: text.optional(),
  clockSkewMs: z.int().min(0).max(600_000).optional(),
  claims: z
    .strictObject({ user: text.optional(), name: text.optional(), rights: text.optional() })
    .optional(),
  rights: rights.optional(),
  jwksCacheMs: z.int().min(0).optional(),
  jwksCooldownMs: z.int().min(0).optional(),
});

export const auth = z
  .strictObject({
    mode: z.enum(["none", "token", "jwt"]),
    tokens: z.array(token).optional(),
    jwt: jwt.optional(),
    /** With mode `none`: bind an address that others can reach all the same. */
    open: z.boolean().optional(),
  })
  .refine((value) => value.mode !== "token" || (value.tokens ?? []).length > 0, {
    path: ["tokens"],
    message: "mode token needs at least one token",
  })
  .refine((value) => value.mode !== "none" || value.tokens === undefined, {
    path: ["tokens"],
    message: 'tokens are of no use with mode "none"',
  })
  .refine((value) => (value.mode === "jwt") === (value.jwt !== undefined), {
    path: ["jwt"],
    message: "needed with mode jwt, and only there",
  })
  .refine((value) => value.mode === "none" || value.open === undefined, {
    path: ["open"],
    message: 'of use with mode "none" only',
  });
