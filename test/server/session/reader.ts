/**
 * A reader of a session at the port that connections implement: keeps every frame in order, decoded and as bytes, may run
 * out of room, and can say what a client that follows the protocol would now hold.
 */
import { decodeTrusted, EncodedFrame } from "../../../protocol/codec.ts";
import type { ResultOf, ServerFrame, ServerFrameOf, SessionState } from "../../../protocol/frames.ts";
import { scanMsgpack } from "../../../protocol/scan.ts";
import { fold } from "../../../protocol/state.ts";
import type { AttachRequest } from "../../../server/session/feed.ts";
import type { Subscriber } from "../../../server/session/subscriber.ts";
import type { TestRuntime } from "../../support/runtime.ts";
import { deferred, type Deferred } from "../../support/wait.ts";

export class TestReader implements Subscriber {
  readonly encoded: EncodedFrame[] = [];
  readonly frames: ServerFrame[] = [];
  gone = false;
  /** Whom it reads as: a member's name, or anybody. */
  user: string | undefined;
  answer: ResultOf<"attach"> | undefined;
  /** Frames that were here when the answer came. */
  answeredAt = -1;
  #full: Deferred<void> | undefined;
  readonly #looking = new Set<() => void>();

  /** Too much waits for it: it leaves the live set at the next frame. */
  lagging = false;
  /** Frames that were taken back are those of these channels; none was kept waiting here. */
  readonly dropped: number[] = [];

  deliver(frame: EncodedFrame): void {
    if (this.gone) return;
    for (const one of framesIn(frame)) {
      this.encoded.push(one);
      this.frames.push(decodeTrusted(one.bytes) as ServerFrame);
      for (const look of this.#looking) look();
    }
  }

  drop(channel: number): void {
    this.dropped.push(channel);
  }

  mayRead({ members }: SessionState): boolean {
    return this.user === undefined || Object.hasOwn(members, this.user);
  }

  room(): Promise<void> | undefined {
    return this.#full?.promise;
  }

  /** No room for replay until the function is called. */
  fill(): () => void {
    const full = deferred();
    this.#full = full;
    return () => {
      this.#full = undefined;
      full.resolve();
    };
  }

  attach(runtime: TestRuntime, session: string, request: AttachRequest = {}): Promise<void> {
    return runtime.runtime.registry.with(session, (held) =>
      held.feed.attach(this, request, (answer) => {
        this.answer = answer;
        this.answeredAt = this.frames.length;
      }),
    );
  }

  /** Resolves when a frame, here or to come, matches. */
  until(matches: (frame: ServerFrame) => boolean): Promise<void> {
    if (this.frames.some(matches)) return Promise.resolve();
    return new Promise((resolve) => {
      const look = (): void => {
        if (!matches(this.frames.at(-1)!)) return;
        this.#looking.delete(look);
        resolve();
      };
      this.#looking.add(look);
    });
  }

  of<T extends ServerFrame["type"]>(type: T): ServerFrameOf<T>[] {
    return this.frames.filter((frame) => frame.type === type) as ServerFrameOf<T>[];
  }

  get seqs(): number[] {
    return this.of("event").map(({ seq }) => seq);
  }

  /** The state of a client that took the snapshot, if there was one, and folded every entry since. */
  folded(): SessionState | undefined {
    let state = this.answer?.snapshot?.state;
    for (const entry of this.of("event")) state = fold(state, entry);
    return state;
  }

  /** Unfinished text by the client rule; throws where an offset is ahead of what is here. */
  text(): string {
    let message: string | undefined;
    let parts = new Map<number, string>();
    const done = new Set<string>();
    for (const frame of this.frames) {
      if (frame.type === "live") {
        message = frame.partial?.message;
        parts = new Map(frame.partial?.parts.map((part) => [part.part, part.text]));
      } else if (frame.type === "part" && !done.has(frame.message)) {
        if (frame.message !== message) [message, parts] = [frame.message, new Map()];
        parts.set(frame.part, "");
      } else if (frame.type === "delta" && frame.message === message) {
        const here = parts.get(frame.part);
        if (here === undefined || frame.offset > here.length) throw new Error("a delta is missing");
        parts.set(frame.part, here + frame.text.slice(here.length - frame.offset));
      } else if (frame.type === "event" && frame.event.type === "message") {
        done.add(frame.event.message.id);
        if (frame.event.message.id === message) [message, parts] = [undefined, new Map()];
      } else if (frame.type === "event" && frame.event.type === "message-abandoned") {
        done.add(frame.event.message);
        if (frame.event.message === message) [message, parts] = [undefined, new Map()];
      }
    }
    return [...parts.values()].join("");
  }
}

function framesIn(frame: EncodedFrame): EncodedFrame[] {
  if (frame.count === 1) return [frame];
  const frames: EncodedFrame[] = [];
  for (let at = 0; at < frame.bytes.length;) {
    const end = scanMsgpack(frame.bytes, at);
    frames.push(new EncodedFrame(frame.bytes.subarray(at, end)));
    at = end;
  }
  return frames;
}
