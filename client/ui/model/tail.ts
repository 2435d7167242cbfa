/**
 * The newest frames that the server sent to this page, as they came. Owns how many are kept, and pausing; what is dropped is
 * only dropped here.
 */
import { effect, signal } from "@preact/signals";
import type { ServerFrame } from "../../index.ts";
import { client } from "./link.ts";
import { soon } from "./soon.ts";

export interface Seen {
  readonly number: number;
  readonly at: number;
  readonly frame: ServerFrame;
}

const KEPT = 300;

export const seen = signal<readonly Seen[]>([]);
export const isPaused = signal(false);

/** Listens until the answer is called. */
export function followFrames(): () => void {
  let kept = [...seen.peek()];
  let last = kept.at(-1)?.number ?? 0;
  const show = soon(() => {
    if (!isPaused.peek()) seen.value = kept;
  });
  return effect(() =>
    client.value.on("frame", (frame) => {
      kept = [...kept.slice(1 - KEPT), { number: ++last, at: Date.now(), frame }];
      show();
    }),
  );
}
