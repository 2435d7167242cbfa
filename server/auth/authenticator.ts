/**
 * Turns a hello into an account by the auth mode of the settings, which may change while connections are open. Owns the
 * choice of the method and the tickets beside it; never logs a token and never closes a connection.
 */
import { ProtocolError } from "../../protocol/errors.ts";
import { customMethod, type Authenticate } from "./custom.ts";
import type { Account, Identity } from "./identity.ts";
import { jwtMethod, type JwtOptions } from "./jwt.ts";
import { expired, requireToken, type ClientRequest, type Hello, type Method } from "./method.ts";
import { TICKET_PREFIX, Tickets, type Ticket, type TicketOptions } from "./tickets.ts";
import { tokenMethod, trustEveryone, type TokenGrant } from "./tokens.ts";

/**
 * `none`: everyone is who they say they are and holds every right; only for addresses that others cannot reach.
 * `token`: a hello must carry one of the tokens. `jwt`: one of the tokens, or one that a trusted issuer signed. `custom`: a
 * function decides.
 */
export type AuthOptions =
  | { readonly mode: "none" }
  | { readonly mode: "token"; readonly tokens: readonly TokenGrant[] }
  | ({ readonly mode: "jwt"; readonly tokens?: readonly TokenGrant[] | undefined } & JwtOptions)
  | {
      readonly mode: "custom";
      readonly authenticate: Authenticate;
      /** Told what `authenticate` throws that is no ProtocolError. */
      readonly failed?: (error: unknown) => void;
    };

export class Authenticator {
  readonly #tickets: Tickets;
  readonly #now: () => number;
  #method: Method;

  /** Throws TypeError with what is wrong. */
  constructor(auth: AuthOptions, options: TicketOptions = {}) {
    this.#method = methodOf(auth);
    this.#tickets = new Tickets(options);
    this.#now = options.now ?? Date.now;
  }

  get mode(): Method["mode"] {
    return this.#method.mode;
  }

  /** Takes other settings. Throws TypeError with what is wrong, and goes on as before. */
  reload(auth: AuthOptions): void {
    this.#method = methodOf(auth);
  }

  /** Rejects with ProtocolError, see Method.prove. */
  async authenticate(hello: Hello, request: ClientRequest): Promise<Account> {
    const { token } = hello;
    const byTicket = this.mode !== "none" && token?.startsWith(TICKET_PREFIX) === true;
    if (!byTicket) return this.#stillGood(await this.#method.prove(hello, request));
    return this.#stillGood(this.review(this.#tickets.redeem(token)));
  }

  /** What a token that is shown later on makes of an identity. Rejects with `forbidden` if it is another user's. */
  async refresh(token: string, identity: Identity, request: ClientRequest): Promise<Account> {
    if (this.mode === "none") return identity;
    const hello = { type: "hello", protocol: 1, token, instance: identity.instance } as const;
    const account = await this.authenticate(hello, request);
    if (account.user.id !== identity.user.id)
      throw new ProtocolError("forbidden", "this token is another user's");
    return account;
  }

  /** The account as the settings have it now, undefined when what it was proved by does not count any more. */
  review(account: Account): Account | undefined {
    return this.#method.review(account);
  }

  /** A ticket for whom the token stands for. Rejects as `authenticate` does, or with `rate-limited`. */
  async issueTicket(token: string | undefined, request: ClientRequest): Promise<Ticket> {
    return this.#tickets.issue(await this.identifyRequest(token, request));
  }

  /** Whom a plain HTTP request stands for. A ticket is no token here: it would make tickets of itself. */
  async identifyRequest(token: string | undefined, request: ClientRequest): Promise<Account> {
    const hello: Hello = { type: "hello", protocol: 1, ...(token === undefined ? {} : { token }) };
    if (this.mode !== "custom" && requireToken(hello).startsWith(TICKET_PREFIX))
      throw new ProtocolError("unauthenticated", "a ticket is for one hello");
    return this.#stillGood(await this.#method.prove(hello, request));
  }

  #stillGood(account: Account | undefined): Account {
    if (account === undefined || (account.expiresAt ?? Infinity) <= this.#now())
      throw expired("what was shown is not good any more");
    return account;
  }
}

function methodOf(auth: AuthOptions): Method {
  switch (auth.mode) {
    case "none":
      return trustEveryone;
    case "token":
      return tokenMethod(auth.tokens);
    case "jwt":
      return auth.tokens === undefined ? jwtMethod(auth) : either(tokenMethod(auth.tokens), jwtMethod(auth));
    case "custom":
      return customMethod(auth.authenticate, auth.failed ?? (() => undefined));
  }
}

/** What is none of the first kind is of the second. */
function either(first: Method, second: Method): Method {
  return {
    mode: second.mode,
    prove: (hello, request) =>
      first.prove(hello, request).catch((error: unknown) => {
        if (error instanceof ProtocolError && error.code === "unauthenticated")
          return second.prove(hello, request);
        throw error;
      }),
    review: (account) => first.review(account) ?? second.review(account),
  };
}
