/**
 * Requests and their answers: ids, deadlines, abort signals, and the bounded outbox that holds what cannot be sent yet.
 * Owns which request may be sent again after a lost socket (only what the server can tell for a repetition) and the
 * retries of keyed ones. Never opens a socket; what it sends it hands to `transmit`.
 */
import { encodeFrame, encodeJsonFrame } from "../protocol/codec.ts";
import { ProtocolError } from "../protocol/errors.ts";
import type { ClientFrameInputOf, RequestType, ServerFrameOf } from "../protocol/frames.ts";
import { toJsonValue } from "../protocol/values.ts";
import type { Encoding } from "../protocol/version.ts";
import { MAX_FRAME_BYTES } from "../protocol/version.ts";
import { between } from "./clock.ts";
import type { Clock } from "./clock.ts";

export interface RequestOptions {
  /** Until when an answer must be there, waiting offline included: ms, 30 000 unless told; Infinity for none. */
  readonly timeoutMs?: number;
  /** Gives up waiting; what the server already has is not undone. */
  readonly signal?: AbortSignal;
}

/** Requests for any use; attaching and tools have methods of their own, which keep them across connections. */
export type PlainRequest = Exclude<
  RequestType,
  "hello" | "attach" | "detach" | "offerTools" | "withdrawTools" | "drain"
>;
export type FieldsOf<T extends RequestType> = Omit<ClientFrameInputOf<T>, "type" | "id">;

/** How a request may be handled; the kinds differ in what a repetition would do. */
export interface RequestPolicy {
  /** A repetition changes nothing: sent again after a lost socket. */
  readonly replay: boolean;
  /** Has a key: a refusal that says `retryable` is tried again until the deadline. */
  readonly retry?: boolean;
  /** Belongs to this connection: refused offline, failed when the socket is lost, sent before all others. */
  readonly bound?: boolean;
  /** Called with the `ok` before any later frame is looked at. */
  readonly received?: (ok: Ok) => void;
}

export interface OutboxLimits {
  /** Requests waiting to be sent (256). */
  readonly maxRequests?: number;
  /** Their encoded bytes (1 MiB). */
  readonly maxBytes?: number;
}

export type Ok = ServerFrameOf<"ok">;

/** A request without its id. */
export type OutgoingFrame = Readonly<Record<string, unknown>> & { readonly type: string };

interface Pending {
  readonly id: number;
  readonly data: Uint8Array | string;
  readonly policy: RequestPolicy;
  readonly deadlineAt: number;
  readonly resolve: (ok: Ok) => void;
  readonly reject: (error: unknown) => void;
  place: "waiting" | "in flight" | "paused";
  retries: number;
  endTimers: () => void;
  endPause: () => void;
}

export interface RequestsSettings {
  readonly encoding: Encoding;
  readonly clock: Clock;
  readonly outbox: OutboxLimits;
  /** Hands bytes to the socket; false when there is none. */
  transmit(data: Uint8Array | string): boolean;
  /** The number of unsent requests changed. */
  changed(): void;
}

const DEADLINE_MS = 30_000;
const LONGEST_PAUSE_MS = 5_000;

export class Requests {
  readonly #settings: RequestsSettings;
  readonly #maxRequests: number;
  readonly #maxBytes: number;
  /** By id, oldest first: replay keeps this order. */
  readonly #pending = new Map<number, Pending>();
  #lastId = 0;
  #inFlight = 0;
  /** 0 while offline. */
  #maxInFlight = 0;
  /** Nothing is sent before, for the server has said so. */
  #heldUntil = 0;
  #endHold = (): void => undefined;

  constructor(settings: RequestsSettings) {
    this.#settings = settings;
    this.#maxRequests = settings.outbox.maxRequests ?? 256;
    this.#maxBytes = settings.outbox.maxBytes ?? 1024 * 1024;
  }

  /** Requests that no server has, as far as we know. */
  get unsent(): number {
    return this.#pending.size - this.#inFlight;
  }

  /**
   * Sends a request, now or when there is a connection, and resolves with its `ok`.
   * Rejects with the server's ProtocolError, or `timeout` (the outcome of a request with key is found by repeating it
   * with that key), `unavailable` (the connection was lost and a repetition could do it twice), `queue-full` (the outbox
   * is at its limit), `too-large`, or the signal's reason.
   */
  call(frame: OutgoingFrame, policy: RequestPolicy, options: RequestOptions = {}): Promise<Ok> {
    return new Promise((resolve, reject) => {
      options.signal?.throwIfAborted();
      if (policy.bound && this.#maxInFlight === 0) throw lost("there is no connection");
      const id = this.#nextId();
      const data = this.#encode({ ...frame, id });
      checkSize(data);
      this.#checkRoom(data.length);
      const { clock } = this.#settings;
      const timeoutMs = options.timeoutMs ?? DEADLINE_MS;
      const request: Pending = {
        id,
        data,
        policy,
        deadlineAt: clock.now() + timeoutMs,
        resolve,
        reject,
        place: "waiting",
        retries: 0,
        endTimers: () => undefined,
        endPause: () => undefined,
      };
      const endDeadline =
        timeoutMs === Infinity
          ? undefined
          : clock.after(timeoutMs, () => {
              const how = request.place === "in flight" ? "no answer" : "not sent";
              this.#fail(
                request,
                new ProtocolError("timeout", `${frame.type}: ${how} within ${timeoutMs} ms`),
              );
            });
      const aborted = (): void => this.#fail(request, options.signal?.reason);
      options.signal?.addEventListener("abort", aborted);
      request.endTimers = () => {
        endDeadline?.();
        request.endPause();
        options.signal?.removeEventListener("abort", aborted);
      };
      this.#pending.set(id, request);
      this.#pump();
      if (request.place === "waiting") this.#settings.changed();
    });
  }

