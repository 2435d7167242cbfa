/**
 * Presence as one client sees it and takes part in it: who is here, and what this client says it does. Owns when that is
 * sent: not more often than others can use it, again while it holds, and anew after a lost connection. Never waits.
 */
import type { ServerFrameOf } from "../protocol/frames.ts";
import type { Clock } from "./clock.ts";

export type PresentUser = ServerFrameOf<"presence">["users"][number];

/** Who is attached to a session, by user. */
export interface Presence {
  /**
   * `{id, name, connections, typing?, viewing?}` of each, whoever came first first; of more than the server lists (100),
   * only those who type.
   */
  readonly users: readonly PresentUser[];
  /** How many users are here, listed or not. */
  readonly people: number;
  /** On how many connections. */
  readonly connections: number;
}

export const NOBODY: Presence = { users: [], people: 0, connections: 0 };

export function presenceOf({ users, people, connections }: ServerFrameOf<"presence">): Presence {
  return {
    users,
    people: people ?? users.length,
    connections: connections ?? users.reduce((sum, user) => sum + user.connections, 0),
  };
}

/** Least ms between two of our own. */
const EVERY_MS = 500;
/** While somebody goes on typing it is said again so often; the server takes it back after 6 s. */
const AGAIN_MS = 3000;
/** Who has not typed for so long does not type any more. */
const TYPING_MS = 5000;

export interface OwnPresenceLink {
  readonly clock: Clock;
  /** Sends what the server is to know, or nothing when the session is not live; nobody waits for the answer. */
  send(doing: { readonly typing?: true; readonly viewing?: string }): void;
}

export class OwnPresence {
  readonly #link: OwnPresenceLink;
  #typing = false;
  #viewing: string | undefined;
  #said = "";
  #saidAt = -Infinity;
  #endNext: (() => void) | undefined;
  #endTyping: () => void = () => undefined;

  constructor(link: OwnPresenceLink) {
    this.#link = link;
  }

  /** To be called at every key: typing ends by itself, and at once with `false`. */
  typing(isTyping: boolean): void {
    this.#endTyping();
    if (isTyping) this.#endTyping = this.#link.clock.after(TYPING_MS, () => this.typing(false));
    this.#typing = isTyping;
    this.#tell();
  }

  viewing(message: string | undefined): void {
    this.#viewing = message;
    this.#tell();
  }

  /** The server has forgotten everything: another attachment has begun. */
  live(): void {
    this.#said = "";
    this.#saidAt = -Infinity;
    this.#tell();
  }

  end(): void {
    this.#endTyping();
    this.#endNext?.();
    this.#endNext = undefined;
  }

  #tell(): void {
    if (this.#endNext !== undefined) return;
    const since = this.#link.clock.now() - this.#saidAt;
    const same = this.#shown() === this.#said;
    if (same && !(this.#typing && since >= AGAIN_MS)) return;
    if (since >= EVERY_MS) return this.#say();
    this.#endNext = this.#link.clock.after(EVERY_MS - since, () => {
      this.#endNext = undefined;
      this.#tell();
    });
  }

  #say(): void {
    this.#said = this.#shown();
    this.#saidAt = this.#link.clock.now();
    this.#link.send({
      ...(this.#typing ? { typing: true } : {}),
      ...(this.#viewing === undefined ? {} : { viewing: this.#viewing }),
    });
  }

  #shown(): string {
    return this.#typing || this.#viewing !== undefined ? JSON.stringify([this.#typing, this.#viewing]) : "";
  }
}
