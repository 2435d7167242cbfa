/**
 * One socket, from upgrade to end: first frame, validation, answers in flight, heartbeat, disconnect. Owns what is true of
 * one connection; what a frame means is the dispatch's, what is queued the outbox's. Never waits, and never lets a peer
 * have more than its limits.
 */
import type { Duplex } from "node:stream";
import type { WebSocket } from "ws";
import { EncodedFrame, encodeFrame, encodeJsonFrame } from "../../protocol/codec.ts";
import type { Verdict } from "../../protocol/content.ts";
import { afterClose, CLOSE_CODES, ProtocolError, type CloseCause } from "../../protocol/errors.ts";
import type { ClientFrame, ServerFrame, SessionState } from "../../protocol/frames.ts";
import { newId } from "../../protocol/ids.ts";
import { SUBPROTOCOL_JSON, SUBPROTOCOL_MSGPACK, type Encoding } from "../../protocol/version.ts";
import { mayRead } from "../session/access.ts";
import type { Subscriber } from "../session/subscriber.ts";
import type { CallReference, ToolCall, ToolHost } from "../tool/tool.ts";
import type { Identity } from "../auth/identity.ts";
import type { ClientRequest, Hello } from "../auth/method.ts";
import { codeOfFault, codeOfPeer } from "./codes.ts";
import { decodeMessage, welcomeFrame, type Refusal } from "./greeting.ts";
import type { Watched } from "./heartbeat.ts";
import type { DispatchFor, HostFor } from "./host.ts";
import { describe, errorFrame, isRequest, isRequestType, readFrame, usableId } from "./inbound.ts";
import { Inbox, type RawFrame } from "./inbox.ts";
import { Login } from "./login.ts";
import { Meter } from "./meter.ts";
import { Outbox } from "./outbox.ts";
import { SocketWire } from "./wire.ts";

export type Dispatch = DispatchFor<Connection>;
export type ConnectionHost = HostFor<Connection>;

const PING = new EncodedFrame(encodeFrame({ type: "ping" } satisfies ServerFrame));

export class Connection implements Subscriber, ToolHost, Watched {
  readonly id: string = newId("con");
  readonly #socket: WebSocket;
  readonly #host: ConnectionHost;
  readonly #inbox: Inbox;
  readonly #outbox: Outbox;
  /** Ids of unanswered requests. Made when first needed: most connections of a busy server are idle. */
  #inFlight: Set<number> | undefined;
  #encoding: Encoding | undefined;
  readonly #login: Login;
  #gone = false;
  #closeCode: string | undefined;
  /** When the last bad frames came. */
  #bad: number[] | undefined;
  /** Made with the hello. */
  #meter: Meter | undefined;
  /** When the hello must be there, later when the next ping is due. */
  #dueAt: number;
  #seenAt: number;

