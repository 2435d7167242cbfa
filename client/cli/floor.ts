/**
 * The floor of a session in words of one line. Owns these words alone.
 */
import type { Floor } from "../../protocol/content.ts";
import { nameOf } from "./text.ts";

/** Who may send, in a few words. */
export function floorText({ mode, holder }: Floor): string {
  if (mode === "open") return "open to all, in the order in which they send";
  if (mode === "queue") return "open to all, in turns";
  if (mode === "owner-only") return "owners only";
  return holder === undefined ? "nobody has it, /take takes it" : `${nameOf(holder)} has it`;
}