  /** There is a connection: sends what waits, oldest first. */
  online(maxInFlight: number): void {
    this.#heldUntil = 0;
    this.#maxInFlight = Math.max(1, maxInFlight);
    this.#pump();
    this.#settings.changed();
  }

  /** The connection is gone: what may be repeated waits for the next, the rest fails. */
  offline(): void {
    this.#maxInFlight = 0;
    for (const request of this.#pending.values()) {
      if (request.policy.bound) this.#fail(request, lost("the connection was lost"));
      else if (request.place !== "in flight") continue;
      else if (request.policy.replay) this.#move(request, "waiting");
      else
        this.#fail(
          request,
          lost("the connection was lost before the answer; it may or may not have been done"),
        );
    }
  }

  /** Takes the answer of a request; false when it is for none of ours. */
  settle(frame: Ok | ServerFrameOf<"error">): boolean {
    const request = frame.id === undefined ? undefined : this.#pending.get(frame.id);
    if (request === undefined || request.place !== "in flight") return false;
    if (frame.type === "ok") {
      this.#forget(request);
      request.policy.received?.(frame);
      request.resolve(frame);
    } else if (!this.#retryLater(request, frame)) this.#fail(request, errorOf(frame));
    this.#pump();
    return true;
  }

  /** Nothing will be answered: everything fails with `error`. */
  fail(error: ProtocolError): void {
    this.#endHold();
    for (const request of this.#pending.values()) this.#fail(request, error);
  }

  #retryLater(request: Pending, refusal: ServerFrameOf<"error">): boolean {
    // Refused before it was looked at: a repetition does nothing twice, whatever the request.
    const limited = refusal.code === "rate-limited";
    if (!limited && (!request.policy.retry || !refusal.retryable)) return false;
    const { clock } = this.#settings;
    const told = refusal.retryAfterMs ?? 0;
    // What the server tells of a rate is exact; other things get better by patience.
    const patience = limited && told > 0 ? 2 * told : 250 * 2 ** request.retries++;
    const pause = told + between(clock, 50, Math.min(LONGEST_PAUSE_MS, patience));
    // The refusal says more than a timeout would.
    if (clock.now() + pause >= request.deadlineAt) return false;
    if (limited) this.#hold(told);
    this.#move(request, "paused");
    request.endPause = clock.after(pause, () => {
      this.#move(request, "waiting");
      this.#pump();
    });
    return true;
  }

  /** Others would be refused, too. */
  #hold(ms: number): void {
    const { clock } = this.#settings;
    if (clock.now() + ms <= this.#heldUntil) return;
    this.#heldUntil = clock.now() + ms;
    this.#endHold();
    this.#endHold = clock.after(ms, () => this.#pump());
  }

  #pump(): void {
    if (this.#maxInFlight === 0 || this.unsent === 0) return;
    if (this.#settings.clock.now() < this.#heldUntil) return;
    for (const bound of [true, false]) {
      for (const request of this.#pending.values()) {
        if (this.#inFlight >= this.#maxInFlight) return;
        if (request.place !== "waiting" || (request.policy.bound ?? false) !== bound) continue;
        if (!this.#settings.transmit(request.data)) return;
        this.#move(request, "in flight");
      }
    }
  }

  #move(request: Pending, place: Pending["place"]): void {
    if (request.place === place) return;
    if (request.place === "in flight") this.#inFlight--;
    if (place === "in flight") this.#inFlight++;
    request.place = place;
  }

  #fail(request: Pending, error: unknown): void {
    if (!this.#pending.has(request.id)) return;
    const wasUnsent = request.place !== "in flight";
    this.#forget(request);
    request.reject(error);
    if (wasUnsent) this.#settings.changed();
  }

  #forget(request: Pending): void {
    if (request.place === "in flight") this.#inFlight--;
    this.#pending.delete(request.id);
    request.endTimers();
  }

  #checkRoom(bytes: number): void {
    let count = 1;
    let total = bytes;
    for (const request of this.#pending.values()) {
      if (request.place === "in flight") continue;
      count++;
      total += request.data.length;
    }
    if (count > this.#maxRequests || (total > this.#maxBytes && count > 1)) {
      throw new ProtocolError("queue-full", "too many requests wait for the connection", {
        details: { requests: count - 1, bytes: total - bytes },
      });
    }
  }

  #encode(frame: object): Uint8Array | string {
    // Also leaves out what is undefined: absent fields are omitted on the wire, never nil.
    const value = toJsonValue(frame) as object;
    return this.#settings.encoding === "json" ? encodeJsonFrame(value) : encodeFrame(value);
  }

  #nextId(): number {
    do this.#lastId = (this.#lastId + 1) % 2 ** 32;
    while (this.#pending.has(this.#lastId));
    return this.#lastId;
  }
}

function lost(message: string): ProtocolError {
  return new ProtocolError("unavailable", message);
}

/** Throws ProtocolError `too-large` for a message that the server would end the connection for. */
export function checkSize(data: Uint8Array | string): void {
  const units = data.length;
  const isLong = typeof data === "string" && units > MAX_FRAME_BYTES / 3;
  const bytes = isLong ? new TextEncoder().encode(data).length : units;
  if (bytes > MAX_FRAME_BYTES)
    throw new ProtocolError("too-large", `a frame is at most ${MAX_FRAME_BYTES} bytes`);
}

/** What a refusal of the server is to the application. */
export function errorOf({
  code,
  message,
  retryable,
  retryAfterMs,
  details,
}: ServerFrameOf<"error">): ProtocolError {
  return new ProtocolError(code, message, {
    retryable,
    ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
    ...(details === undefined ? {} : { details }),
  });
}
