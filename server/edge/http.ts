/**
 * Plain HTTP: the page, health, readiness, metrics and tickets. Owns routes, methods and security headers. Never a
 * WebSocket, never a session: it asks what it was given.
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Authenticator } from "../auth/authenticator.ts";
import type { ClientRequest } from "../auth/method.ts";
import type { Audit } from "../observe/audit.ts";
import { json, text, type Answer } from "./answer.ts";
import { answerTicket, refuseMetrics } from "./bearer.ts";
import type { Page } from "./page.ts";

export interface EdgeParts {
  readonly version: string;
  /** Why the server takes no clients now: starting, draining, no store. undefined: it does. */
  readonly notReady: () => string | undefined | Promise<string | undefined>;
  /** The metrics in the text format of Prometheus. */
  readonly metrics: () => string;
  /** Whether everybody may read them where there is authentication; else `watch` or `admin` is needed. */
  readonly openMetrics: boolean;
  readonly authenticator: Authenticator;
  /** Whether a page of the request's Origin may read what is answered. */
  readonly originAllowed: (from: ClientRequest) => boolean;
  /** Told of who was not let in. */
  readonly audit?: Audit;
  /** Served at `/`; without one a text says what this is. */
  readonly page?: Page | undefined;
}

interface Route {
  readonly methods: string;
  answer(request: IncomingMessage, from: ClientRequest): Answer | Promise<Answer>;
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

const METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8";

export function createEdge(
  parts: EdgeParts,
): (request: IncomingMessage, response: ServerResponse, from: ClientRequest) => void {
  const { authenticator, originAllowed, openMetrics } = parts;
  const read = (answer: Route["answer"]): Route => ({ methods: "GET, HEAD", answer });
  const routes = new Map<string, Route>([
    ["/", read(() => text(200, frontPage(parts.version)))],
    ["/healthz", read(() => text(200, "ok"))],
    ["/readyz", read(() => readiness(parts))],
    [
      "/metrics",
      read(async (request, from) => {
        const refused = openMetrics ? undefined : await refuseMetrics(request, from, authenticator);
        return refused ?? { status: 200, type: METRICS_TYPE, body: parts.metrics() };
      }),
    ],
    [
      "/ticket",
      {
        methods: "POST, OPTIONS",
        answer: (request, from) => answerTicket(request, from, authenticator, originAllowed),
      },
    ],
  ]);
  const pageRoute = (path: string, request: IncomingMessage): Route | undefined => {
    const answer = parts.page?.answer(path, request);
    return answer && read(() => answer);
  };
  return (request, response, from) => {
    const path = request.url?.split("?", 1)[0] ?? "";
    const route = pageRoute(path, request) ?? routes.get(path);
    const refused = refuse(request, route);
    const answer = async (): Promise<Answer> => refused ?? route!.answer(request, from);
    answer()
      .catch(() => json(500, { error: "internal" }))
      .then((found) => {
        if (found.status === 401 || found.status === 403)
          parts.audit?.write("http", { address: from.address, outcome: String(found.status) });
        write(request, response, found);
      })
      .catch(() => response.destroy());
  };
}

function refuse(request: IncomingMessage, route: Route | undefined): Answer | undefined {
  if (request.url?.split("?", 1)[0] === "/ws") {
    return { ...json(426, { error: "this is a WebSocket" }), headers: { upgrade: "websocket" } };
  }
  if (route === undefined) return json(404, { error: "not-found" });
  if (route.methods.split(", ").includes(request.method ?? "")) return undefined;
  return { ...json(405, { error: "method-not-allowed" }), headers: { allow: route.methods } };
}

async function readiness(parts: EdgeParts): Promise<Answer> {
  const reason = await parts.notReady();
  return reason === undefined ? text(200, "ready") : text(503, reason);
}

function write(request: IncomingMessage, response: ServerResponse, answer: Answer): void {
  response.writeHead(answer.status, {
    ...SECURITY_HEADERS,
    ...answer.headers,
    ...(answer.type === undefined
      ? {}
      : { "content-type": answer.type, "content-length": Buffer.byteLength(answer.body) }),
  });
  response.end(request.method === "HEAD" ? undefined : answer.body);
}

function frontPage(version: string): string {
  return `Haulout ${version}: live, durable agent sessions over one WebSocket.

  /ws       the WebSocket; subprotocols haulout.v1.msgpack and haulout.v1.json
  /healthz  whether the process lives
  /readyz   whether it takes clients
  /metrics  numbers for Prometheus
  /ticket   POST: a one-time ticket for a page, where there is authentication

Talk to an agent from a terminal: npx haulout chat`;
}
