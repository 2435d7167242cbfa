/**
 * All sessions and all that waits for this person, kept by the client's watch; which of them are new since they were looked
 * at here. Owns the filter over the list. Never reads a session itself.
 */
import { computed, effect, signal, untracked } from "@preact/signals";
import type { ListedAgent, ListedRequest, SessionInfo, Watching } from "../../index.ts";
import { ofBrowser } from "./keep.ts";
import { client, isOnline } from "./link.ts";
import { soon } from "./soon.ts";

export type Standing = "all" | "running" | "waiting" | "idle" | "closed";

export const sessions = signal<readonly SessionInfo[]>([]);
export const inbox = signal<readonly ListedRequest[]>([]);
export const isListed = signal(false);
export const agents = signal<readonly ListedAgent[]>([]);
export const words = signal("");
export const standing = signal<Standing>("all");

/** By session: how it stood when it was last looked at in this browser. */
const seen = signal<Readonly<Record<string, number>>>(ofBrowser.get("seen") ?? {});

export const shownSessions = computed(() => {
  const wanted = words.value.trim().toLowerCase();
  return sessions.value.filter(
    (info) =>
      (standing.value === "all" || info.state === standing.value) &&
      (wanted === "" ||
        [info.title, info.id, info.agent].some((text) => text?.toLowerCase().includes(wanted))),
  );
});

export function isUnread(info: SessionInfo): boolean {
  const at = seen.value[info.id];
  return at !== undefined && info.updatedAt > at;
}

/** What a session looked like when it was on the screen. Only those are remembered, the newest 500. */
export function markSeen(session: string, updatedAt: number): void {
  if (seen.peek()[session] === updatedAt) return;
  const { [session]: _, ...others } = seen.peek();
  seen.value = Object.fromEntries([...Object.entries(others).slice(-499), [session, updatedAt]]);
  ofBrowser.set("seen", seen.value);
}

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
    const own = client.value;
    if (!isOnline.value) return;
    // A request changes the status, of which nothing here may depend.
    untracked(() => own.listAgents()).then(
      ({ items }) => (agents.value = items),
      // Asked again at the next connection.
      () => undefined,
    );
  });
}

function take(watching: Watching): void {
  sessions.value = [...watching.sessions.values()].sort((a, b) => b.updatedAt - a.updatedAt);
  inbox.value = [...watching.requests.values()].sort((a, b) => a.request.expiresAt - b.request.expiresAt);
  isListed.value = watching.isListed;
}
