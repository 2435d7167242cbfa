/**
 * Commands of people that may be refused: does them, and says on the page what went wrong. Owns the notices at its edge and
 * what is announced to screen readers.
 */
import { signal } from "@preact/signals";
import { ProtocolError } from "../../index.ts";

export interface Notice {
  readonly id: number;
  readonly text: string;
  readonly isBad: boolean;
}

const STAYS_MS = 8000;

export const notices = signal<readonly Notice[]>([]);
/** Said by screen readers, and only by them. */
export const announced = signal("");
let last = 0;

export function tell(text: string, isBad = false): void {
  const id = ++last;
  notices.value = [...notices.value.slice(-2), { id, text, isBad }];
  setTimeout(() => dismiss(id), STAYS_MS);
}

export function dismiss(id: number): void {
  notices.value = notices.value.filter((notice) => notice.id !== id);
}

/** Resolves with what it brought; undefined when it failed, which was told. */
export async function act<T>(what: string, work: () => Promise<T>): Promise<T | undefined> {
  try {
    return await work();
  } catch (error) {
    const why = error instanceof ProtocolError ? error.message : String(error);
    tell(`${what}: ${why}`, true);
    return undefined;
  }
}
