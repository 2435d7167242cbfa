/**
 * Who is in a session, in words of one line. Owns these words; when they are shown is the chat's.
 */
import type { Presence } from "../presence.ts";
import { nameOf } from "./text.ts";

const MOST_NAMES = 3;

/** All who are here, as far as they are listed. */
export function peopleIn({ users, people, connections }: Presence): string {
  if (people > users.length) return `${people} people are here, on ${connections} connections`;
  const named = users.map((user) => {
    const times = user.connections > 1 ? ` (${user.connections} times)` : "";
    return `${nameOf(user.name)}${times}${user.typing ? " typing" : ""}`;
  });
  return `here: ${named.join(", ")}`;
}

/** Who else types; empty for nobody. */
export function typists({ users }: Presence, self: string | undefined): string {
  const names = users.filter(({ id, typing }) => typing && id !== self).map(({ name }) => nameOf(name));
  if (names.length === 0) return "";
  if (names.length > MOST_NAMES) return `${names.length} people type`;
  return `${names.join(", ")} ${names.length === 1 ? "types" : "type"}`;
}
