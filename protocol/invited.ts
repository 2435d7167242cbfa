/**
 * The part of fold that is about invitations: which are open, and how many uses each has left. Owns that list; the others
 * are state.ts's.
 */
import type { OpenInvite } from "./content.ts";
import type { SessionState } from "./frames.ts";

export function withInvites(
  state: SessionState,
  change: (invites: readonly OpenInvite[]) => readonly OpenInvite[],
): SessionState {
  const { invites: before = [], ...rest } = state;
  const invites = change(before);
  return invites.length === 0 ? rest : { ...rest, invites: [...invites] };
}

/** One use less; gone after the last. */
export function used(invites: readonly OpenInvite[], id: string | undefined): readonly OpenInvite[] {
  return invites
    .map((item) => (item.invite === id ? { ...item, uses: item.uses - 1 } : item))
    .filter(({ uses }) => uses > 0);
}
