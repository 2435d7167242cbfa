/**
 * How many may be connected: in all, from one address, without a hello, and how fast upgrades of an address come. Owns
 * these counts and the text of a refusal; never reads a header (who an address is was decided before) and never a frame.
 */
import { Bucket, Roster } from "./rate.ts";
import { isLoopback } from "./origin.ts";

export interface AdmissionOptions {
  /** Open sockets (20 000; 0: any number). Beyond each of these an upgrade is refused with 503. */
  readonly maxConnections?: number;
  /** Sockets that have not said hello (8192). */
  readonly maxGreeting?: number;
  /** Of one address; a whole /64 is one: open sockets (1000), and those that have not said hello (64). */
  readonly maxConnectionsPerAddress?: number;
  readonly maxGreetingPerAddress?: number;
  /** Upgrades of one address in a second (50), and how many more at once (500). */
  readonly upgradesPerSecond?: number;
  readonly upgradeBurst?: number;
  /**
   * Whether loopback addresses are counted, too (false). A proxy on this machine that is not known as one has all its
   * clients there.
   */
  readonly countLoopback?: boolean;
}

/** Somebody who may or may not have said hello. */
export interface Greeter {
  readonly identity: unknown;
}

export type Refused = readonly [reason: string, text: string];

interface Address {
  connections: number;
  readonly greeting: Set<Greeter>;
  readonly upgrades: Bucket;
  isClear(now: number): boolean;
}

export class Admission {
  readonly #options: Required<AdmissionOptions>;
  readonly #clock: () => number;
  readonly #addresses: Roster<Address>;
  readonly #greeting = new Set<Greeter>();
  #connections = 0;

  constructor(options: AdmissionOptions = {}, clock: () => number = () => performance.now()) {
    this.#clock = clock;
    this.#options = {
      maxConnections: options.maxConnections ?? 20_000,
      maxGreeting: options.maxGreeting ?? 8192,
      maxConnectionsPerAddress: options.maxConnectionsPerAddress ?? 1000,
      maxGreetingPerAddress: options.maxGreetingPerAddress ?? 64,
      upgradesPerSecond: options.upgradesPerSecond ?? 50,
      upgradeBurst: options.upgradeBurst ?? 500,
      countLoopback: options.countLoopback ?? false,
    };
    const { upgradesPerSecond, upgradeBurst } = this.#options;
    this.#addresses = new Roster((now) => {
      const upgrades = new Bucket(upgradesPerSecond, upgradeBurst, now);
      return { connections: 0, greeting: new Set(), upgrades, isClear: (at) => upgrades.isFull(at) };
    });
  }

  /** Addresses that are remembered now. */
  get addresses(): number {
    return this.#addresses.size;
  }

  /** Why an upgrade of this address must be refused now, if so. Asking counts as an upgrade. */
  refusal(address: string): Refused | undefined {
    const { maxConnections, maxGreeting, maxConnectionsPerAddress, maxGreetingPerAddress } = this.#options;
    const counted = this.#counted(address);
    if (counted !== undefined) {
      const now = this.#clock();
      const known = this.#addresses.find(counted, now);
      if (known.upgrades.spend(1, now) > 0)
        return ["upgrades", "Too many connections of this address came at once."];
      if (full(known.connections, maxConnectionsPerAddress))
        return ["address", "There are too many connections of this address."];
      if (isFull(known.greeting, maxGreetingPerAddress))
        return ["greeting", "Too many connections of this address have not said hello."];
    }
    if (full(this.#connections, maxConnections)) return ["connections", "There are too many connections."];
    if (isFull(this.#greeting, maxGreeting)) return ["greeting", "Too many connections have not said hello."];
    return undefined;
  }

  /** Counts a socket that was let in; answers what to call when it is closed. */
  enter(address: string, greeter: Greeter): () => void {
    const counted = this.#counted(address);
    const known = counted === undefined ? undefined : this.#addresses.enter(counted, this.#clock());
    this.#connections++;
    this.#greeting.add(greeter);
    known?.greeting.add(greeter);
    return () => {
      this.#connections--;
      this.#greeting.delete(greeter);
      known?.greeting.delete(greeter);
      if (counted !== undefined) this.#addresses.leave(counted);
    };
  }

  #counted(address: string): string | undefined {
    const network = networkOf(address);
    return this.#options.countLoopback || !isLoopback(network) ? network : undefined;
  }
}

/** What counts as one address: an IPv4 address however it is written, or the /64 of an IPv6 one, which one host may own. */
export function networkOf(address: string): string {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1];
  if (mapped !== undefined) return mapped;
  const plain = address.replace(/%.*$/, "").toLowerCase();
  if (!plain.includes(":") || plain === "::1") return plain;
  const [head = "", tail = ""] = plain.split("::");
  const groups = head === "" ? [] : head.split(":");
  const missing = plain.includes("::") ? 8 - groups.length - (tail === "" ? 0 : tail.split(":").length) : 0;
  const all = [...groups, ...Array.from({ length: missing }, () => "0"), ...tail.split(":")];
  return `${all
    .slice(0, 4)
    .map((group) => group.replace(/^0+(?=.)/, ""))
    .join(":")}::/64`;
}

function full(count: number, most: number): boolean {
  return most > 0 && count >= most;
}

/** Looked through only when it seems full: those that have said hello meanwhile are dropped on the way. */
function isFull(greeting: Set<Greeter>, most: number): boolean {
  if (!full(greeting.size, most)) return false;
  for (const greeter of greeting) if (greeter.identity !== undefined) greeting.delete(greeter);
  return full(greeting.size, most);
}
