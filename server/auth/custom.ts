/**
 * A program's own way of telling who somebody is. Owns the shape of what it answers and what becomes of its faults: an
 * error that is no ProtocolError is told to nobody but the log.
 */
import { ProtocolError } from "../../protocol/errors.ts";
import { DEFAULT_RIGHTS, isUserId, RIGHT_PATTERN, type Account } from "./identity.ts";
import type { ClientRequest, Hello, Method } from "./method.ts";

/** Whom a program's own check found. */
export interface AuthenticatedUser {
  /** 1–128 characters. */
  readonly id: string;
  /** At most 256 characters; the id unless given. */
  readonly name?: string | undefined;
  /** `create:*` unless given. */
  readonly rights?: readonly string[] | undefined;
  /** When the user must show something new, ms since 1970; never unless given. */
  readonly expiresAt?: number | undefined;
}

/**
 * Called for each hello, each `refreshToken` and each `POST /ticket` (whose `hello` has the token of the Authorization
 * header), with the request that opened the connection. Nothing, or an error, is `unauthenticated`; a ProtocolError is
 * passed on: `forbidden` for good, a retryable one for now.
 */
export type Authenticate = (
  request: ClientRequest,
  hello: Hello,
) => AuthenticatedUser | null | undefined | Promise<AuthenticatedUser | null | undefined>;

export function customMethod(authenticate: Authenticate, failed: (error: unknown) => void): Method {
  return {
    mode: "custom",
    async prove(hello, request) {
      try {
        const user = await authenticate(request, hello);
        if (user) return accountOf(user);
      } catch (error) {
        if (error instanceof ProtocolError) throw error;
        failed(error);
      }
      throw new ProtocolError("unauthenticated", "not authenticated");
    },
    review: (account) => account,
  };
}

function accountOf({ id, name = id, rights = DEFAULT_RIGHTS, expiresAt }: AuthenticatedUser): Account {
  if (!isUserId(id)) throw new TypeError("authenticate: id is a string of 1 to 128 characters");
  if (typeof name !== "string" || name.length > 256)
    throw new TypeError("authenticate: name is a string ≤ 256");
  if (!Array.isArray(rights) || !rights.every((right) => RIGHT_PATTERN.test(right as string)))
    throw new TypeError("authenticate: rights are admin, watch, create:<glob>, provide:<glob>");
  if (expiresAt !== undefined && !Number.isFinite(expiresAt))
    throw new TypeError("authenticate: expiresAt is a time in ms");
  return {
    user: { id, name: name.toWellFormed() },
    verified: true,
    rights,
    ...(expiresAt === undefined ? {} : { expiresAt }),
  };
}
