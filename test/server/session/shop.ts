/**
 * A shop in one process: a tool `pay` that counts what it was called with, a session of ada with members, a clock that the
 * test moves, and the ways to be asked and to be refused. Owns no assertion.
 */
import type { ApprovalRule, JsonValue, Role } from "../../../protocol/content.ts";
import type { EntryBodyOf } from "../../../protocol/entries.ts";
import type { ProtocolError } from "../../../protocol/errors.ts";
import type { Caller } from "../../../server/session/access.ts";
import type { LocalTool } from "../../../server/tool/local.ts";
import {
  actor,
  bodiesOf,
  Clock,
  script,
  startRuntime,
  type RuntimeSetup,
  type TestRuntime,
} from "../../support/runtime.ts";

export const ASKED = script({ calls: [{ tool: "pay", input: { amount: 5 } }] }, { text: "done" });

export interface Till extends LocalTool {
  readonly paid: JsonValue[];
}

/** A tool that counts what it was called with. */
export function till(approval?: ApprovalRule, name = "pay"): Till {
  const paid: JsonValue[] = [];
  return {
    name,
    inputSchema: { type: "object", properties: { amount: { type: "integer" } }, required: ["amount"] },
    ...(approval === undefined ? {} : { approval }),
    execute: (input) => (paid.push(input), "paid"),
    paid,
  };
}

export interface Shop {
  readonly runtime: TestRuntime;
  readonly session: string;
  readonly pay: Till;
  readonly clock: Clock;
}

/** A session of ada with these members. */
export async function shop(
  approval: ApprovalRule | undefined,
  { members = {}, ...setup }: RuntimeSetup & { members?: Record<string, Role> } = {},
): Promise<Shop> {
  const clock = new Clock();
  const pay = till(approval);
  const runtime = await startRuntime({ tools: [pay], now: clock.now, ...setup });
  const session = await runtime.session();
  for (const [user, role] of Object.entries(members)) await member(runtime, session, user, role);
  return { runtime, session, pay, clock };
}

export async function member(
  runtime: TestRuntime,
  session: string,
  user: string,
  role: Role | null,
): Promise<void> {
  await runtime.runtime.registry.with(session, (held) =>
    held.exclusive(() =>
      held.append([{ body: { type: "member-changed", user, role }, actor: actor("ada") }]),
    ),
  );
}

/** Sends what asks for the call, and waits for the request. */
export async function asked(
  { runtime, session }: Shop,
  content = ASKED,
  user = "ada",
): Promise<EntryBodyOf<"request-opened"> & { ended: Promise<EntryBodyOf<"run-finished">> }> {
  const { input } = await runtime.send(session, content, { user });
  const started = await runtime.entry(session, "run-started", (body) => body.input === input);
  const of = (run: string | undefined): boolean => run === started.run;
  const opened = await runtime.events.first(
    (event): event is typeof event & { type: "event" } =>
      event.type === "event" && event.event.type === "request-opened" && of(event.run),
    "a request",
  );
  return { ...(opened.event as EntryBodyOf<"request-opened">), ended: runtime.endOf(session, input) };
}

export async function refusal(answer: Promise<unknown>): Promise<ProtocolError> {
  try {
    await answer;
  } catch (error) {
    return error as ProtocolError;
  }
  throw new Error("it was not refused");
}

export const outcomes = async ({ runtime, session }: Shop): Promise<string[]> =>
  bodiesOf(await runtime.log(session), "tool-result").map(({ outcome }) => outcome);

export const admin = (id: string): Caller => ({ actor: actor(id), rights: ["admin"] });
