/**
 * One timer for the deadlines of all connections: a wheel of slots, each visited once a round. Owns when a connection is
 * looked after, spread at random so that ten thousand are not due together; never knows what is looked for.
 */

export interface Watched {
  /** Acts on what is due; answers in how many ms to look again, undefined for never. Must not throw. */
  check(now: number): number | undefined;
}

export interface WheelOptions {
  /** Distance of two slots in ms (250): deadlines are kept to this much. */
  readonly tickMs?: number;
  /** Slots of a round (128). What is due later than a round is looked at once a round. */
  readonly slots?: number;
  /** A monotonic clock in ms; performance.now unless told. */
  readonly clock?: () => number;
}

export class Wheel {
  readonly #tickMs: number;
  readonly #slots: Set<Watched>[];
  readonly #clock: () => number;
  readonly #where = new Map<Watched, Set<Watched>>();
  #timer: NodeJS.Timeout | undefined;
  #startedAt: number;
  /** Ticks done since the start. */
  #ticks = 0;

  constructor(options: WheelOptions = {}) {
    this.#tickMs = options.tickMs ?? 250;
    this.#slots = Array.from({ length: options.slots ?? 128 }, () => new Set<Watched>());
    this.#clock = options.clock ?? (() => performance.now());
    this.#startedAt = this.#clock();
  }

  now(): number {
    return this.#clock();
  }

  get size(): number {
    return this.#where.size;
  }

  /** Looks after `watched` in about `ms`, not before the next tick. Replaces what was asked before. */
  watch(watched: Watched, ms: number): void {
    this.#where.get(watched)?.delete(watched);
    const ahead = Math.min(this.#slots.length - 1, Math.max(1, Math.ceil(ms / this.#tickMs)));
    const slot = this.#slots[(this.#ticks + ahead) % this.#slots.length]!;
    slot.add(watched);
    this.#where.set(watched, slot);
  }

  forget(watched: Watched): void {
    this.#where.get(watched)?.delete(watched);
    this.#where.delete(watched);
  }

  start(): void {
    this.#timer ??= setInterval(() => this.advance(), this.#tickMs).unref();
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  /** Visits the slots that the clock has passed; a clock that jumped costs one round at most. */
  advance(): void {
    const now = this.#clock();
    const target = Math.floor((now - this.#startedAt) / this.#tickMs);
    if (target - this.#ticks > this.#slots.length) this.#ticks = target - this.#slots.length;
    while (this.#ticks < target) {
      this.#ticks++;
      const slot = this.#slots[this.#ticks % this.#slots.length]!;
      const due = [...slot];
      slot.clear();
      for (const watched of due) this.#look(watched, slot, now);
    }
  }

  #look(watched: Watched, slot: Set<Watched>, now: number): void {
    // One that was looked at before it may have ended this one.
    if (this.#where.get(watched) !== slot) return;
    this.#where.delete(watched);
    const again = watched.check(now);
    if (again !== undefined && !this.#where.has(watched)) this.watch(watched, again);
  }
}
