/**
 * The page's one client: who is signed in, how the connection stands, and the identity under which it is made. Owns the
 * token (for this tab only) and the name that one gives oneself where nobody is verified. Never a session.
 */
import { computed, signal } from "@preact/signals";
import { connect } from "../../index.ts";
import type { Client, ClientStatus } from "../../index.ts";
import { ofBrowser, ofTab } from "./keep.ts";

interface OwnName {
  readonly id: string;
  readonly name: string;
}

export const status = signal<ClientStatus>({ state: "idle", since: Date.now(), unsent: 0 });
export const user = signal<{ readonly id: string; readonly name: string } | undefined>(undefined);
export const client = signal<Client>(open());
export const isOnline = computed(() => status.value.state === "online");
/** The server wants to know who this is before anything else. */
export const mustSignIn = computed(() => status.value.code === "unauthenticated");
/** Nobody is verified here, so one may call oneself what one likes. */
export const mayRename = computed(() => user.value !== undefined && !hasToken.value);
export const hasToken = signal(ofTab.get("token") !== undefined);

/** A token, or a ticket, which is good for one connection only. */
export function signIn(token: string): void {
  ofTab.set("token", token);
  hasToken.value = true;
  reopen();
}

export function signOut(): void {
  ofTab.set("token", undefined);
  hasToken.value = false;
  reopen();
}

export function rename(name: string): void {
  const id = name
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, "-")
    .replace(/^-|-$/g, "");
  ofBrowser.set("name", id === "" ? undefined : ({ id, name } satisfies OwnName));
  reopen();
}

function reopen(): void {
  client.value.close();
  user.value = undefined;
  client.value = open();
}

function open(): Client {
  const token = ofTab.get<string>("token");
  const own = ofBrowser.get<OwnName>("name");
  const made = connect({
    // Relative to the page, wherever that is served.
    url: new URL("ws", location.href.replace(/[#?].*$/, "")).href,
    client: { name: "haulout-page" },
    ...(token === undefined ? {} : { token }),
    ...(own === undefined ? {} : { user: own }),
  });
  // The first status comes before anybody can listen.
  queueMicrotask(() => (status.value = made.status));
  made.on("status", (now) => {
    if (client.value !== made) return;
    status.value = now;
    user.value = made.user;
  });
  return made;
}

/** A ticket that somebody else's page gave along: `#ticket=…`. Taken out of the address at once. */
export function takeTicket(): void {
  const ticket = /^#ticket=([^&]+)/.exec(location.hash)?.[1];
  if (ticket === undefined) return;
  history.replaceState(null, "", location.pathname);
  signIn(decodeURIComponent(ticket));
}
