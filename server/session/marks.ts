/**
 * Read marks: how far each user has read in a session, and what is unread by that. Owns the counting; the marks themselves
 * are the store's, for they are nobody's history and are not logged.
 */
import type { SessionInfo } from "../../protocol/content.ts";
import { ProtocolError } from "../../protocol/errors.ts";
import type { ResultOf, SessionState } from "../../protocol/frames.ts";
import type { ReadMark, Store } from "../store/store.ts";

/**
 * Marks everything up to the entry `seq` as read, the newest unless told; an earlier mark than the one that stands changes
 * nothing. Resolves with the mark that stands. Throws ProtocolError `bad-frame` (beyond the log).
 */
export async function markRead(
  store: Pick<Store, "markRead" | "readMarks">,
  state: SessionState,
  user: string,
  seq: number = state.seq,
): Promise<ReadMark & ResultOf<"markRead">> {
  if (seq > state.seq) throw new ProtocolError("bad-frame", "seq: there is no such entry yet");
  const { id, messages: said = 0 } = state.session;
  const after = state.messages.filter((message) => message.seq > seq).length;
  await store.markRead(id, user, { seq, messages: Math.max(0, said - after) });
  const [mark = { seq, messages: 0 }] = await store.readMarks(user, [id]);
  return { ...mark, unread: unreadOf(state.session, mark) };
}

/** The infos with what is unread of each for the user. */
export async function withUnread(
  store: Pick<Store, "readMarks">,
  infos: readonly SessionInfo[],
  user: string,
): Promise<SessionInfo[]> {
  const marks = await store.readMarks(
    user,
    infos.map(({ id }) => id),
  );
  return infos.map((info, at) => ({ ...info, unread: unreadOf(info, marks[at]) }));
}

function unreadOf({ messages = 0 }: SessionInfo, mark: ReadMark | undefined): number {
  return Math.max(0, messages - (mark?.messages ?? 0));
}
