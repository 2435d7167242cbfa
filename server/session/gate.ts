/**
 * How many runs are open at once, in the process and of one user, and who is next when there is no place: users in turn,
 * each user's in the order in which they came, and who comes back before who has not begun. Owns these places; what runs
 * in them is the slot's. Never waits itself.
 */
import type { Actor } from "../../protocol/content.ts";
import { orAbort } from "../agent/asking.ts";

export interface GateOptions {
  /** Open runs of the process (5000; 0: any number). */
  readonly maxRuns?: number;
  /** Open runs of one user, where users are verified (100; 0: any number). */
  readonly maxRunsPerUser?: number;
}

/** Users with somebody waiting, next first, and who waits of each. */
class Line {
  readonly #users = new Map<string, Set<Place>>();

  get waiting(): number {
    let count = 0;
    for (const places of this.#users.values()) count += places.size;
    return count;
  }

  add(place: Place): void {
    const places = this.#users.get(place.user);
    if (places === undefined) this.#users.set(place.user, new Set([place]));
    else places.add(place);
  }

  /** False when it does not wait here. */
  delete(place: Place): boolean {
    const places = this.#users.get(place.user);
    if (places?.delete(place) !== true) return false;
    if (places.size === 0) this.#users.delete(place.user);
    return true;
  }

  /** The first of the first user who may have one more; the user goes behind the others. */
  take(mayHave: (place: Place) => boolean): Place | undefined {
    for (const [user, places] of this.#users) {
      const [first] = places;
      if (first === undefined || !mayHave(first)) continue;
      places.delete(first);
      this.#users.delete(user);
      if (places.size > 0) this.#users.set(user, places);
      return first;
    }
    return undefined;
  }
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

  /** Resolves once there is a place, or the wait is over without one. */
  async until(signal: AbortSignal): Promise<void> {
    if (!this.held) await orAbort(this.granted, signal).catch(() => {});
  }

  /** Gives back the place, or the wait. Any number of times. */
  leave(): void {
    this.#leave(this);
  }
}

export class RunGate {
  readonly #maxRuns: number;
  readonly #maxRunsPerUser: number;
  /** Open runs by user. */
  readonly #openOf = new Map<string, number>();
  readonly #returning = new Line();
  readonly #beginning = new Line();
  #open = 0;

  constructor(options: GateOptions = {}) {
    this.#maxRuns = (options.maxRuns ?? 5000) || Infinity;
    this.#maxRunsPerUser = (options.maxRunsPerUser ?? 100) || Infinity;
  }

  get open(): number {
    return this.#open;
  }

  get waiting(): number {
    return this.#returning.waiting + this.#beginning.waiting;
  }

  /** A place when it is this user's turn; at once if there is room. */
  enter(by: Pick<Actor, "id" | "verified">): Place {
    return this.#wait(by, this.#beginning);
  }

  /** The same for a run that gave its place to others: before any that has not begun. */
  comeBack(by: Pick<Actor, "id" | "verified">): Place {
    return this.#wait(by, this.#returning);
  }

  /** A place for a run that was begun before, room or not: what is open must never wait for what is not. */
  resume(by: Pick<Actor, "id" | "verified">): Place {
    const place = new Place(by, (left) => this.#leave(left));
    this.#grant(place);
    return place;
  }

  #wait(by: Pick<Actor, "id" | "verified">, line: Line): Place {
    const place = new Place(by, (left) => this.#leave(left));
    line.add(place);
    this.#serve();
    return place;
  }

  #leave(place: Place): void {
    if (this.#beginning.delete(place) || this.#returning.delete(place)) place.settle(false);
    else if (place.held) {
      place.held = false;
      this.#count(place.user, -1);
      this.#serve();
    }
  }

  #serve(): void {
    const mayHave = ({ user, verified }: Place): boolean =>
      !verified || (this.#openOf.get(user) ?? 0) < this.#maxRunsPerUser;
    while (this.#open < this.#maxRuns) {
      const next = this.#returning.take(mayHave) ?? this.#beginning.take(mayHave);
      if (next === undefined) return;
      this.#grant(next);
    }
  }

  #grant(place: Place): void {
    this.#count(place.user, 1);
    place.held = true;
    place.settle(true);
  }

  #count(user: string, more: 1 | -1): void {
    const open = (this.#openOf.get(user) ?? 0) + more;
    if (open === 0) this.#openOf.delete(user);
    else this.#openOf.set(user, open);
    this.#open += more;
  }
}
