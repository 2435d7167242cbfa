/**
 * Who may send which frame: the one table, read by dispatch before any handler and by commands again under their session's
 * lock. Owns what each frame asks for and which role includes which; never looks at a session or a connection. SPEC.md §13
 * has the same table for readers.
 */
import type { Role } from "../../protocol/content.ts";
import type { ClientFrameType } from "../../protocol/frames.ts";
import type { RightKind } from "./identity.ts";

/** Empty: whoever has said hello. */
export interface FrameRight {
  /** What one must at least be in the session that the frame names; of several any. */
  readonly roles?: readonly Role[];
  /** The same where the user that it names is the sender. */
  readonly ownRoles?: readonly Role[];
  /** The right on the server; `create` for the agent and `provide` for each tool that the frame is about. */
  readonly right?: RightKind;
  /** About a call: counts from the provider that was given it, as long as that may provide its tool. */
  readonly ownCalls?: true;
}

export const FRAME_RIGHTS = {
  hello: {},
  pong: {},
  refreshToken: {},
  listAgents: {},
  listSessions: {},
  search: {},
  listRequests: {},
  listAllowances: {},
  watch: {},
  unwatch: {},
  createSession: { right: "create" },
  // Of another user only with the right admin.
  usage: {},
  backup: { right: "admin" },
  importEntries: { right: "admin" },
  putAgent: { right: "admin" },
  removeAgent: { right: "admin" },
  attach: { roles: ["viewer"] },
  // Stops what the connection itself began, so it needs no session to be there.
  detach: {},
  history: { roles: ["viewer"] },
  listTools: { roles: ["viewer"] },
  setPresence: { roles: ["viewer"] },
  markRead: { roles: ["viewer"] },
  send: { roles: ["editor"], right: "create" },
  retry: { roles: ["editor"], right: "create" },
  editInput: { roles: ["editor"] },
  withdrawInput: { roles: ["editor"] },
  orderInputs: { roles: ["editor"] },
  passFloor: { roles: ["editor"] },
  setFloor: { roles: ["owner"] },
  cancel: { roles: ["editor"] },
  compact: { roles: ["editor"] },
  fork: { roles: ["editor"], right: "create" },
  updateSession: { roles: ["editor"] },
  // Whom a request asks stands in the request (tool/approval.ts), and may be any member.
  answer: { roles: ["viewer"] },
  forget: { roles: ["viewer"] },
  close: { roles: ["owner"] },
  deleteSession: { roles: ["owner"] },
  grant: { roles: ["owner"] },
  // Every member may leave.
  revoke: { roles: ["owner"], ownRoles: ["viewer"] },
  invite: { roles: ["owner"] },
  revokeInvite: { roles: ["owner"] },
  // The token says into which session.
  join: {},
  offerTools: { roles: ["editor"], right: "provide" },
  withdrawTools: {},
  drain: {},
  drainProvider: { right: "admin" },
  callAccepted: { ownCalls: true },
  callProgress: { ownCalls: true },
  callResult: { ownCalls: true },
} as const satisfies Record<ClientFrameType, FrameRight>;

const INCLUDES: Readonly<Record<Role, readonly Role[]>> = {
  owner: ["owner", "editor", "approver", "viewer"],
  editor: ["editor", "viewer"],
  approver: ["approver", "viewer"],
  viewer: ["viewer"],
};

/** Whether somebody of this role may do what the other one may. */
export function includes(role: Role, other: Role): boolean {
  return INCLUDES[role].includes(other);
}

export function rightOf(frame: ClientFrameType): FrameRight {
  return FRAME_RIGHTS[frame];
}
