/**
 * The client: one connection, its requests, its attached sessions and its tools under one roof. Owns which frame goes to
 * whom and what is done when the connection comes and goes; everything else is in the parts.
 */
import type { JsonValue, SessionInfo } from "../protocol/content.ts";
import { encodeFrame, encodeJsonFrame } from "../protocol/codec.ts";
import { ProtocolError } from "../protocol/errors.ts";
import type { ClientFrameInputOf, NoticeType, ResultOf, ServerFrame } from "../protocol/frames.ts";
import { newId } from "../protocol/ids.ts";
import type { Encoding } from "../protocol/version.ts";
import { Attachment } from "./attachment.ts";
import type { AttachmentLink, AttachOptions } from "./attachment.ts";
import { systemClock } from "./clock.ts";
import type { Clock } from "./clock.ts";
import { Connection } from "./connection.ts";
import type { Welcome } from "./connection.ts";
import { Emitter } from "./emitter.ts";
import { inTime } from "./limit.ts";
import { socketUrl } from "./options.ts";
import { Lists } from "./lists.ts";
import { policyOf, requestOptions } from "./policy.ts";
import type { ClientEvents, ClientStatus, ConnectOptions, CreateSessionOptions } from "./options.ts";
import { checkSize, errorOf, Requests } from "./requests.ts";
import type { FieldsOf, Ok, OutgoingFrame, PlainRequest, RequestOptions, RequestPolicy } from "./requests.ts";
import type { Schema } from "./schema.ts";
import { SessionHandle } from "./session.ts";
import { ToolProvider } from "./tools.ts";
import type { ProvideOptions, ProvidedTools, ToolsOf } from "./tools.ts";
import { webSocketTransport } from "./transport.ts";
import { Watching } from "./watching.ts";
import type { WatchingOptions } from "./watching.ts";

export class Client extends Lists implements AsyncDisposable {
  /** What this connection is called towards the server; secret to others. */
  readonly instance: string;
  readonly #events = new Emitter<ClientEvents>();
  readonly #encoding: Encoding;
  readonly #clock: Clock;
  readonly #connection: Connection;
  readonly #requests: Requests;
  readonly #attachments = new Map<string, Attachment>();
  readonly #channels = new Map<number, Attachment>();
  readonly #handles = new WeakMap<Attachment, SessionHandle>();
  readonly #token: ConnectOptions["token"];
  readonly #tools: ToolProvider;
  readonly #link: AttachmentLink;
  #watching: Watching | undefined;
  #user: Welcome["user"] | undefined;
  #lastUnsent = 0;

