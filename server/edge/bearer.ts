/**
 * What plain HTTP asks of authentication: one-time tickets for pages, and who may read the metrics. Owns reading the
 * Authorization header, the CORS headers of `/ticket` and which status a refusal becomes; never decides whom a token stands for.
 */
import type { IncomingMessage } from "node:http";
import { ProtocolError } from "../../protocol/errors.ts";
import { allows } from "../auth/identity.ts";
import type { Authenticator } from "../auth/authenticator.ts";
import type { ClientRequest } from "../auth/method.ts";
import { json, type Answer } from "./answer.ts";

/** What fits `hello.token`. */
const MAX_TOKEN_LENGTH = 8192;

/** `POST /ticket`: a ticket for whom the Authorization header stands for. Pages of allowed origins may ask. */
export async function answerTicket(
  request: IncomingMessage,
  from: ClientRequest,
  authenticator: Authenticator,
  originAllowed: (from: ClientRequest) => boolean,
): Promise<Answer> {
  if (authenticator.mode === "none") return json(404, { error: "not-found" });
  if (!originAllowed(from)) return json(403, { error: "forbidden" });
  const shared =
    from.origin === undefined ? {} : { "access-control-allow-origin": from.origin, vary: "origin" };
  if (request.method === "OPTIONS") {
    const may = {
      "access-control-allow-methods": "POST",
      "access-control-allow-headers": "authorization",
      "access-control-max-age": "600",
    };
    return { status: 204, type: undefined, body: "", headers: { ...shared, ...may } };
  }
  const answer = await orRefusal(async () =>
    json(200, await authenticator.issueTicket(tokenOf(request), from)),
  );
  return { ...answer, headers: { ...answer.headers, ...shared } };
}

/** The refusal of who may not read the metrics; undefined for those who may. */
export async function refuseMetrics(
  request: IncomingMessage,
  from: ClientRequest,
  authenticator: Authenticator,
): Promise<Answer | undefined> {
  if (authenticator.mode === "none") return undefined;
  const answer = await orRefusal(async () => {
    const account = await authenticator.identifyRequest(tokenOf(request), from);
    return allows(account, "watch") ? undefined : json(403, { error: "forbidden" });
  });
  return answer;
}

/** The token of `Authorization: Bearer …`. */
function tokenOf({ headers }: IncomingMessage): string | undefined {
  const token = /^bearer +(\S+) *$/i.exec(headers.authorization ?? "")?.[1];
  return token === undefined || token.length > MAX_TOKEN_LENGTH ? undefined : token;
}

const STATUS: Readonly<Record<string, number>> = {
  unauthenticated: 401,
  forbidden: 403,
  "rate-limited": 429,
};

async function orRefusal<T>(answer: () => Promise<T>): Promise<T | Answer> {
  try {
    return await answer();
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
    const { code, retryAfterMs } = error;
    const headers: Record<string, string> = {};
    if (code === "unauthenticated") headers["www-authenticate"] = "Bearer";
    if (retryAfterMs !== undefined) headers["retry-after"] = String(Math.ceil(retryAfterMs / 1000));
    return { ...json(STATUS[code] ?? 503, { error: code }), headers };
  }
}
