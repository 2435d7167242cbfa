/**
 * Who is here: the readers of one session by user, and what they say they do. Owns the lease of each (a reader's ends with
 * its attachment, typing by itself) and how often the readers are told; nothing of it is stored or logged.
 */
import type { ServerFrameOf } from "../../protocol/frames.ts";
import type { Deadlines } from "../tool/deadlines.ts";
import type { Caller } from "./access.ts";
import type { Subscriber } from "./subscriber.ts";

export interface PresenceOptions {
  /** Least ms between two presences of a session (250); with more than 250 readers in proportion, up to four times that. */
  readonly presenceEveryMs?: number;
  /** How long typing holds unless it is said again, ms (6000). */
  readonly typingMs?: number;
  /** Users up to whom all are listed (100); with more, only those who type. */
  readonly maxListedUsers?: number;
}

/** Who type, of more users than are listed, at most. */
const MAX_TYPING = 20;
const READERS_AT_FULL_PACE = 250;
const SLOWEST = 4;

type Frame = ServerFrameOf<"presence">;
type PresentUser = Frame["users"][number];

interface Reader {
  readonly subscriber: Subscriber;
  readonly user: string;
  readonly name: string;
  typing: boolean;
  endTyping: () => void;
  viewing: string | undefined;
}

interface Doing {
  readonly typing?: boolean | undefined;
  readonly viewing?: string | undefined;
}

export interface PresenceParts {
  readonly deadlines: Pick<Deadlines, "now" | "after">;
  readonly broadcast: (frame: Frame) => void;
  /** A user's first reader has come, or the last one has left. */
  readonly usersChanged: () => void;
}

export class Presence {
  readonly #session: string;
  readonly #parts: PresenceParts;
  readonly #everyMs: number;
  readonly #typingMs: number;
  readonly #maxListed: number;
  readonly #readers = new Map<Subscriber, Reader>();
  /** In the order in which they came; of each the one that said something last comes last. */
  readonly #users = new Map<string, Set<Reader>>();
  #toldAt = -Infinity;
  #due = false;

  constructor(session: string, parts: PresenceParts, options: PresenceOptions = {}) {
    this.#session = session;
    this.#parts = parts;
    this.#everyMs = options.presenceEveryMs ?? 250;
    this.#typingMs = options.typingMs ?? 6000;
    this.#maxListed = options.maxListedUsers ?? 100;
  }

  /** A user who is here, as one of their readers. */
  find(user: string): Caller | undefined {
    const [reader] = this.#users.get(user) ?? [];
    return reader?.subscriber.identity;
  }

  /** A reader that is somebody has come. */
  enter(subscriber: Subscriber): void {
    const actor = subscriber.identity?.actor;
    if (actor === undefined) return;
    const { id: user, name } = actor;
    const reader: Reader = { subscriber, user, name, typing: false, endTyping: () => {}, viewing: undefined };
    this.#readers.set(subscriber, reader);
    const own = this.#users.get(user);
    if (own !== undefined) own.add(reader);
    else {
      this.#users.set(user, new Set([reader]));
      this.#parts.usersChanged();
    }
    this.tell();
  }

  leave(subscriber: Subscriber): void {
    const reader = this.#readers.get(subscriber);
    if (reader === undefined) return;
    this.#readers.delete(subscriber);
    reader.endTyping();
    const own = this.#users.get(reader.user)!;
    own.delete(reader);
    if (own.size === 0) {
      this.#users.delete(reader.user);
      this.#parts.usersChanged();
    }
    this.tell();
  }

  /** What a reader does now, in place of what it said before; false when it is not here. */
  set(subscriber: Subscriber, { typing = false, viewing }: Doing): boolean {
    const reader = this.#readers.get(subscriber);
    if (reader === undefined) return false;
    reader.endTyping();
    reader.endTyping = typing
      ? this.#parts.deadlines.after(this.#typingMs, () => this.#idle(reader))
      : () => {};
    if (reader.typing === typing && reader.viewing === viewing) return true;
    reader.typing = typing;
    reader.viewing = viewing;
    const own = this.#users.get(reader.user)!;
    own.delete(reader);
    own.add(reader);
    this.tell();
    return true;
  }

  /** Tells all who are live, soon and together with what else changes until then. */
  tell(): void {
    if (this.#due) return;
    this.#due = true;
    const { deadlines, broadcast } = this.#parts;
    const pace = Math.min(SLOWEST, Math.max(1, this.#readers.size / READERS_AT_FULL_PACE));
    const wait = Math.max(0, this.#toldAt + pace * this.#everyMs - deadlines.now());
    deadlines.after(wait, () => {
      this.#due = false;
      this.#toldAt = deadlines.now();
      if (this.#readers.size > 0) broadcast(this.#frame());
    });
  }

  #idle(reader: Reader): void {
    reader.typing = false;
    this.tell();
  }

  #frame(): Frame {
    const frame = { type: "presence" as const, session: this.#session };
    if (this.#users.size <= this.#maxListed)
      return { ...frame, users: [...this.#users].map(([id, own]) => present(id, own)) };
    const users: PresentUser[] = [];
    for (const [id, own] of this.#users) {
      if (users.length === MAX_TYPING) break;
      const user = present(id, own);
      if (user.typing) users.push(user);
    }
    return { ...frame, users, people: this.#users.size, connections: this.#readers.size };
  }
}

function present(id: string, own: ReadonlySet<Reader>): PresentUser {
  const user: PresentUser = { id, name: "", connections: own.size };
  for (const { name, typing, viewing } of own) {
    user.name = name;
    if (typing) user.typing = true;
    if (viewing !== undefined) user.viewing = viewing;
  }
  return user;
}
