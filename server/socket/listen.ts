/**
 * The door: the HTTP server and the upgrade to WebSocket. Owns the limits of the transport and who may knock: Host and
 * Origin against DNS rebinding, draining, how many there may be (admission.ts). Everything else is refused in band later,
 * because browsers cannot read a refused upgrade. Never reads a frame.
 */
import { readFileSync } from "node:fs";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { createServer as createSecureServer, type Server as SecureServer } from "node:https";
import type { AddressInfo } from "node:net";
import type { Duplex } from "node:stream";
import { createSecureContext } from "node:tls";
import { WebSocketServer, type ServerOptions, type WebSocket } from "ws";
import { MAX_FRAME_BYTES, SUBPROTOCOL_JSON, SUBPROTOCOL_MSGPACK } from "../../protocol/version.ts";
import type { ClientRequest } from "../auth/method.ts";
import type { Metrics } from "../observe/metrics.ts";
import { Admission, type AdmissionOptions, type Greeter } from "./admission.ts";
import { hostAllowed, originAllowed, type OriginRules } from "./origin.ts";
import { Proxies } from "./proxies.ts";

export interface ListenOptions extends OriginRules, AdmissionOptions {
  readonly port: number;
  /** Before every path: `/haulout`; nothing unless told. */
  readonly basePath?: string | undefined;
  /** Files in PEM; plain HTTP unless told. */
  readonly tls?: TlsFiles | undefined;
  /** Addresses and ranges of proxies whose X-Forwarded headers are believed: For, Proto and Host. */
  readonly trustedProxies?: readonly string[] | undefined;
  /** Bytes of one inbound message (1 MiB); more closes with 1009. */
  readonly maxMessageBytes?: number;
  /** Fragments of one message (1024), and chunks of it that may be buffered (4096). */
  readonly maxFragments?: number;
  readonly maxBufferedChunks?: number;
  /** How long a peer may take to answer a close (3000). */
  readonly closeTimeoutMs?: number;
  /** Connections that the system may hold before they are accepted (4096). */
  readonly backlog?: number;
  /** How long the head of a request may take (10 000), and the whole of it (30 000). */
  readonly headersTimeoutMs?: number;
  readonly requestTimeoutMs?: number;
}

export interface TlsFiles {
  /** The certificate with its chain, and its key. */
  readonly cert: string;
  readonly key: string;
}

export interface ListenParts {
  readonly metrics: Metrics;
  /** Answers plain HTTP. The path in `request` begins after the base path. */
  readonly request: (request: IncomingMessage, response: ServerResponse, from: ClientRequest) => void;
  /** Takes an upgraded socket; answers whether it is still without a hello when asked later. */
  readonly accept: (socket: WebSocket, raw: Duplex, from: ClientRequest) => Greeter;
  /** Why no one is let in now, if so. */
  readonly refusing: () => string | undefined;
}

type Refusal = readonly [status: string, reason: string, text: string];

export class Listener {
  readonly #options: ListenOptions;
  readonly #parts: ListenParts;
  readonly #http: Server | SecureServer;
  readonly #proxies: Proxies;
  readonly #upgrader: WebSocketServer;
  readonly #admission: Admission;

  constructor(parts: ListenParts, options: ListenOptions) {
    this.#parts = parts;
    this.#options = options;
    this.#admission = new Admission(options);
    this.#proxies = new Proxies(options.trustedProxies);
    const times = {
      headersTimeout: options.headersTimeoutMs ?? 10_000,
      requestTimeout: options.requestTimeoutMs ?? 30_000,
    };
    this.#http =
      options.tls === undefined
        ? createServer(times)
        : createSecureServer({
            ...times,
            ...readTls(options.tls),
            handshakeTimeout: times.headersTimeout,
          });
    // closeTimeout is missing in the types.
    const settings: ServerOptions & { closeTimeout: number } = {
      noServer: true,
      clientTracking: false,
      perMessageDeflate: false,
      maxPayload: options.maxMessageBytes ?? MAX_FRAME_BYTES,
      maxFragments: options.maxFragments ?? 1024,
      maxBufferedChunks: options.maxBufferedChunks ?? 4096,
      closeTimeout: options.closeTimeoutMs ?? 3000,
      handleProtocols: chooseProtocol,
    };
    this.#upgrader = new WebSocketServer(settings);
    this.#http.on("request", (request, response) => this.#request(request, response));
    this.#http.on("upgrade", (request, socket, head) => this.#upgrade(request, socket, head));
  }

