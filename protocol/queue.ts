/**
 * Whose turn it is: who has the floor, and the order in which waiting inputs go: where a new one is put, by its mode and by
 * turns of those who sent, and how people change it. Owns these rules for fold; never zod, and what it is given stays as it
 * was.
 */
import type { Content, Floor, Role } from "./content.ts";
import type { QueuedInput, SessionState } from "./frames.ts";

type Queue = readonly QueuedInput[];

/** What goes first: what ends the open run, then what joins it, then the rest. */
function rankOf({ mode }: QueuedInput): number {
  return mode === "interrupt" || mode === "rollback" ? 0 : mode === "steer" ? 1 : 2;
}

/**
 * The queue with one more input: behind all of its rank where the floor is `open`. Else people take turns: it goes behind
 * its author's own, and before inputs whose authors will have had more turns by then. `running`: whose run is open, for
 * that is a turn, too.
 */
export function queued(
  queue: Queue,
  input: QueuedInput,
  { mode }: Pick<Floor, "mode">,
  running: string | undefined,
): QueuedInput[] {
  const rank = rankOf(input);
  const author = input.actor?.id;
  const turns = new Map<string | undefined, number>([[running, 1]]);
  let at = 0;
  let own = 0;
  for (const [index, item] of queue.entries()) {
    const other = item.actor?.id;
    if (rankOf(item) < rank || (rankOf(item) === rank && (mode === "open" || other === author)))
      at = index + 1;
    if (rankOf(item) <= rank && other === author) own++;
  }
  own += turns.get(author) ?? 0;
  for (const [index, item] of queue.entries()) {
    const other = item.actor?.id;
    const had = turns.get(other) ?? 0;
    turns.set(other, had + 1);
    if (index === at && rankOf(item) <= rank && had <= own) at++;
  }
  return [...queue.slice(0, at), input, ...queue.slice(at)];
}

/** The named inputs in the order given, in the places that they have together; all others stay where they are. */
export function reordered(queue: Queue, inputs: readonly string[]): QueuedInput[] {
  const named = [...new Set(inputs)].flatMap((id) => queue.find(({ input }) => input === id) ?? []);
  let next = 0;
  return queue.map((item) => (named.includes(item) ? named[next++]! : item));
}

/** A content that a snapshot had cut is whole again. */
export function edited(item: QueuedInput, content: Content): QueuedInput {
  const { truncated: _, ...rest } = item;
  return { ...rest, content };
}

/** Who may send and in which order, as it is unless somebody says otherwise. */
export function floorOf({ floor }: Pick<SessionState, "floor">): Floor {
  return floor ?? { mode: "queue" };
}

/** Who may not send any more does not hold the floor either. */
export function withFloor(
  state: SessionState,
  { user, role }: { user: string; role: Role | null },
): SessionState {
  const { mode, holder } = floorOf(state);
  const keeps = holder !== user || role === "owner" || role === "editor";
  return keeps ? state : { ...state, floor: { mode } };
}
