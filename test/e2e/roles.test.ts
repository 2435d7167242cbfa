/**
 * Who may do what, over real sockets: every client frame as every kind of user, allowed, forbidden or not found as the table
 * of SPEC.md says, and what may not be read in the same words as what does not exist.
 */
import type { Role } from "../../protocol/content.ts";
import { clientFrames, type ClientFrameType } from "../../protocol/frames.ts";
import { includes, rightOf } from "../../server/auth/rights.ts";
import { Reader } from "../support/reader.ts";
import { TestServer } from "../support/server.ts";
import { assert, suite } from "../support/suite.ts";
import { Wire, type Frame } from "../support/wire.ts";
import { newSession, say } from "./play.ts";

const test = suite("roles");
let server: TestServer;

interface Kind {
  readonly role?: Role;
  readonly rights: readonly string[];
}

const KINDS: Readonly<Record<string, Kind>> = {
  stranger: { rights: [] },
  creator: { rights: ["create:*"] },
  provider: { rights: ["provide:*"] },
  watcher: { role: "viewer", rights: ["watch"] },
  viewer: { role: "viewer", rights: ["create:*"] },
  approver: { role: "approver", rights: ["create:*"] },
  editor: { role: "editor", rights: ["create:demo"] },
  guest: { role: "editor", rights: [] },
  owner: { role: "owner", rights: ["create:*"] },
  admin: { role: "owner", rights: ["admin"] },
};
/** Those who are members, not just by a right on the server. */
const MEMBERS = ["viewer", "approver", "editor", "guest", "owner"];
const tokenOf = (kind: string): string => `${kind}-secret-0123456789`;

const wires = new Map<string, Wire>();

test.before(async () => {
  const tokens = [...Object.entries(KINDS), ["founder", { rights: ["create:*"] }] as const].map(
    ([user, { rights }]) => ({ user, rights, token: tokenOf(user) }),
  );
  const agents = [{ name: "demo" }, { name: "other" }];
  server = await TestServer.start({ store: "memory", config: { auth: { mode: "token", tokens }, agents } });
  for (const { user } of tokens) wires.set(user, await enter(user));
});
test.after(() => server.kill());

const enter = (user: string): Promise<Wire> => Wire.connect(server.url, { token: tokenOf(user) });
const wireOf = (user: string): Wire => wires.get(user)!;

/** A session of the founder with a member of each role, and a run that has answered. */
async function shared(): Promise<{ session: string; run: string; input: string }> {
  const founder = wireOf("founder");
  const session = await newSession(founder, { title: "ours" });
  for (const user of MEMBERS) await founder.ok("grant", { session, user, role: KINDS[user]!.role });
  const { input } = await say(founder, session, "hello");
  const reader = Reader.fromStart(session);
  await reader.enter(founder);
  const run = await reader.runOf(input as string);
  await founder.ok("detach", { session });
  return { session, run: run.run!, input: input as string };
}

interface Names {
  readonly session: string;
  readonly run: string;
  readonly input: string;
}

interface Case {
  readonly type: ClientFrameType;
  readonly fields: (names: Names) => Frame;
  /** The names for which the frame's right is asked; undefined: none is. */
  readonly subjects?: readonly (string | undefined)[];
}

const tool = { name: "spy", inputSchema: { type: "object" } };
let minted = 0;

