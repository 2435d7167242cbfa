/**
 * Everything that waits for this person's answer, over all sessions, answered on the spot. Owns the list; the forms are those
 * of the session's own view.
 */
import { plain } from "../model/format.ts";
import { linkTo } from "../model/route.ts";
import { inbox, isListed } from "../model/sessions.ts";
import { Pane } from "./pane.tsx";
import { RequestForm } from "./request.tsx";

export function Inbox() {
  const open = inbox.value;
  return (
    <Pane title="Inbox">
      {open.length === 0 && (
        <p class="faint">{isListed.value ? "Nothing waits for your answer." : "Loading…"}</p>
      )}
      <ul class="inbox">
        {open.map(({ session, title, agent, requester, request }) => {
          const { tool } = (request.subject ?? {}) as { tool?: string };
          const name = plain(title ?? "") || `Untitled ${session.slice(-6)}`;
          return (
            <li key={request.request} class="card">
              <header>
                <a href={linkTo({ view: "session", session })}>
                  <bdi>{name}</bdi>
                </a>
                <span class="faint">
                  {plain(agent, 40)}
                  {tool !== undefined && ` · ${plain(tool, 40)}`}
                  {requester !== undefined && ` · for ${plain(requester.name, 40)}`}
                </span>
              </header>
              <RequestForm session={session} request={request} may />
            </li>
          );
        })}
      </ul>
    </Pane>
  );
}
