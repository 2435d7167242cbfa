/**
 * What a process that is killed and started again knows of a session's runs: from its log and from what it sees. Owns which
 * inputs have had their run, so that each life waits for the rest alone.
 */
import type { EventFrame } from "../../protocol/entries.ts";

export class Runs {
  readonly #inputs = new Map<string, string>();
  readonly #over = new Set<string>();
  #wake = (): void => {};

  see({ event }: EventFrame): void {
    if (event.type === "run-started") this.#inputs.set(event.run, event.input);
    if (event.type === "run-finished") this.#over.add(this.#inputs.get(event.run) ?? "");
    this.#wake();
  }

  /** Resolves when the input's run has ended, in this life or one before. */
  async over(input: string): Promise<void> {
    while (!this.#over.has(input)) await new Promise<void>((resolve) => (this.#wake = resolve));
  }
}
