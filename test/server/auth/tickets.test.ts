/**
 * One-time tickets: each counts once, for a short time, for one user; their number is bounded; and a ticket is worth no
 * more than the token that it was made of.
 */
import { ProtocolError } from "../../../protocol/errors.ts";
import { Authenticator } from "../../../server/auth/authenticator.ts";
import type { Account } from "../../../server/auth/identity.ts";
import { Tickets } from "../../../server/auth/tickets.ts";
import { assert, suite } from "../../support/suite.ts";
import { SECRET, sign } from "./issuer.ts";

const test = suite("tickets");
const REQUEST = { address: "", secure: false, host: undefined, origin: undefined, url: "/", headers: {} };
const account = (id: string): Account => ({ user: { id, name: id }, verified: true, rights: [] });
const code = async (answer: Promise<unknown>): Promise<string> =>
  (await assert.rejects(answer, ProtocolError)).code;

test("a ticket counts once", () => {
  const tickets = new Tickets();
  const { ticket } = tickets.issue(account("ann"));
  assert.match(ticket, /^tkt_[\w-]{43}$/);
  assert.equal(tickets.redeem(ticket), account("ann"));
  const replay = (() => {
    try {
      return tickets.redeem(ticket);
    } catch (error) {
      return error as ProtocolError;
    }
  })() as ProtocolError;
  assert.equal([replay.code, replay.details], ["unauthenticated", { reason: "expired" }]);
  assert.is(tickets.size, 0);
});

test("a ticket is good until its time is over, and then forgotten", () => {
  let now = 1000;
  const tickets = new Tickets({ now: () => now });
  const first = tickets.issue(account("ann"));
  assert.is(first.expiresAt, 31_000);
  now = 30_999;
  const second = tickets.issue(account("ann"));
  assert.is(tickets.redeem(first.ticket).user.id, "ann");
  now = second.expiresAt;
  assert.throws(() => tickets.redeem(second.ticket), /not valid/);
  assert.is(tickets.size, 0);
});

test("unused tickets are bounded, in all and for each user, and their number comes back", () => {
  let now = 0;
  const tickets = new Tickets({ maxTickets: 5, maxTicketsPerUser: 2, now: () => now });
  const refused = (id: string): number | undefined => {
    try {
      tickets.issue(account(id));
      return undefined;
    } catch (error) {
      assert.is((error as ProtocolError).code, "rate-limited");
      return (error as ProtocolError).retryAfterMs;
    }
  };
  const { ticket } = tickets.issue(account("ann"));
  tickets.issue(account("ann"));
  assert.is(refused("ann"), 30_000);
  for (const id of ["bob", "bob", "cid"]) assert.is(refused(id), undefined);
  assert.is(refused("dan"), 30_000, "the sixth");
  tickets.redeem(ticket);
  assert.is(refused("ann"), undefined);
  now = 30_000;
  for (const id of ["ann", "ann", "bob", "cid", "cid"]) assert.is(refused(id), undefined);
});

test("a ticket stands for its user in one hello, with the rights and the expiry of the token", async () => {
  const authenticator = new Authenticator({ mode: "jwt", secret: SECRET });
  const token = await sign(SECRET, { rights: ["watch"] });
  const { ticket } = await authenticator.issueTicket(token, REQUEST);
  const hello = { type: "hello", protocol: 1, token: ticket } as const;
  const direct = await authenticator.authenticate({ ...hello, token }, REQUEST);
  assert.equal(await authenticator.authenticate(hello, REQUEST), direct);
  assert.is(await code(authenticator.authenticate(hello, REQUEST)), "unauthenticated", "the second time");
});

test("a ticket of a token that was taken back meanwhile, or has expired, is refused", async () => {
  const tokens = [{ token: "a", user: "ann" }];
  const list = new Authenticator({ mode: "token", tokens });
  const { ticket } = await list.issueTicket("a", REQUEST);
  list.reload({ mode: "token", tokens: [{ token: "b", user: "ann" }] });
  assert.is(
    await code(list.authenticate({ type: "hello", protocol: 1, token: ticket }, REQUEST)),
    "unauthenticated",
  );

  let now = Date.now();
  const jwt = new Authenticator({ mode: "jwt", secret: SECRET, clockSkewMs: 0 }, { now: () => now });
  const late = await jwt.issueTicket(await sign(SECRET, { lasts: 10 }), REQUEST);
  now += 15_000;
  assert.is(
    await code(jwt.authenticate({ type: "hello", protocol: 1, token: late.ticket }, REQUEST)),
    "unauthenticated",
  );
});

test("a ticket makes no ticket, and no token makes none either", async () => {
  const authenticator = new Authenticator({ mode: "token", tokens: [{ token: "a", user: "ann" }] });
  const { ticket } = await authenticator.issueTicket("a", REQUEST);
  for (const shown of [ticket, undefined, "b", ""])
    assert.is(await code(authenticator.issueTicket(shown, REQUEST)), "unauthenticated", shown);
  const hello = { type: "hello", protocol: 1, token: ticket } as const;
  assert.is((await authenticator.authenticate(hello, REQUEST)).user.id, "ann", "it was not used up");
});

test.run();
