/**
 * The index row of a session: what lists and recovery know of it without its log. Owns when it is written (only when what
 * it says changes, so that a streamed run costs two) and its form; never what the store does with it.
 */
import { decodeTrusted, encodeFrame } from "../../protocol/codec.ts";
import type { SessionInfo } from "../../protocol/content.ts";
import type { SessionState } from "../../protocol/frames.ts";
import { measure } from "../../protocol/values.ts";
import type { IndexRow } from "../store/store.ts";
import { encodeAsking } from "./asking.ts";

/** Metadata larger than this, in bytes or in values, is left out of lists. */
export const MAX_LISTED_METADATA = { bytes: 4096, items: 100 };

export function indexRow(state: SessionState): IndexRow {
  const requests = encodeAsking(state);
  return {
    readers: Object.keys(state.members),
    owner: state.session.owner,
    open: isOpen(state),
    updatedAt: state.session.updatedAt,
    info: encodeFrame(listedInfo(state.session)),
    ...(requests === undefined ? {} : { requests }),
  };
}

export function mustIndex(before: SessionState, after: SessionState): boolean {
  // A run that is taken up again by a version that lists requests may be of one that did not.
  const takenUp = before.run?.recovered !== after.run?.recovered && after.requests.length > 0;
  return (
    takenUp ||
    isOpen(before) !== isOpen(after) ||
    before.members !== after.members ||
    before.requests !== after.requests ||
    before.allowances !== after.allowances ||
    before.session.title !== after.session.title ||
    before.session.metadata !== after.session.metadata ||
    (before.session.state === "closed") !== (after.session.state === "closed")
  );
}

export function decodeInfo(row: IndexRow): SessionInfo {
  return decodeTrusted(row.info) as SessionInfo;
}

/** The info as lists show it. */
export function listedInfo(info: SessionInfo): SessionInfo {
  if (info.metadata === undefined) return info;
  const { bytes, items } = measure(info.metadata);
  if (bytes <= MAX_LISTED_METADATA.bytes && items <= MAX_LISTED_METADATA.items) return info;
  const { metadata: _, ...listed } = info;
  return listed;
}

function isOpen(state: SessionState): boolean {
  return state.run !== undefined || state.queue.length > 0 || state.requests.length > 0;
}
