/**
 * Where the words of the filter were said, as the server finds it: asked once typing pauses. Owns that what is shown is of
 * the last words. What of it is titles the list shows by itself.
 */
import { effect, signal } from "@preact/signals";
import type { SearchHit } from "../../index.ts";
import { client, isOnline } from "./link.ts";
import { words } from "./sessions.ts";

const PAUSE_MS = 250;
const LEAST = 2;
const LONGEST = 256;
const MOST = 20;

export const found = signal<readonly SearchHit[]>([]);

export function watchWords(): void {
  effect(() => {
    const own = client.value;
    const text = words.value.trim().slice(0, LONGEST);
    if (text.length < LEAST || !isOnline.value) {
      found.value = [];
      return undefined;
    }
    let isOver = false;
    const ask = (): void => {
      const take = (hits: readonly SearchHit[]): void => {
        if (!isOver) found.value = hits.filter(({ message }) => message !== undefined);
      };
      own.search({ text, limit: MOST }).then(
        ({ items }) => take(items),
        () => take([]),
      );
    };
    const timer = setTimeout(ask, PAUSE_MS);
    return () => {
      isOver = true;
      clearTimeout(timer);
    };
  });
}
