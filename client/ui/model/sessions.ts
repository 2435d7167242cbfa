/**
 * All sessions and all that waits for this person, kept by the client's watch. Owns the filter over the list. Never reads a
 * session itself.
 */
import { computed, effect, signal, untracked } from "@preact/signals";
import type { ListedAgent, ListedRequest, SessionInfo, Watching } from "../../index.ts";
import { client, isOnline } from "./link.ts";
import { soon } from "./soon.ts";

export type Look = SessionInfo["state"] | "failed";
export type Standing = "all" | Look;

export const sessions = signal<readonly SessionInfo[]>([]);
export const inbox = signal<readonly ListedRequest[]>([]);
export const isListed = signal(false);
export const agents = signal<readonly ListedAgent[]>([]);
export const words = signal("");
export const standing = signal<Standing>("all");

/** How a session looks in lists: one whose last run failed says so while nothing happens in it. */
export const lookOf = ({ state, failed }: SessionInfo): Look =>
  state === "idle" && failed !== undefined ? "failed" : state;

const waiting = computed(() => new Set(inbox.value.map(({ session }) => session)));
/** Whether this person's answer is waited for in it. */
export const waitsForUser = (session: string): boolean => waiting.value.has(session);

export const shownSessions = computed(() => {
  const wanted = words.value.trim().toLowerCase();
  return sessions.value.filter(
    (info) =>
      (standing.value === "all" || lookOf(info) === standing.value) &&
      (wanted === "" ||
        [info.title, info.id, info.agent].some((text) => text?.toLowerCase().includes(wanted))),
  );
});

/** Keeps the lists for whatever client the page has. */
export function watchSessions(): void {
  effect(() => {
    const own = client.value;
    sessions.value = [];
    inbox.value = [];
    isListed.value = false;
    const watching = untracked(() => own.watch({ sessions: {}, requests: true }));
    const refresh = soon(() => take(watching));
    const stops = (["session", "request", "listed"] as const).map((type) => watching.on(type, refresh));
    return () => {
      for (const stop of stops) stop();
      watching.end();
    };
  });
  effect(() => {
    void client.value;
    // A request changes the status, of which nothing here may depend.
    if (isOnline.value) untracked(listAgents);
  });
}

/** Asks anew which agents there are: they may change while the page is open. */
export function listAgents(): void {
  client
    .peek()
    .listAgents()
    .then(
      ({ items }) => (agents.value = items),
      // Asked again at the next connection.
      () => undefined,
    );
}

function take(watching: Watching): void {
  sessions.value = [...watching.sessions.values()].sort((a, b) => b.updatedAt - a.updatedAt);
  inbox.value = [...watching.requests.values()].sort((a, b) => a.request.expiresAt - b.request.expiresAt);
  isListed.value = watching.isListed;
}