  constructor(options: ConnectOptions) {
    super();
    this.instance = options.instance ?? newId("ins");
    this.#encoding = options.encoding ?? "msgpack";
    this.#clock = options.clock ?? systemClock;
    this.#token = options.token;
    this.#requests = new Requests({
      encoding: this.#encoding,
      clock: this.#clock,
      outbox: options.outbox ?? {},
      transmit: (data) => this.#connection.send(data),
      changed: () => {
        if (this.#requests.unsent !== this.#lastUnsent) this.#emitStatus();
      },
    });
    const { token, user, client } = options;
    this.#connection = new Connection(
      {
        url: socketUrl(options.url),
        instance: this.instance,
        encoding: this.#encoding,
        backoff: options.backoff ?? {},
        ...(token === undefined ? {} : { token }),
        ...(user === undefined ? {} : { user }),
        ...(client === undefined ? {} : { client }),
      },
      options.transport ?? webSocketTransport(options.WebSocket),
      this.#clock,
      {
        online: (welcome) => this.#online(welcome),
        offline: () => this.#offline(),
        frame: (frame) => this.#frame(frame),
        late: (frame) => this.#tools.late(frame),
        status: () => this.#emitStatus(),
        probe: () => this.#tell({ type: "listAgents", limit: 1 }),
      },
    );
    this.#tools = new ToolProvider(
      {
        clock: this.#clock,
        isOnline: () => this.#connection.welcome !== undefined,
        request: (type, fields) => this.#call({ type, ...fields }, { replay: false, bound: true }),
        notify: (type, fields) => this.#notify(type, fields),
        failed: (error) => this.#events.emit("error", error),
      },
      options.results,
    );
    this.#link = {
      clock: this.#clock,
      isOnline: () => this.#connection.welcome !== undefined,
      attach: (frame, received) =>
        this.#call(
          { type: "attach", ...frame },
          { replay: false, bound: true, received: (ok) => received(ok as unknown as ResultOf<"attach">) },
        ),
      // Both end with the connection by themselves.
      detach: (session) => this.#tell({ type: "detach", session }),
      setPresence: (session, doing) => this.#tell({ type: "setPresence", session, ...doing }),
      channel: (channel, attachment) => void this.#channels.set(channel, attachment),
      forget: (attachment) => {
        if (this.#attachments.get(attachment.session) === attachment)
          this.#attachments.delete(attachment.session);
        for (const [channel, owner] of this.#channels)
          if (owner === attachment) this.#channels.delete(channel);
      },
    };
    this.#connection.start();
  }

  /** Where the connection stands, why, and how many requests wait for it. */
  get status(): ClientStatus {
    return { ...this.#connection.status, unsent: this.#requests.unsent };
  }

  /** Who this is to the server, by its last welcome. */
  get user(): { readonly id: string; readonly name: string } | undefined {
    return this.#user;
  }

  /** Limits, features and node of the server; undefined unless online. */
  get welcome(): Welcome | undefined {
    return this.#connection.welcome;
  }

  /** Calls `listener` at every such event; returns what ends that. */
  on<K extends keyof ClientEvents>(type: K, listener: (...values: ClientEvents[K]) => void): () => void {
    return this.#events.on(type, listener);
  }

  /** Resolves when online; rejects with `unavailable` when the connection is closed for good. */
  online(): Promise<Welcome> {
    return new Promise((resolve, reject) => {
      const look = (): void => {
        const { welcome } = this;
        if (welcome === undefined && this.status.state !== "closed") return;
        stop();
        if (welcome !== undefined) resolve(welcome);
        else reject(this.#closedError());
      };
      const stop = this.on("status", look);
      look();
    });
  }

  /**
   * Tries at once: instead of waiting for the next retry, or after the server ended the connection. Online it moves to a new
   * socket, and lets the old one go once that is there and tools are offered on it; what runs goes on.
   */
  reconnect(): void {
    this.#connection.renew();
  }

  /** Closes for good: what is unanswered fails with `unavailable`, sessions are detached, running tools are aborted. */
  close(): void {
    const error = new ProtocolError("unavailable", "the client is closed", { retryable: false });
    this.#tools.end(error);
    for (const attachment of this.#attachments.values()) attachment.end(error);
    this.#connection.stop("closed by this client");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.close();
    return Promise.resolve();
  }

  /**
   * Any request of the wire by its name; resolves with what its `ok` carries. Rejects with ProtocolError, see
   * `Requests.call`.
   */
  request<T extends PlainRequest>(
    type: T,
    fields: FieldsOf<T>,
    options?: RequestOptions,
  ): Promise<ResultOf<T>> {
    return this.#call({ type, ...fields }, policyOf(type, fields), options) as unknown as Promise<
      ResultOf<T>
    >;
  }

  /** Creates a session; id and key are minted unless given, so a repetition after a lost answer creates one. */
  createSession(options: CreateSessionOptions): Promise<ResultOf<"createSession">> {
    const { timeoutMs, signal, session, key, ...fields } = options;
    const ids = { session: session ?? newId("ses"), key: key ?? newId("key") };
    return this.request("createSession", { ...fields, ...ids }, requestOptions(timeoutMs, signal));
  }

  /** Keeps sessions, and what waits for this user's answer, up to date until `end()`. A client has one: a second ends it. */
  watch(options: WatchingOptions = {}): Watching {
    this.#watching?.end();
    return (this.#watching = new Watching(
      {
        clock: this.#clock,
        isOnline: () => this.#connection.welcome !== undefined,
        call: (type, fields) => this.#call({ type, ...fields }, { replay: false, bound: true }),
        forget: (watching) => {
          if (this.#watching === watching) this.#watching = undefined;
        },
      },
      options,
    ));
  }

  /**
   * Adds an agent to the server, or replaces it; open runs keep the definition they began with. Its fields are those of the
   * configuration. Rejects with `forbidden` (needs the right admin), `bad-frame` (`details.field`), `conflict` (a name of the
   * configuration).
   */
  putAgent(
    agent: Readonly<Record<string, JsonValue>>,
    options?: RequestOptions,
  ): Promise<ResultOf<"putAgent">> {
    return this.request("putAgent", { agent }, options);
  }

  /** Removes an agent that was put; its sessions stay readable. Rejects as `putAgent` does, and with `not-found`. */
  removeAgent(name: string, options?: RequestOptions): Promise<ResultOf<"removeAgent">> {
    return this.request("removeAgent", { name }, options);
  }

  updateSession(
    session: string,
    changes: { title?: string; metadata?: NonNullable<SessionInfo["metadata"]> },
    options?: RequestOptions,
  ): Promise<ResultOf<"updateSession">> {
    return this.request("updateSession", { session, ...changes }, options);
  }

  /** Ends the open run and refuses input from now on; the session stays readable. */
  closeSession(session: string, options?: RequestOptions): Promise<ResultOf<"close">> {
    return this.request("close", { session }, options);
  }

  /** Becomes a member by the token of an invitation. Rejects with `not-found` for one that is no good. */
  join(token: string, options?: RequestOptions): Promise<ResultOf<"join">> {
    return this.request("join", { token }, options);
  }

  deleteSession(session: string, options?: RequestOptions): Promise<ResultOf<"deleteSession">> {
    return this.request("deleteSession", { session }, options);
  }

  /**
   * Watches a session until `detach()`, across connections. One handle per session: while it is attached, the same one
   * is returned and `options` other than `signal` and `timeoutMs` change nothing. Rejects with ProtocolError
   * `not-found`, `forbidden`, `timeout`, ….
   */
  async attach(session: string, options: AttachOptions & RequestOptions = {}): Promise<SessionHandle> {
    options.signal?.throwIfAborted();
    if (this.#connection.status.state === "closed") throw this.#closedError();
    let attachment = this.#attachments.get(session);
    const isNew = attachment === undefined;
    if (attachment === undefined) {
      attachment = new Attachment(this.#link, session, options);
      this.#attachments.set(session, attachment);
      this.#handles.set(attachment, new SessionHandle(this, attachment));
      if (this.#connection.welcome !== undefined) attachment.online();
    }
    try {
      const closed = (stop: (error: Error) => void): (() => void) =>
        this.on("status", ({ state }) => state === "closed" && stop(this.#closedError()));
      await inTime(attachment.attached(), options, this.#clock, closed);
    } catch (error) {
      if (isNew) attachment.end(new ProtocolError("closed", "attach was given up", { cause: error }));
      throw error;
    }
    return this.#handles.get(attachment)!;
  }

  /**
   * Offers tools and runs their calls until `withdraw()`, across connections: accepts, deduplicates, cancels, keeps
   * results until the server has them. Resolves when the server took the first offer, however long that takes; rejects
   * when it refuses (`forbidden`, `conflict`, …).
   */
  provideTools<T extends Record<string, Schema>>(
    tools: ToolsOf<T>,
    options?: ProvideOptions,
  ): Promise<ProvidedTools> {
    return this.#tools.provide(tools, options);
  }

  #call(frame: OutgoingFrame, policy: RequestPolicy, options?: RequestOptions): Promise<Ok> {
    if (this.#connection.status.state === "closed") return Promise.reject(this.#closedError());
    return this.#requests.call(frame, policy, options);
  }

  #notify<T extends NoticeType>(type: T, fields: Omit<ClientFrameInputOf<T>, "type">): boolean {
    const frame = { type, ...fields };
    const data = this.#encoding === "json" ? encodeJsonFrame(frame) : encodeFrame(frame);
    checkSize(data);
    return this.#connection.send(data);
  }

  #online(welcome: Welcome): Promise<unknown> {
    this.#user = welcome.user;
    this.#requests.online(welcome.limits.maxInFlight);
    const offered = this.#tools.online();
    for (const attachment of this.#attachments.values()) attachment.online();
    this.#watching?.online();
    return offered;
  }

  #offline(): void {
    this.#channels.clear();
    this.#requests.offline();
    for (const attachment of this.#attachments.values()) attachment.offline();
    this.#tools.offline();
    this.#watching?.offline();
  }

  #frame(frame: ServerFrame): void {
    this.#events.emit("frame", frame);
    switch (frame.type) {
      case "ok":
        this.#requests.settle(frame);
        return;
      case "error":
        if (!this.#requests.settle(frame) && frame.id === undefined)
          this.#events.emit("error", errorOf(frame));
        return;
      case "event":
      case "live":
      case "detached":
      case "toolProgress":
      case "presence":
        this.#attachments.get(frame.session)?.receive(frame);
        return;
      case "part":
      case "delta":
        this.#channels.get(frame.channel)?.receive(frame);
        return;
      case "call":
      case "callCancel":
      case "resultAck":
        this.#tools.receive(frame);
        return;
      case "sessionChanged":
      case "readMarked":
      case "requestChanged":
      case "watchEnded":
        this.#watching?.receive(frame);
        return;
      case "authExpiring":
        void this.#refreshToken();
        return;
      default:
    }
  }

  async #refreshToken(): Promise<void> {
    if (typeof this.#token !== "function") return;
    try {
      const token = await this.#token();
      await this.#call({ type: "refreshToken", token }, { replay: false, bound: true });
    } catch (error) {
      // The next connection asks for a token again.
      if (error instanceof ProtocolError) this.#events.emit("error", error);
    }
  }

  /** A request of this connection alone, whose answer nobody waits for. */
  #tell(frame: OutgoingFrame): void {
    this.#call(frame, { replay: false, bound: true }).catch(() => undefined);
  }

  #closedError(): ProtocolError {
    const reason = this.#connection.status.reason ?? "closed";
    return new ProtocolError("unavailable", `the connection is closed: ${reason}`, { retryable: false });
  }

  #emitStatus(): void {
    // Ended by the server: nothing will be answered any more.
    if (this.#connection.status.state === "closed") {
      this.#requests.fail(this.#closedError());
      this.#tools.refuse(this.#closedError());
    }
    this.#lastUnsent = this.#requests.unsent;
    this.#events.emit("status", this.status);
  }
}

/** Connects at once and stays connected until `close()`. Never throws for a server that is not there: see `status`. */
export function connect(options: ConnectOptions): Client {
  return new Client(options);
}
