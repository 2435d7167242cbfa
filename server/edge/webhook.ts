/**
 * Webhooks: one signed POST to each address that an operator has named, in the form of Standard Webhooks. Owns body, headers
 * and signature; when to send, and to try again, is decided by who calls. Follows no redirect, and never logs a secret.
 */
import { createHmac } from "node:crypto";
import type { Tell, Unanswered } from "../session/unheard.ts";

export interface Webhook {
  /** http or https; any address, for it is the operator's word. */
  readonly url: string;
  /** `whsec_` and the key in base64. */
  readonly secret: string;
  /** Kinds of events; all unless told. */
  readonly events?: readonly "request-opened"[] | undefined;
}

export interface WebhookOptions {
  /** Until an attempt counts as failed, ms (10 000). */
  readonly timeoutMs?: number;
}

/** Tells each of them that has not been told. Rejects, naming their hosts, when one did not take it. */
export function webhookTell(webhooks: readonly Webhook[], options: WebhookOptions = {}): Tell {
  const timeoutMs = options.timeoutMs ?? 10_000;
  return async (unanswered, told) => {
    const { request } = unanswered.waiting.request;
    const body = bodyOf(unanswered);
    const failures: string[] = [];
    await Promise.all(
      webhooks.map(async (webhook, at) => {
        if (told.has(String(at)) || webhook.events?.includes("request-opened") === false) return;
        const failure = await post(webhook, request, body, timeoutMs);
        if (failure === undefined) told.add(String(at));
        else failures.push(`${new URL(webhook.url).host}: ${failure}`);
      }),
    );
    if (failures.length > 0) throw new Error(failures.join("; "));
  };
}

function bodyOf({ since, waiting, answerers }: Unanswered): string {
  return JSON.stringify({
    type: "request-opened",
    timestamp: new Date(since).toISOString(),
    data: { ...waiting, answerers },
  });
}

/** Why it was not taken; undefined when it was. */
async function post(
  { url, secret }: Webhook,
  id: string,
  body: string,
  timeoutMs: number,
): Promise<string | undefined> {
  const timestamp = Math.floor(Date.now() / 1000);
  try {
    const response = await fetch(url, {
      method: "POST",
      redirect: "manual",
      signal: AbortSignal.timeout(timeoutMs),
      headers: {
        "content-type": "application/json",
        "webhook-id": id,
        "webhook-timestamp": String(timestamp),
        "webhook-signature": sign(secret, id, timestamp, body),
      },
      body,
    });
    await response.body?.cancel();
    return response.ok ? undefined : `status ${response.status}`;
  } catch (error) {
    const { name, cause } = error as { name?: string; cause?: { code?: string } };
    return cause?.code ?? name ?? "failed";
  }
}

/** `timestamp` in seconds since 1970. */
export function sign(secret: string, id: string, timestamp: number, body: string): string {
  const key = Buffer.from(secret.replace(/^whsec_/, ""), "base64");
  return `v1,${createHmac("sha256", key).update(`${id}.${timestamp}.${body}`).digest("base64")}`;
}
