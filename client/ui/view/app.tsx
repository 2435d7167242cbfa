/**
 * The frame of the page: sessions at the side, what the URL names beside them, the state of the connection over all. Owns
 * which view belongs to which route. All but the start are files of their own; the session's is loaded ahead.
 */
import { useEffect } from "preact/hooks";
import { announced, dismiss, notices } from "../model/acts.ts";
import { mustSignIn } from "../model/link.ts";
import { route } from "../model/route.ts";
import { current } from "../model/session.ts";
import { inbox } from "../model/sessions.ts";
import { plain } from "../model/format.ts";
import { ConnectionBar } from "./connection-bar.tsx";
import { Icon } from "./icons.tsx";
import { lazy } from "./lazy.tsx";
import { Sidebar } from "./sidebar.tsx";
import { SignIn } from "./sign-in.tsx";
import { Welcome } from "./welcome.tsx";

const Session = lazy(async () => (await import("./session.tsx")).Session);
const Inbox = lazy(async () => (await import("./inbox.tsx")).Inbox);
const Tools = lazy(async () => (await import("./tools.tsx")).Tools);
const Activity = lazy(async () => (await import("./activity.tsx")).Activity);
const Join = lazy(async () => (await import("./join.tsx")).Join);

export function App() {
  const { view } = route.value;
  useEffect(() => {
    document.title = titleOf();
  });
  useEffect(() => Session.ahead(), []);
  if (mustSignIn.value) return <SignIn />;
  return (
    <div class={`app at-${view}`}>
      <a class="skip" href="#main" onClick={skip}>
        Skip to content
      </a>
      <Sidebar />
      <main id="main" tabIndex={-1}>
        <ConnectionBar />
        <View />
      </main>
      <div class="unseen" role="status" aria-live="polite">
        {announced.value}
      </div>
      <div class="notices" role="alert">
        {notices.value.map(({ id, text, isBad }) => (
          <p key={id} class={isBad ? "bad" : undefined}>
            {text}
            <button type="button" class="quiet small" aria-label="Dismiss" onClick={() => dismiss(id)}>
              <Icon name="cross" size={14} />
            </button>
          </p>
        ))}
      </div>
    </div>
  );
}

/** The fragment is the route, so the browser's own way of following the link would lose it. */
function skip(event: Event): void {
  event.preventDefault();
  document.querySelector<HTMLElement>("#main")?.focus();
}

function View() {
  const to = route.value;
  switch (to.view) {
    case "session":
      return current.value === undefined ? null : <Session key={to.session} session={current.value} />;
    case "inbox":
      return <Inbox />;
    case "tools":
      return <Tools />;
    case "activity":
      return <Activity />;
    case "join":
      return <Join token={to.token} />;
    case "sessions":
      return <Welcome />;
    default:
      return to satisfies never;
  }
}

function titleOf(): string {
  const waiting = inbox.value.length === 0 ? "" : `(${inbox.value.length}) `;
  const title = route.value.view === "session" ? current.value?.state.value?.session.title : undefined;
  return `${waiting}${title === undefined ? "" : `${plain(title, 60)} · `}Haulout`;
}
