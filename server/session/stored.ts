/**
 * The folded state that the store keeps of a session, so that it need not be folded from its first entry. Owns its form and
 * the reading of it: the newest messages are decoded at once, for those who attach; the older ones when somebody asks for
 * them, a run above all. Never decides when a state is stored.
 */
import { decodeTrusted, encodeFrame } from "../../protocol/codec.ts";
import type { EventFrame } from "../../protocol/entries.ts";
import type { HistoryMessage, SessionState } from "../../protocol/frames.ts";
import { rememberTotal, totalBytes } from "../../protocol/size.ts";
import { cut, fold, retained } from "../../protocol/state.ts";
import { MAX_TAIL } from "../../protocol/version.ts";

/** Raised whenever fold changes what it makes of entries, or this form changes; an older body is then folded anew. */
const FOLD_VERSION = 3;
/** Messages that are encoded in one turn of the event loop. */
const PER_TURN = 500;

/** `older`: the messages before those of `state`, some at a time, and what they measure. */
interface Body {
  readonly fold: number;
  readonly state: SessionState;
  readonly older?: { readonly chunks: readonly Uint8Array[]; readonly size: number };
}

/** Encodes the state, in several turns where it is long. */
export async function encodeState(state: SessionState): Promise<Uint8Array> {
  const newest = cut(state, MAX_TAIL);
  const shown = new Set(newest.messages);
  const older = state.messages.filter((message) => !shown.has(message));
  if (older.length === 0) return encodeFrame({ fold: FOLD_VERSION, state });
  const chunks: Uint8Array[] = [];
  for (let at = 0; at < older.length; at += PER_TURN) {
    chunks.push(encodeFrame(older.slice(at, at + PER_TURN)));
    await new Promise(setImmediate);
  }
  return encodeFrame({ fold: FOLD_VERSION, state: newest, older: { chunks, size: totalBytes(older) } });
}

/** A stored state and the entries since. */
export class Stored {
  #newest: SessionState;
  #older: Body["older"];

  private constructor({ state, older }: Body) {
    this.#newest = state;
    this.#older = older;
  }

  /** undefined: made by another version of fold, of no use. */
  static decode(body: Uint8Array): Stored | undefined {
    const decoded = decodeTrusted(body) as Body;
    return decoded.fold === FOLD_VERSION ? new Stored(decoded) : undefined;
  }

  get seq(): number {
    return this.#newest.seq;
  }

  fold(entry: EventFrame): void {
    const { event } = entry;
    // These reach back beyond the newest messages.
    if (event.type === "compacted" || (event.type === "run-finished" && event.rolledBack))
      this.#newest = this.#whole();
    this.#newest = fold(this.#newest, entry);
  }

  /** The state; its messages are whole as soon as they are looked at. */
  state(): SessionState {
    const older = this.#older;
    const state = this.#newest;
    if (older === undefined) return state;
    const whole = (): SessionState => this.#whole();
    const lazy = {
      ...state,
      get messages(): HistoryMessage[] {
        const { messages } = whole();
        Object.defineProperty(lazy, "messages", { value: messages, enumerable: true, writable: true });
        return messages;
      },
    };
    newestOf.set(lazy, state);
    return lazy;
  }

  #whole(): SessionState {
    const state = this.#newest;
    if (this.#older === undefined) return state;
    const { chunks, size } = this.#older;
    this.#older = undefined;
    const older = chunks.flatMap((chunk) => decodeTrusted(chunk) as HistoryMessage[]);
    // A message with open calls was among the newest however old it is.
    const messages = [...older, ...state.messages].sort((one, other) => one.seq - other.seq);
    rememberTotal(messages, size + totalBytes(state.messages));
    this.#newest = retained({ ...state, messages });
    return this.#newest;
  }
}

const newestOf = new WeakMap<SessionState, SessionState>();

/** The state, or one that has its last MAX_TAIL messages and does not decode the others for it. */
export function withNewest(state: SessionState): SessionState {
  return newestOf.get(state) ?? state;
}
