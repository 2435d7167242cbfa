/**
 * What people have written: drafts, and messages on their way. Owns keeping both for this tab, so that neither a lost
 * connection nor a reload loses a word; a message keeps its key, so sending it again sends it once.
 */
import { effect, signal, untracked } from "@preact/signals";
import { newId, ProtocolError } from "../../index.ts";
import type { Content, SendMode } from "../../index.ts";
import { ofTab } from "./keep.ts";
import { client, status } from "./link.ts";

export interface Sending {
  readonly session: string;
  readonly key: string;
  readonly content: Content;
  readonly mode: SendMode;
  /** Who answers, if not the session's agent. */
  readonly agent?: string;
  readonly at: number;
  /** Why the server did not take it. */
  readonly refused?: string;
}

export const sending = signal<readonly Sending[]>(ofTab.get("sending") ?? []);

export function send(session: string, content: Content, mode: SendMode, agent?: string): void {
  const guest = agent === undefined ? {} : { agent };
  const item: Sending = { session, key: newId("key"), content, mode, ...guest, at: Date.now() };
  put([...sending.value, item]);
  attempt(item);
}

export function sendAgain(item: Sending): void {
  const { refused: _, ...rest } = item;
  put(sending.value.map((other) => (other.key === item.key ? rest : other)));
  attempt(rest);
}

export function discard(key: string): void {
  put(sending.value.filter((item) => item.key !== key));
}

export const draftOf = (session: string): string => ofTab.get<string>(`draft:${session}`) ?? "";
export const keepDraft = (session: string, text: string): void =>
  ofTab.set(`draft:${session}`, text === "" ? undefined : text);

/** Sends what an earlier load of this tab, or an earlier client, has left. */
export function sendWhatWaits(): void {
  effect(() => {
    void client.value;
    untracked(() => {
      for (const item of sending.value) if (item.refused === undefined) attempt(item);
    });
  });
}

function attempt(item: Sending): void {
  const { at: _, refused: __, ...fields } = item;
  const { key } = item;
  const own = client.peek();
  own.request("send", fields, { timeoutMs: Infinity }).then(
    () => discard(key),
    (error: unknown) => {
      // Another client has it now, or it waits for somebody to sign in.
      if (own !== client.peek() || status.peek().code === "unauthenticated") return;
      const refused = error instanceof ProtocolError ? error.message : String(error);
      put(sending.value.map((other) => (other.key === key ? { ...other, refused } : other)));
    },
  );
}

function put(items: readonly Sending[]): void {
  sending.value = items;
  ofTab.set("sending", items.length === 0 ? undefined : items);
}