  /** Resolves with the port, which the system picks if 0 was asked for. Rejects if it cannot be had. */
  listen(): Promise<number> {
    const { host, port, backlog } = this.#options;
    return new Promise((resolve, reject) => {
      this.#http.once("error", reject);
      this.#http.listen({ host, port, backlog: backlog ?? 4096 }, () => {
        this.#http.off("error", reject);
        resolve((this.#http.address() as AddressInfo).port);
      });
    });
  }

  /** Stops listening and ends plain HTTP. Upgraded sockets are not its concern. */
  close(): Promise<void> {
    return new Promise((resolve) => {
      this.#http.close(() => resolve());
      this.#http.closeAllConnections();
    });
  }

  /** Whether a page of the request's Origin may read what is answered. */
  originAllowed(from: ClientRequest): boolean {
    return originAllowed(from, this.#options);
  }

  /** Takes another certificate for the handshakes that come. Throws if it cannot be used, and goes on as before. */
  reloadTls(files: TlsFiles): void {
    if ("setSecureContext" in this.#http) this.#http.setSecureContext(readTls(files));
  }

  #request(request: IncomingMessage, response: ServerResponse): void {
    const from = this.#proxies.read(request);
    if (hostAllowed(from.host, this.#options)) {
      const { basePath = "" } = this.#options;
      if (basePath !== "" && request.url === basePath) {
        // What the page loads is relative to its own folder.
        response.writeHead(308, { location: `${basePath}/` }).end();
        return;
      }
      request.url = this.#pathOf(request) ?? "";
      this.#parts.request(request, response, from);
      return;
    }
    response.writeHead(403, { "content-type": "text/plain; charset=utf-8", connection: "close" });
    response.end("This Host is not served here.\n");
  }

  #upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    const from = this.#proxies.read(request);
    const refusal = this.#refusal(request, from);
    if (refusal !== undefined) {
      this.#parts.metrics.refusedUpgrades.add(1, refusal[1]);
      refuse(socket, refusal);
      return;
    }
    this.#upgrader.handleUpgrade(request, socket, head, (webSocket) => {
      const connection = this.#parts.accept(webSocket, socket, from);
      webSocket.once("close", this.#admission.enter(from.address, connection));
    });
  }

  #refusal(request: IncomingMessage, from: ClientRequest): Refusal | undefined {
    if (!hostAllowed(from.host, this.#options)) {
      return ["403 Forbidden", "host", "This Host is not served here."];
    }
    if (!originAllowed(from, this.#options)) {
      return ["403 Forbidden", "origin", "Pages of this Origin are not allowed here."];
    }
    if (this.#pathOf(request)?.split("?", 1)[0] !== "/ws") {
      return ["404 Not Found", "path", `WebSocket is at ${this.#options.basePath ?? ""}/ws.`];
    }
    const refusing = this.#parts.refusing();
    if (refusing !== undefined) return ["503 Service Unavailable", "draining", refusing];
    const full = this.#admission.refusal(from.address);
    return full && ["503 Service Unavailable", ...full];
  }

  /** Path and query after the base path; undefined for what lies elsewhere. */
  #pathOf({ url = "/" }: IncomingMessage): string | undefined {
    const { basePath = "" } = this.#options;
    if (!url.startsWith(basePath)) return undefined;
    const rest = url.slice(basePath.length);
    if (rest.startsWith("/")) return rest;
    return rest === "" || rest.startsWith("?") ? `/${rest}` : undefined;
  }
}

/** Throws with what keeps these files from being used. */
export function checkTls(files: TlsFiles): void {
  createSecureContext(readTls(files));
}

function readTls({ cert, key }: TlsFiles): { cert: Buffer; key: Buffer; minVersion: "TLSv1.2" } {
  return { cert: readFileSync(cert), key: readFileSync(key), minVersion: "TLSv1.2" };
}

/** The first that the client offers and the server knows; without one the first message decides. */
function chooseProtocol(offered: Set<string>): string | false {
  for (const name of offered) if (name === SUBPROTOCOL_MSGPACK || name === SUBPROTOCOL_JSON) return name;
  return false;
}

function refuse(socket: Duplex, [status, , text]: Refusal): void {
  socket.on("error", () => socket.destroy());
  // A peer that does not hang up would hold the socket, and with it a stop, for ever.
  socket.once("finish", () => socket.destroy());
  const retry = status.startsWith("503") ? "Retry-After: 1\r\n" : "";
  socket.end(
    `HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Type: text/plain; charset=utf-8\r\n${retry}` +
      `Content-Length: ${Buffer.byteLength(text) + 1}\r\n\r\n${text}\n`,
  );
}
