/**
 * Plain HTTP: health, readiness, metrics and a page that says what this is. Owns routes, methods and security headers.
 * Never a WebSocket, never a session: it asks functions that it was given.
 */
import type { IncomingMessage, ServerResponse } from "node:http";

export interface EdgeParts {
  readonly version: string;
  /** Why the server takes no clients now: starting, draining, no store. undefined: it does. */
  readonly notReady: () => string | undefined | Promise<string | undefined>;
  /** The metrics in the text format of Prometheus. */
  readonly metrics: () => string;
}

interface Answer {
  readonly status: number;
  readonly type: string;
  readonly body: string;
  readonly headers?: Readonly<Record<string, string>>;
}

/** For everything that is answered here: nothing is stored, framed, sniffed or loaded from elsewhere. */
const SECURITY_HEADERS = {
  "cache-control": "no-store",
  "content-security-policy":
    "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-resource-policy": "same-origin",
  "referrer-policy": "no-referrer",
  "x-content-type-options": "nosniff",
} as const;

const text = (status: number, body: string): Answer => ({
  status,
  type: "text/plain; charset=utf-8",
  body: `${body}\n`,
});
const json = (status: number, value: unknown): Answer => ({
  status,
  type: "application/json",
  body: `${JSON.stringify(value)}\n`,
});

export function createEdge(parts: EdgeParts): (request: IncomingMessage, response: ServerResponse) => void {
  const routes = new Map<string, () => Answer | Promise<Answer>>([
    ["/", () => text(200, frontPage(parts.version))],
    ["/healthz", () => text(200, "ok")],
    ["/readyz", () => readiness(parts)],
    [
      "/metrics",
      () => ({ status: 200, type: "text/plain; version=0.0.4; charset=utf-8", body: parts.metrics() }),
    ],
  ]);
  return (request, response) => {
    const route = routes.get(request.url?.split("?", 1)[0] ?? "");
    const refused = refuse(request, route !== undefined);
    const answer = async (): Promise<Answer> => refused ?? route!();
    answer()
      .catch(() => json(500, { error: "internal" }))
      .then((found) => write(request, response, found))
      .catch(() => response.destroy());
  };
}

function refuse(request: IncomingMessage, known: boolean): Answer | undefined {
  if (request.url?.split("?", 1)[0] === "/ws") {
    return { ...json(426, { error: "this is a WebSocket" }), headers: { upgrade: "websocket" } };
  }
  if (!known) return json(404, { error: "not-found" });
  if (request.method === "GET" || request.method === "HEAD") return undefined;
  return { ...json(405, { error: "method-not-allowed" }), headers: { allow: "GET, HEAD" } };
}

async function readiness(parts: EdgeParts): Promise<Answer> {
  const reason = await parts.notReady();
  return reason === undefined ? text(200, "ready") : text(503, reason);
}

function write(request: IncomingMessage, response: ServerResponse, answer: Answer): void {
  response.writeHead(answer.status, {
    ...SECURITY_HEADERS,
    ...answer.headers,
    "content-type": answer.type,
    "content-length": Buffer.byteLength(answer.body),
  });
  response.end(request.method === "HEAD" ? undefined : answer.body);
}

function frontPage(version: string): string {
  return `Haulout ${version}: live, durable agent sessions over one WebSocket.

  /ws       the WebSocket; subprotocols haulout.v1.msgpack and haulout.v1.json
  /healthz  whether the process lives
  /readyz   whether it takes clients
  /metrics  numbers for Prometheus

Talk to an agent from a terminal: npx haulout chat`;
}
