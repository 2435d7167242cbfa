/**
 * How many runs are open at once, in the process and of one user, and who is next when there is no place: users in turn,
 * each user's in the order in which they came. Owns these places; what runs in them is the slot's. Never waits itself.
 */
import type { Actor } from "../../protocol/content.ts";

export interface GateOptions {
  /** Open runs of the process (5000; 0: any number). */
  readonly maxRuns?: number;
  /** Open runs of one user, where users are verified (100; 0: any number). */
  readonly maxRunsPerUser?: number;
}

interface User {
  open: number;
  readonly waiting: Set<Place>;
}

/** A place, or the wait for one. */
export class Place {
  readonly user: string;
  readonly verified: boolean;
  readonly #leave: (place: Place) => void;
  /** True once there is a place, false when it was given up before. */
  readonly granted: Promise<boolean>;
  settle: (granted: boolean) => void = () => {};
  held = false;

  constructor(by: Pick<Actor, "id" | "verified">, leave: (place: Place) => void) {
    this.user = by.id;
    this.verified = by.verified;
    this.#leave = leave;
    this.granted = new Promise((resolve) => (this.settle = resolve));
  }

  /** Gives back the place, or the wait. Any number of times. */
  leave(): void {
    this.#leave(this);
  }
}

export class RunGate {
  readonly #maxRuns: number;
  readonly #maxRunsPerUser: number;
  readonly #users = new Map<string, User>();
  /** Users with somebody waiting, next first. */
  readonly #line = new Set<string>();
  #open = 0;

  constructor(options: GateOptions = {}) {
    this.#maxRuns = (options.maxRuns ?? 5000) || Infinity;
    this.#maxRunsPerUser = (options.maxRunsPerUser ?? 100) || Infinity;
  }

  get open(): number {
    return this.#open;
  }

  get waiting(): number {
    let count = 0;
    for (const user of this.#line) count += this.#users.get(user)!.waiting.size;
    return count;
  }

  /** A place when it is this user's turn; at once if there is room. */
  enter(by: Pick<Actor, "id" | "verified">): Place {
    const place = new Place(by, (left) => this.#leave(left));
    this.#of(by.id).waiting.add(place);
    this.#line.add(by.id);
    this.#serve();
    return place;
  }

  /** A place for a run that was begun before, room or not: what is open must never wait for what is not. */
  resume(by: Pick<Actor, "id" | "verified">): Place {
    const place = new Place(by, (left) => this.#leave(left));
    this.#grant(place);
    return place;
  }

  #leave(place: Place): void {
    const user = this.#users.get(place.user);
    if (user?.waiting.delete(place)) {
      place.settle(false);
      if (user.waiting.size === 0) this.#line.delete(place.user);
    } else if (user !== undefined && place.held) {
      place.held = false;
      user.open--;
      this.#open--;
      this.#serve();
    }
    if (user?.open === 0 && user.waiting.size === 0) this.#users.delete(place.user);
  }

  #serve(): void {
    while (this.#open < this.#maxRuns) {
      const next = this.#next();
      if (next === undefined) return;
      const { waiting } = this.#of(next.user);
      waiting.delete(next);
      this.#line.delete(next.user);
      if (waiting.size > 0) this.#line.add(next.user);
      this.#grant(next);
    }
  }

  /** The first of the first user in line who may have one more. */
  #next(): Place | undefined {
    for (const name of this.#line) {
      const { open, waiting } = this.#of(name);
      const [first] = waiting;
      if (first !== undefined && (!first.verified || open < this.#maxRunsPerUser)) return first;
    }
    return undefined;
  }

  #grant(place: Place): void {
    this.#of(place.user).open++;
    this.#open++;
    place.held = true;
    place.settle(true);
  }

  #of(name: string): User {
    let user = this.#users.get(name);
    if (user === undefined) this.#users.set(name, (user = { open: 0, waiting: new Set() }));
    return user;
  }
}
