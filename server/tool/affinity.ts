/**
 * Which providers served a session, the last one first, for agents that ask for the same one again. Owns that memory,
 * bounded; it is this process's own and only a preference, so nothing depends on it.
 */

const MAX_SESSIONS = 10_000;
/** Providers of several tools may take turns in one session. */
const MAX_PROVIDERS = 8;

export class Affinity {
  readonly #served = new Map<string, readonly string[]>();

  note(session: string, provider: string): void {
    const before = this.of(session);
    if (before[0] === provider) return;
    this.#served.delete(session);
    this.#served.set(
      session,
      [provider, ...before.filter((other) => other !== provider)].slice(0, MAX_PROVIDERS),
    );
    if (this.#served.size > MAX_SESSIONS) this.#served.delete(this.#served.keys().next().value!);
  }

  of(session: string): readonly string[] {
    return this.#served.get(session) ?? [];
  }
}
