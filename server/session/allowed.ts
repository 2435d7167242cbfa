/**
 * What somebody's calls need no approval for because people said so in another of their sessions. Owns how that is found,
 * through the rows of what is asked; whether it is enough for a call is tool/approval.ts's.
 */
import type { Actor } from "../../protocol/content.ts";
import type { Allowance } from "../../protocol/people.ts";
import type { Store } from "../store/store.ts";
import { askingOf, askingPages, decodeAsking, type Asking } from "./asking.ts";
import type { SessionView } from "./services.ts";

/** Sessions that are read at once, and at most; of whoever has more, people are asked again. */
const SESSIONS = 100;
const MAX_SESSIONS = 1000;

/**
 * Reads the store; what it answers is asked under a session's lock, and leaves out what was taken back since, as far as
 * the session in which it was is in memory. Rejects with StoreUnavailableError.
 */
export async function allowedElsewhere(
  store: Pick<Store, "asked">,
  loaded: { peek(session: string): SessionView | undefined },
  { kind, id: user }: Actor,
  but: string,
): Promise<() => readonly Allowance[]> {
  const found = new Map<string, Asking>();
  if (kind !== "user") return () => [];
  let read = 0;
  for await (const page of askingPages(store, { reader: user, limit: SESSIONS })) {
    for (const { id, requests } of page) {
      const asking = decodeAsking(requests);
      if (id !== but && asking.allowances !== undefined) found.set(id, asking);
    }
    read += SESSIONS;
    if (read >= MAX_SESSIONS) break;
  }
  return () =>
    [...found].flatMap(([id, asking]) => {
      const held = loaded.peek(id);
      return allowancesOf(held === undefined ? asking : askingOf(held.state), user);
    });
}

/** What a session allows this user in all others. */
export function allowancesOf(asking: Asking | undefined, user: string): readonly Allowance[] {
  return asking?.allowances?.filter((allowance) => allowance.user === user) ?? [];
}
