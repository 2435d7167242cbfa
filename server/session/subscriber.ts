/**
 * Subscriber: the port through which entries leave a session. Owns the interface alone; a connection implements it, and
 * so does the runtime's in-process reader. A session never knows what is behind it and never waits for it.
 */
import type { EncodedFrame } from "../../protocol/codec.ts";
import type { SessionState } from "../../protocol/frames.ts";
import type { Caller } from "./access.ts";

export interface Subscriber {
  /** Takes a frame in order; must not throw and must not block. Ignored once gone. */
  deliver(frame: EncodedFrame): void;
  /** Too much waits for it: it is to read on from the log. */
  readonly lagging: boolean;
  /** Takes back the frames of a channel that it has not been sent yet. */
  drop(channel: number): void;
  /** undefined: there is room for another page of replay. Else resolves when there is, or when the reader is gone. */
  room(): Promise<void> | undefined;
  /** Who it is, where it is somebody who could say something. */
  readonly identity?: Caller | undefined;
  /** Whether it may go on reading, now that members have changed. */
  mayRead(state: SessionState): boolean;
  /** True once the reader will never take another frame. */
  readonly gone: boolean;
}