  /** `raw`: the socket below. */
  constructor(socket: WebSocket, raw: Duplex, host: ConnectionHost, request: ClientRequest) {
    this.#socket = socket;
    this.#host = host;
    if (socket.protocol === SUBPROTOCOL_MSGPACK) this.#encoding = "msgpack";
    if (socket.protocol === SUBPROTOCOL_JSON) this.#encoding = "json";
    this.#seenAt = host.clock();
    this.#dueAt = this.#seenAt + host.options.helloTimeoutMs;
    this.#login = new Login(
      {
        admit: (identity) => {
          this.#meter = new Meter(host.options, this.#seenAt, host.admit(identity));
        },
        welcome: (hello) => this.#welcome(hello),
        refuse: (refusal) => this.#refuse(refusal),
        asProtocolError: (error) => this.#asProtocolError(error),
        isGone: () => this.#gone,
      },
      socket,
      request,
      host,
    );
    const sink = {
      frame: (raw: RawFrame) => this.#take(raw),
      unreadable: (error: ProtocolError) => this.#refuseBad(error),
    };
    this.#inbox = new Inbox(sink, socket, host.turn, host.options);
    this.#outbox = new Outbox(
      {
        wire: new SocketWire(socket, raw),
        turn: host.turn,
        totals: host.totals,
        clock: host.clock,
        onOverflow: () => this.disconnect("slow-reader", "too many bytes are waiting to be read"),
        onPressure: () => host.pressed(),
      },
      host.options.outbox,
    );
    socket.on("message", (data: Buffer, isBinary: boolean) => this.#receive(data, isBinary));
    socket.on("error", (error: Error) => this.#failed(error));
    socket.on("close", (code: number) => this.#closed(code));
  }

  /** How this connection writes; JSON while nothing has decided it. */
  get encoding(): Encoding {
    return this.#encoding ?? "json";
  }

  /** Undefined until the hello has been accepted. */
  get identity(): Identity | undefined {
    return this.#login.identity;
  }

  /** Address of the client, by a trusted proxy's word where there is one. */
  get address(): string {
    return this.#login.address;
  }

  get gone(): boolean {
    return this.#gone;
  }

  /** Bytes that wait to be written, as the outbox counts them. */
  get queuedBytes(): number {
    return this.#outbox.queuedBytes;
  }

  // --- Sending ---

  /** Encodes and queues a frame of this connection alone. `ok` and `error` end the request with their id. */
  send(frame: ServerFrame): void {
    if (this.#gone) return;
    if (frame.type === "ok" || frame.type === "error") {
      if (frame.id !== undefined) this.#inFlight?.delete(frame.id);
      if (frame.type === "error") this.#host.metrics.errors.add(1, frame.code);
    }
    this.#outbox.push(this.encoding === "json" ? encodeJsonFrame(frame) : encodeFrame(frame));
  }

  deliver(frame: EncodedFrame): void {
    if (this.#gone) return;
    this.#outbox.push(this.encoding === "json" ? frame.line : frame.bytes, frame.channel, frame.count);
  }

  get lagging(): boolean {
    return this.#outbox.lagging;
  }

  drop(channel: number): void {
    this.#outbox.drop(channel);
  }

  room(): Promise<void> | undefined {
    return this.#outbox.room();
  }

  mayRead(state: SessionState): boolean {
    return this.identity !== undefined && mayRead(this.identity, state);
  }

  call(call: ToolCall): boolean {
    const { session, attempt, run, agent, tool, input, actor, timeoutMs } = call;
    this.#meter?.expect(FRAMES_OF_A_CALL);
    this.send({ type: "call", session, call: call.call, attempt, run, agent, tool, input, actor, timeoutMs });
    // Gone now, it was gone before or by this frame: in both cases nothing was written.
    return !this.#gone;
  }

  cancelCall({ session, call, attempt }: CallReference, reason: string): void {
    this.send({ type: "callCancel", session, call, attempt, reason });
  }

  acknowledgeResult({ session, call, attempt }: CallReference, verdict: Verdict): void {
    this.send({ type: "resultAck", session, call, attempt, verdict });
  }

  /**
   * Ends the connection: what the socket takes at once is still written, then a `disconnect` frame, then the close. The
   * rest is dropped. A peer that does not answer the close is cut off after the socket's close timeout.
   */
  disconnect(cause: CloseCause, reason: string, successor?: Connection): void {
    if (this.#gone) return;
    const code = CLOSE_CODES[cause];
    const frame: ServerFrame = { type: "disconnect", code, reason, reconnect: afterClose(code) !== "stop" };
    this.#outbox.finish(this.encoding === "json" ? encodeJsonFrame(frame) : encodeFrame(frame));
    this.#closeCode = String(code);
    this.#end(successor);
    this.#socket.close(code, cause);
    // A paused socket would never see the answer to its close.
    this.#socket.resume();
  }

  /** Cuts the connection off without a word. */
  terminate(): void {
    this.#socket.terminate();
  }

  // --- Receiving ---

  #receive(data: Buffer, isBinary: boolean): void {
    if (this.#gone) return;
    this.#seenAt = this.#host.clock();
    this.#encoding ??= isBinary ? "msgpack" : "json";
    if (this.#login.hold(() => this.#receive(data, isBinary))) return;
    if (isBinary !== (this.#encoding === "msgpack")) {
      const error = new ProtocolError("bad-frame", `this connection speaks ${this.#encoding}`);
      if (this.identity === undefined) this.#refuse({ error, cause: "malformed", id: undefined });
      else this.#refuseBad(error);
    } else if (this.identity === undefined) {
      void this.#login.greet(data, isBinary, this.#host.options.maxHelloBytes);
    } else {
      this.#meter?.message(data.length, this.#seenAt);
      this.#inbox.receive(decodeMessage(data, isBinary));
    }
  }

  #welcome(hello: Hello): void {
    const { metrics, node, options, random } = this.#host;
    metrics.framesReceived.add(1, "hello");
    metrics.accepted.add(1);
    metrics.connections.add(1, this.encoding);
    // From here on a ping each pingMs, the first one after a random part of it.
    this.#dueAt = this.#seenAt + random() * options.pingMs;
    this.#host.greeted(this);
    this.send(welcomeFrame({ hello, identity: this.identity! }, { connection: this.id, node, ...options }));
  }

  /** Takes a newer token of the same user. Rejects with ProtocolError. */
  async refreshToken(token: string): Promise<void> {
    await this.#login.refresh(token);
    if (this.#gone) return;
    this.#host.watch(this);
    this.#host.dispatch.changed(this);
  }

  /** Looks again at what was shown, after the settings have changed. */
  review(): void {
    const before = this.identity;
    if (!this.#login.review()) this.disconnect("token-revoked", "the token does not count any more");
    else if (this.identity !== before) this.#host.dispatch.changed(this);
  }

  #take(raw: RawFrame): void {
    const wait = this.#meter!.frame(this.#host.clock());
    if (wait > 0 && !this.#mayPass(raw, wait)) return;
    let frame: ClientFrame;
    try {
      frame = readFrame(raw);
      if (frame.type === "hello")
        throw new ProtocolError("bad-frame", "hello comes once", { details: describe(raw) });
    } catch (error) {
      this.#refuseBad(this.#asProtocolError(error), usableId(raw));
      return;
    }
    this.#host.metrics.framesReceived.add(1, frame.type);
    if (frame.type === "pong") return;
    if (isRequest(frame) && !this.#admit(frame)) return;
    try {
      this.#host.dispatch.frame(this, frame);
    } catch (error) {
      this.send(errorFrame(this.#asProtocolError(error), usableId(raw)));
    }
  }

  /** Takes a place among the requests in flight, or says why there is none. */
  #admit(frame: ClientFrame & { id: number }): boolean {
    const { maxInFlight } = this.#host.options;
    const inFlight = (this.#inFlight ??= new Set());
    if (inFlight.has(frame.id)) {
      // Without the id: it belongs to the request that is still to be answered.
      const details = { frame: frame.type, id: frame.id };
      this.#refuseBad(new ProtocolError("bad-frame", "id: in use by an unanswered request", { details }));
      return false;
    }
    if (inFlight.size >= maxInFlight) {
      this.#limit(`${maxInFlight} requests are unanswered`, frame.id, IN_FLIGHT_RETRY_MS);
      return false;
    }
    if (this.#host.draining()) {
      const error = new ProtocolError("draining", "this node stops: reconnect and repeat");
      this.send(errorFrame(error, frame.id));
      return false;
    }
    inFlight.add(frame.id);
    return true;
  }

  /** A frame beyond the rate: a request is refused before it is looked at, and what the server waits for passes. */
  #mayPass(raw: RawFrame, waitMs: number): boolean {
    const id = isRequestType(raw["type"]) ? usableId(raw) : undefined;
    if (id !== undefined && !this.#inFlight?.has(id)) this.#limit("too much in a time", id, waitMs);
    else if (this.#meter!.flooded) this.disconnect("rate-limited", "too many frames");
    else return true;
    return false;
  }

  #limit(message: string, id: number, retryAfterMs: number): void {
    this.send(errorFrame(new ProtocolError("rate-limited", message, { retryAfterMs }), id));
    this.#meter!.refused(this.#host.clock());
    if (this.#meter!.flooded) this.disconnect("rate-limited", "too many requests");
  }

  #refuseBad(error: ProtocolError, id?: number): void {
    this.#host.metrics.framesReceived.add(1, error.code === "unknown-frame" ? "unknown" : "bad");
    if (id === undefined || !this.#inFlight?.has(id)) this.send(errorFrame(error, id));
    else this.send(errorFrame(error));
    const { maxBadFrames, badFrameWindowMs } = this.#host.options;
    const now = this.#host.clock();
    this.#bad = [...(this.#bad ?? []), now].slice(-maxBadFrames);
    if (this.#bad.length === maxBadFrames && now - this.#bad[0]! < badFrameWindowMs) {
      this.disconnect("malformed", "too many bad frames");
    }
  }

  #refuse({ error, cause, id }: Refusal): void {
    if (error.code === "unauthenticated" || error.code === "forbidden")
      this.#host.audit.write("hello", { address: this.address, connection: this.id, outcome: error.code });
    this.send(errorFrame(error, id));
    this.disconnect(cause, error.message);
  }

  #asProtocolError(error: unknown): ProtocolError {
    if (error instanceof ProtocolError) return error;
    this.#host.log.error({ connection: this.id, error }, "a frame could not be handled");
    return new ProtocolError("internal", "the server failed");
  }

  // --- Deadlines and the end ---

  check(now: number): number | undefined {
    if (this.#gone) return undefined;
    const { pingMs, pongGraceMs, stuckMs, authGraceMs } = this.#host.options;
    if (this.identity === undefined) {
      if (now < this.#dueAt) return this.#dueAt - now;
      this.disconnect("hello-timeout", "no hello came");
      return undefined;
    }
    const standing = this.#login.check(authGraceMs);
    if (standing.state === "over") {
      this.disconnect("token-expired", "the token has expired");
      return undefined;
    }
    if (standing.state === "expiring") this.send({ type: "authExpiring", expiresAt: standing.expiresAt });
    const stuck = this.#outbox.stuckFor(now);
    if (stuck >= stuckMs) {
      this.disconnect("slow-reader", "nothing has been read for too long");
      return undefined;
    }
    // While bytes wait, a ping waits with them: then only their moving tells whether the peer lives.
    const deadAt = Math.max(this.#seenAt, this.#outbox.freedAt) + pingMs + pongGraceMs;
    if (stuck === 0 && now >= deadAt) {
      this.disconnect("no-pong", "no frame came");
      return undefined;
    }
    if (now >= this.#dueAt) {
      this.#dueAt = now + pingMs;
      if (stuck === 0) this.deliver(PING);
    }
    return Math.min(standing.next, stuck > 0 ? stuckMs - stuck : Math.min(this.#dueAt, deadAt) - now);
  }

  #failed(error: Error): void {
    this.#closeCode ??= codeOfFault(error);
    this.#end();
  }

  #closed(code: number): void {
    this.#closeCode ??= codeOfPeer(code);
    this.#end();
    this.#host.metrics.disconnects.add(1, this.#closeCode);
    this.#host.closed(this);
  }

  #end(successor?: Connection): void {
    if (this.#gone) return;
    this.#gone = true;
    this.#inbox.close();
    this.#outbox.close();
    this.#inFlight = undefined;
    this.#host.ended(this);
    if (this.identity === undefined) return;
    this.#host.metrics.connections.add(-1, this.encoding);
    // A session may be in the middle of handing frames to its readers: whoever leaves does so after that.
    if (successor === undefined) queueMicrotask(() => this.#host.dispatch.gone(this));
    else this.#host.dispatch.gone(this, successor);
  }
}

/** When a place among the requests in flight may be free. */
const IN_FLIGHT_RETRY_MS = 100;
/** What a provider sends for a call: `callAccepted` and `callResult`. */
const FRAMES_OF_A_CALL = 2;
