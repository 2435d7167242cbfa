/**
 * Which requests the audit log tells of, and what of each. Owns that table; the lines are observe/audit.ts's.
 * Never says what was sent, only who did what to whom.
 */
import type { ClientFrame } from "../../protocol/frames.ts";
import type { Audit } from "../observe/audit.ts";
import type { Connection } from "./connection.ts";

/** Requests by which rights, approvals or whole sessions change hands, or leave. */
export const AUDITED: ReadonlySet<string> = new Set([
  "grant",
  "revoke",
  "invite",
  "join",
  "answer",
  "forget",
  "deleteSession",
  "drainProvider",
  "backup",
  "importEntries",
  "refreshToken",
  "putAgent",
  "removeAgent",
]);

/** A line for a request that is one of them, once it is done or refused. */
export function record(audit: Audit, connection: Connection, frame: ClientFrame, outcome: string): void {
  if (!AUDITED.has(frame.type)) return;
  const said = frame as {
    session?: string;
    user?: string;
    request?: string;
    role?: string;
    decision?: string;
    allowance?: string;
    provider?: string;
    remember?: { what: string; for: string };
  };
  const subject = said.user ?? said.request ?? said.allowance ?? said.provider ?? agentOf(frame);
  audit.write(frame.type, {
    user: connection.identity?.user.id,
    address: connection.address,
    connection: connection.id,
    ...(said.session === undefined ? {} : { session: said.session }),
    ...(subject === undefined ? {} : { subject }),
    ...(said.role === undefined ? {} : { role: said.role }),
    ...(said.decision === undefined ? {} : { decision: said.decision }),
    ...(said.remember === undefined ? {} : { remember: `${said.remember.what} for ${said.remember.for}` }),
    outcome,
  });
}

/** The agent that a request puts or removes. */
function agentOf(frame: ClientFrame): string | undefined {
  if (frame.type === "removeAgent") return frame.name;
  const name = frame.type === "putAgent" ? frame.agent["name"] : undefined;
  // Of a definition that was refused it may be anything.
  return typeof name === "string" ? name.slice(0, 64) : undefined;
}
