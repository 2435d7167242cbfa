/**
 * The side of the page: where one can go, all sessions with their state, and oneself. Owns the list's form; which sessions
 * there are is sessions.ts's.
 */
import type { SessionInfo } from "../../index.ts";
import { count, plain, plural, titleOf, when } from "../model/format.ts";
import { route, linkTo, type Route } from "../model/route.ts";
import {
  inbox,
  isListed,
  lookOf,
  sessions,
  shownSessions,
  standing,
  waitsForUser,
  words,
} from "../model/sessions.ts";
import type { Standing } from "../model/sessions.ts";
import { Account } from "./account.tsx";
import { Found } from "./found.tsx";
import { Icon, type IconName } from "./icons.tsx";

const PLACES: readonly { view: "inbox" | "tools" | "activity"; name: string; icon: IconName }[] = [
  { view: "inbox", name: "Inbox", icon: "inbox" },
  { view: "tools", name: "Tools", icon: "tool" },
  { view: "activity", name: "Activity", icon: "pulse" },
];

const STANDINGS: readonly [Standing, string][] = [
  ["all", "All"],
  ["running", "Running"],
  ["waiting", "Waiting"],
  ["idle", "Idle"],
  ["failed", "Failed"],
  ["closed", "Closed"],
];

/** More rows than this are found by the filter. */
const MOST = 200;

export function Sidebar() {
  return (
    <div class="sidebar">
      <div class="brand">
        <a href="#/" class="name">
          Haulout
        </a>
        <a
          href="#/"
          class="button primary small"
          aria-current={route.value.view === "sessions" ? "page" : undefined}
        >
          <Icon name="plus" size={16} /> New
        </a>
      </div>
      <nav aria-label="Places" class="places">
        {PLACES.map(({ view, name, icon }) => (
          <a key={view} href={linkTo({ view })} aria-current={isAt({ view }) ? "page" : undefined}>
            <Icon name={icon} />
            <span>{name}</span>
            {view === "inbox" && inbox.value.length > 0 && (
              <span class="badge" aria-label={plural(inbox.value.length, "request")}>
                {inbox.value.length}
              </span>
            )}
          </a>
        ))}
      </nav>
      <div class="find" role="search">
        <input
          type="search"
          aria-label="Find sessions and what was said"
          placeholder="Find"
          value={words.value}
          onInput={(event) => (words.value = event.currentTarget.value)}
        />
        <select
          aria-label="Which sessions"
          value={standing.value}
          onChange={(event) => (standing.value = event.currentTarget.value as Standing)}
        >
          {STANDINGS.map(([value, name]) => (
            <option key={value} value={value}>
              {name}
            </option>
          ))}
        </select>
      </div>
      <nav aria-label="Sessions" class="sessions">
        <Rows />
        <Found />
      </nav>
      <Account />
    </div>
  );
}

function Rows() {
  const rows = shownSessions.value;
  if (rows.length === 0) {
    const why = !isListed.value
      ? "Loading…"
      : sessions.value.length === 0
        ? "No session yet. Begin one."
        : "None of your sessions is like that.";
    return <p class="empty">{why}</p>;
  }
  return (
    <ul>
      {rows.slice(0, MOST).map((info) => (
        <Row key={info.id} info={info} />
      ))}
      {rows.length > MOST && <li class="empty">{rows.length - MOST} more: find them by their words.</li>}
    </ul>
  );
}

function Row({ info }: { info: SessionInfo }) {
  const to = { view: "session", session: info.id } as const;
  const unread = isAt(to) ? 0 : (info.unread ?? 0);
  return (
    <li>
      <a
        href={linkTo(to)}
        aria-current={isAt(to) ? "page" : undefined}
        class={unread > 0 ? "is-unread" : undefined}
      >
        <span class={`state is-${lookOf(info)}`} title={stateWords(info)}>
          <span class="unseen">{stateWords(info)}</span>
        </span>
        <span class="title">
          <bdi>{titleOf(info)}</bdi>
        </span>
        <span class="aside">
          <span class="agent">{plain(info.agent, 40)}</span>
          <time>{when(info.updatedAt)}</time>
        </span>
        {unread > 0 && (
          <span class="badge unread">
            {count(unread)}
            <span class="unseen"> unread</span>
          </span>
        )}
      </a>
    </li>
  );
}

export function stateWords(info: SessionInfo): string {
  const { id, queued, requests, failed } = info;
  const words = {
    idle: "idle",
    running: "running",
    waiting: waitsForUser(id) ? "waiting for you" : "waiting for people",
    closed: "closed",
    failed: `failed: ${failed?.replaceAll("-", " ")}`,
  }[lookOf(info)];
  return [
    words,
    ...(queued > 0 ? [`${queued} queued`] : []),
    ...(requests > 0 ? [plural(requests, "request")] : []),
  ].join(", ");
}

function isAt(to: Route): boolean {
  return linkTo(to) === linkTo(route.value);
}