const CASES: readonly Case[] = [
  { type: "createSession", fields: () => ({ agent: "demo" }), subjects: ["demo"] },
  { type: "createSession", fields: () => ({ agent: "nobody" }), subjects: ["nobody"] },
  { type: "attach", fields: ({ session }) => ({ session }) },
  { type: "attach", fields: ({ session }) => ({ session, after: { epoch: 0, seq: 0 } }) },
  { type: "detach", fields: ({ session }) => ({ session }) },
  { type: "close", fields: ({ session }) => ({ session }) },
  { type: "deleteSession", fields: ({ session }) => ({ session }) },
  { type: "send", fields: ({ session }) => ({ session, key: "k", content: "hi" }) },
  { type: "send", fields: ({ session }) => ({ session, key: "k", content: "hi", agent: "demo" }) },
  {
    type: "send",
    fields: ({ session }) => ({ session, key: "k", content: "hi", agent: "other" }),
    subjects: ["other"],
  },
  { type: "editInput", fields: ({ session, input }) => ({ session, input, content: "ho" }) },
  { type: "withdrawInput", fields: ({ session, input }) => ({ session, input }) },
  { type: "orderInputs", fields: ({ session, input }) => ({ session, inputs: [input] }) },
  { type: "markRead", fields: ({ session }) => ({ session }) },
  { type: "setFloor", fields: ({ session }) => ({ session, mode: "queue" }) },
  { type: "passFloor", fields: ({ session }) => ({ session }) },
  { type: "cancel", fields: ({ session, run }) => ({ session, run }) },
  { type: "listSessions", fields: () => ({}) },
  { type: "search", fields: () => ({ text: "hi" }) },
  { type: "listRequests", fields: () => ({}) },
  { type: "listAllowances", fields: () => ({}) },
  { type: "watch", fields: () => ({ sessions: {}, requests: true }) },
  { type: "unwatch", fields: () => ({}) },
  { type: "history", fields: ({ session }) => ({ session }) },
  { type: "listAgents", fields: () => ({}) },
  { type: "listTools", fields: () => ({}) },
  { type: "listTools", fields: ({ session }) => ({ session }) },
  { type: "updateSession", fields: ({ session }) => ({ session, title: "mine" }) },
  { type: "compact", fields: ({ session }) => ({ session }) },
  { type: "fork", fields: ({ session }) => ({ session }), subjects: ["demo"] },
  { type: "retry", fields: ({ session, run }) => ({ session, run, key: "k" }) },
  {
    type: "offerTools",
    fields: () => ({ tools: [{ ...tool, name: `spy_${minted++}` }] }),
    subjects: ["spy_"],
  },
  { type: "offerTools", fields: ({ session }) => ({ session, tools: [tool] }) },
  { type: "withdrawTools", fields: () => ({ names: ["nothing"] }) },
  { type: "drain", fields: () => ({}) },
  { type: "drainProvider", fields: () => ({ provider: "prv_none" }), subjects: [undefined] },
  { type: "answer", fields: ({ session }) => ({ session, request: "req_1", decision: "approve" }) },
  { type: "forget", fields: ({ session }) => ({ session, allowance: "alw_1" }) },
  { type: "grant", fields: ({ session }) => ({ session, user: "eve", role: "viewer" }) },
  { type: "revoke", fields: ({ session }) => ({ session, user: "viewer" }) },
  { type: "revoke", fields: ({ session }) => ({ session, user: "approver" }) },
  { type: "revoke", fields: ({ session }) => ({ session, user: "guest" }) },
  { type: "invite", fields: ({ session }) => ({ session, role: "viewer" }) },
  { type: "revokeInvite", fields: ({ session }) => ({ session, invite: "inv_1" }) },
  { type: "join", fields: () => ({ token: "ses_1.inv_1.secret" }) },
  { type: "setPresence", fields: ({ session }) => ({ session, typing: true }) },
  { type: "refreshToken", fields: () => ({ token: "none" }) },
  { type: "usage", fields: () => ({}) },
  { type: "backup", fields: () => ({}), subjects: [undefined] },
  {
    type: "importEntries",
    fields: () => ({ session: `import_${minted++}`, after: 0, entries: [] }),
    subjects: [undefined],
  },
  { type: "putAgent", fields: () => ({ agent: { name: "put" } }), subjects: [undefined] },
  { type: "removeAgent", fields: () => ({ name: "put" }), subjects: [undefined] },
];

type Verdict = "allowed" | "forbidden" | "not-found";

function expected({ type, subjects = [] }: Case, fields: Frame, kind: string): Verdict {
  const { role, rights } = KINDS[kind]!;
  const { roles, ownRoles, right } = rightOf(type);
  if (roles !== undefined && fields["session"] !== undefined) {
    if (role === undefined) return "not-found";
    const needed = (fields["user"] === kind ? ownRoles : undefined) ?? roles;
    if (!needed.some((one) => includes(role, one))) return "forbidden";
  }
  const held = (name: string | undefined): boolean =>
    rights.includes("admin") ||
    (name === undefined ? rights.includes(right!) : rights.some((own) => covers(own, `${right}:${name}`)));
  return right === undefined || subjects.every(held) ? "allowed" : "forbidden";
}

function covers(glob: string, text: string): boolean {
  return glob.endsWith("*") ? text.startsWith(glob.slice(0, -1)) : glob === text;
}

/** The answer without what names its request and its session. */
function words(answer: Frame, ...names: string[]): string {
  const { id: _, ...rest } = answer;
  return names.reduce((text, name) => text.replaceAll(name, "…"), JSON.stringify(rest));
}

test("every request has a case", () => {
  const asked = new Set<string>(CASES.map(({ type }) => type));
  const notices = ["hello", "pong", "callAccepted", "callProgress", "callResult"];
  assert.equal([...asked, ...notices].toSorted(), Object.keys(clientFrames).toSorted());
});

for (const kind of Object.keys(KINDS)) {
  test(`a ${kind} may what the table says`, async () => {
    for (const item of CASES) {
      const names = await shared();
      const fields = item.fields(names);
      const answer = await wireOf(kind).request(item.type, fields);
      const what = `${item.type} ${JSON.stringify(fields)} by ${kind}: ${JSON.stringify(answer)}`;
      const none = { session: "ses_00000000000000000000000000", run: "run_none", input: "msg_none" };
      const missing = { code: "not-found", message: `no session ${names.session}` };
      const isMissing = answer["code"] === missing.code && answer["message"] === missing.message;
      const verdict = isMissing ? "not-found" : answer["code"] === "forbidden" ? "forbidden" : "allowed";
      assert.is(verdict, expected(item, fields, kind), what);
      if (verdict !== "not-found") continue;
      const nothing = await wireOf(kind).request(item.type, item.fields(none));
      assert.is(words(answer, ...Object.values(names)), words(nothing, ...Object.values(none)), what);
    }
    wireOf(kind).cut();
    wires.set(kind, await enter(kind));
  });
}

test.run();
