/**
 * Waiting and chance for tests. Tests do not sleep: wait for an event, use `deferred` where code offers a callback,
 * and `until` only for what tells nobody, such as a file another process writes or a gauge behind HTTP.
 * Chance comes from a seed that is printed, so that `HAULOUT_SEED=<n> npm test -- <file>` plays a failure again.
 */
import { setTimeout as sleep } from "node:timers/promises";

/**
 * Asks every 10 ms until the predicate answers something truthy, and answers that. A throw of the predicate counts as
 * "not yet". Rejects after `ms` with `what` in the message and the last throw as the cause.
 */
export async function until<T>(
  predicate: () => T | Promise<T>,
  ms: number,
  what: string,
): Promise<NonNullable<T>> {
  const giveUpAt = performance.now() + ms;
  for (;;) {
    let cause: unknown;
    try {
      const answer = await predicate();
      if (answer) return answer;
    } catch (error) {
      cause = error;
    }
    if (performance.now() > giveUpAt) throw new Error(`waited ${ms} ms for ${what}`, { cause });
    await sleep(10);
  }
}

export interface Deferred<T> {
  readonly promise: Promise<T>;
  readonly resolve: (value: T | PromiseLike<T>) => void;
  readonly reject: (error: Error) => void;
}

/** A promise and its two ends. */
export function deferred<T = void>(): Deferred<T> {
  let resolve!: Deferred<T>["resolve"];
  let reject!: Deferred<T>["reject"];
  const promise = new Promise<T>((yes, no) => {
    resolve = yes;
    reject = no;
  });
  return { promise, resolve, reject };
}

export interface Random {
  readonly seed: number;
  /** From 0 up to, not including, 1. */
  next(): number;
  /** A whole number from 0 up to, not including, n. */
  int(n: number): number;
  pick<T>(from: readonly T[]): T;
  /** True with this probability. */
  chance(probability: number): boolean;
  /** A generator of its own, so that one part may draw more without changing what the others draw. */
  fork(): Random;
}

/** The same seed (32 bits) draws the same sequence: mulberry32. */
export function seeded(seed: number): Random {
  let state = seed >>> 0;
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  const int = (n: number): number => Math.floor(next() * n);
  return {
    seed: seed >>> 0,
    next,
    int,
    pick: <T>(from: readonly T[]): T => {
      if (from.length === 0) throw new Error("nothing to pick from");
      return from[int(from.length)] as T;
    },
    chance: (probability) => next() < probability,
    fork: () => seeded(int(2 ** 32)),
  };
}

/** HAULOUT_SEED, or a new seed; prints it, for the runner shows lines that start with `seed`. */
export function seedFromEnvironment(): number {
  const given = process.env["HAULOUT_SEED"];
  const seed = given ? Number(given) : Math.floor(Math.random() * 2 ** 32);
  if (!Number.isInteger(seed) || seed < 0 || seed >= 2 ** 32)
    throw new Error(`HAULOUT_SEED is no 32-bit number: ${given}`);
  console.log(`seed ${seed}`);
  return seed;
}
