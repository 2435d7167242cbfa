/**
 * A typed event emitter of the smallest kind. Owns who listens; a listener that throws is reported as an uncaught error
 * of its own turn and never stops the others or the connection.
 */
export class Emitter<Events extends { [K in keyof Events]: unknown[] }> {
  readonly #listeners: { [K in keyof Events]?: Set<(...values: Events[K]) => void> } = {};

  /** Calls `listener` at every such event; returns what ends that. */
  on<K extends keyof Events>(type: K, listener: (...values: Events[K]) => void): () => void {
    const listeners = (this.#listeners[type] ??= new Set());
    // Wrapped, so that the same function may listen twice and each has an end of its own.
    const own = (...values: Events[K]): void => listener(...values);
    listeners.add(own);
    return () => void listeners.delete(own);
  }

  emit<K extends keyof Events>(type: K, ...values: Events[K]): void {
    for (const listener of Array.from(this.#listeners[type] ?? [])) {
      try {
        listener(...values);
      } catch (error) {
        queueMicrotask(() => {
          throw error;
        });
      }
    }
  }
}
