/**
 * Who may do what in a session, and how others are let in: by a link that makes who follows it a member. Owns granting,
 * revoking and inviting; only owners are offered that.
 */
import { useState } from "preact/hooks";
import type { Role, SessionHandle } from "../../index.ts";
import { act } from "../model/acts.ts";
import { plain, when } from "../model/format.ts";
import { client } from "../model/link.ts";
import { linkTo } from "../model/route.ts";
import type { OpenSession } from "../model/session.ts";
import { Copy } from "./code.tsx";
import { Icon } from "./icons.tsx";

const ROLES: readonly Role[] = ["editor", "approver", "viewer", "owner"];

type FloorMode = SessionHandle["floor"]["mode"];
const FLOORS: readonly [FloorMode, string][] = [
  ["queue", "editors, in turns"],
  ["open", "editors, as they come"],
  ["owner-only", "owners"],
  ["hand", "one at a time"],
];

export function Members({ session }: { session: OpenSession }) {
  const [role, setRole] = useState<Role>("editor");
  const [made, setMade] = useState<string>();
  const state = session.state.value;
  const handle = session.handle.value;
  if (state === undefined || handle === undefined) return null;
  const isOwner = session.role.value === "owner";
  const invite = async (): Promise<void> => {
    const ok = await act("No invitation was made", () => handle.invite({ role }));
    if (ok !== undefined) setMade(new URL(linkTo({ view: "join", token: ok.token }), location.href).href);
  };
  const change = (user: string, to: string): void => {
    const work = to === "none" ? () => handle.revoke(user) : () => handle.grant(user, to as Role);
    void act("It was not changed", async () => work());
  };
  const setFloor = (mode: FloorMode): void => void act("The floor was not set", () => handle.setFloor(mode));
  return (
    <div class="popover members" role="group" aria-label="Members">
      <h2>Members</h2>
      <ul>
        {Object.entries(state.members).map(([id, of]) => (
          <li key={id}>
            <bdi class="grow">{plain(id, 40)}</bdi>
            {isOwner ? (
              <select
                aria-label={`Role of ${plain(id, 40)}`}
                value={of}
                onChange={(event) => change(id, event.currentTarget.value)}
              >
                {ROLES.map((each) => (
                  <option key={each}>{each}</option>
                ))}
                <option value="none">none</option>
              </select>
            ) : (
              <span class="faint">{of}</span>
            )}
          </li>
        ))}
      </ul>
      {isOwner && (
        <>
          <label class="inline">
            Who may write
            <select
              value={handle.floor.mode}
              onChange={(event) => setFloor(event.currentTarget.value as FloorMode)}
            >
              {FLOORS.map(([mode, words]) => (
                <option key={mode} value={mode}>
                  {words}
                </option>
              ))}
            </select>
          </label>
          <div class="row">
            <label class="inline">
              Invite as
              <select value={role} onChange={(event) => setRole(event.currentTarget.value as Role)}>
                {ROLES.map((each) => (
                  <option key={each}>{each}</option>
                ))}
              </select>
            </label>
            <button type="button" class="small" onClick={() => void invite()}>
              Make a link
            </button>
          </div>
          {made !== undefined && (
            <div class="row">
              <input
                readOnly
                aria-label="Invitation"
                value={made}
                onFocus={(event) => event.currentTarget.select()}
              />
              <Copy text={made} />
            </div>
          )}
          {(state.invites ?? []).map(({ invite: id, role: as, expiresAt, uses }) => (
            <p key={id} class="row faint">
              <span class="grow">
                open: {as}, {uses}×, until {when(expiresAt)}
              </span>
              <button
                type="button"
                class="quiet small"
                aria-label="Take back"
                onClick={() => void act("It was not taken back", () => handle.revokeInvite(id))}
              >
                <Icon name="cross" size={14} />
              </button>
            </p>
          ))}
        </>
      )}
      <p class="faint">
        <Copy
          text={new URL(linkTo({ view: "session", session: session.id }), location.href).href}
          label="Copy link"
        />{" "}
        for members, as {plain(client.value.user?.name ?? "you", 30)} sees it
      </p>
    </div>
  );
}
