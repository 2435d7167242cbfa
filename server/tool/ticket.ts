/**
 * What passes between a call and the router: the ticket of an open call with its inbox of events, and the lease of one
 * attempt on one provider. Owns their shapes; who gets a lease is the router's, what events mean is the call's.
 */
import type { CallError, JsonValue, Labels } from "../../protocol/content.ts";
import type { Inbox } from "./inbox.ts";
import type { Scope } from "./registry.ts";
import type { CallReference, ToolCall, ToolHost } from "./tool.ts";

export interface CallAnswer {
  readonly output?: JsonValue | undefined;
  readonly error?: CallError | undefined;
}

/** A result as it came, and from whom. */
export interface GivenResult {
  readonly id: string;
  readonly host: ToolHost;
  readonly reference: CallReference;
  readonly answer: CallAnswer;
  /** Called when nobody has taken it up within the grace: what becomes of it is to be found out anew. */
  readonly again?: () => void;
}

/** What happens to an open call, in order. */
export type CallEvent =
  | { readonly type: "lease"; readonly lease: Lease }
  | { readonly type: "no-provider"; readonly detail: string }
  | { readonly type: "accepted"; readonly attempt: number }
  | {
      readonly type: "result";
      readonly attempt: number;
      readonly answer: CallAnswer;
      readonly host: ToolHost;
    }
  | { readonly type: "lost"; readonly attempt: number; readonly host: ToolHost }
  | { readonly type: "returned"; readonly attempt: number; readonly working: boolean }
  | { readonly type: "revoked"; readonly attempt: number }
  | { readonly type: "grace-over"; readonly attempt: number }
  | { readonly type: "unaccepted"; readonly attempt: number }
  | { readonly type: "deadline" }
  | { readonly type: "cancel" }
  | { readonly type: "cancel-unanswered" }
  | { readonly type: "stop" };

/** One open call as the router knows it: where its events go, and who was given which attempt. */
export interface Ticket {
  readonly session: string;
  readonly call: string;
  /** Where its tool is offered, and under which name. */
  readonly scope: Scope;
  readonly tool: string;
  readonly inbox: Inbox<CallEvent>;
  readonly attempts: Map<number, string>;
  readonly onProgress: (attempt: number, progress: JsonValue) => void;
  /** What its provider must have. */
  readonly labels: Labels;
  /** Whether who served the session before comes first, while they have room. */
  readonly affinity: boolean;
  /** These, the last one first. */
  readonly prefer: () => readonly string[];
  /** Providers that did not start it just now: they are asked again after a pause. */
  readonly resting: Set<string>;
  /** Results that came when the call was being ended by another one; they get their verdict at the end. */
  readonly late: { readonly host: ToolHost; readonly reference: CallReference }[];
  /** Every result that came: until one is in the log, whoever takes the call up again needs them. */
  readonly results: GivenResult[];
  answered: number | undefined;
  /** Shows the latest progress; undefined while the next one may be shown at once. */
  progress: (() => void) | undefined;
  /** The attempt whose result is in the log. */
  stored: number | undefined;
}

/** One unit of a provider's capacity, held by one attempt of one call. */
export class Lease {
  readonly provider: Provider;
  readonly ticket: Ticket;
  /** The key of the pool it was taken from. */
  readonly tool: string;
  attempt = 0;
  /** The socket that the call went out on; another one later is the provider's return. */
  host: ToolHost | undefined;
  /** The provider lost its place: nothing more goes there. */
  revoked = false;

  constructor(provider: Provider, ticket: Ticket, tool: string) {
    this.provider = provider;
    this.ticket = ticket;
    this.tool = tool;
  }

  /** False when the call certainly did not leave the server. */
  send(call: ToolCall): boolean {
    this.host = this.revoked ? undefined : this.provider.host;
    return this.host?.call(call) ?? false;
  }

  /** The provider may not have it any more: it is told to stop, and what it sends of it does not count. */
  revoke(): void {
    if (this.revoked) return;
    const { ticket, attempt } = this;
    if (this.host !== undefined) {
      this.cancel("forbidden");
      ticket.inbox.push({ type: "revoked", attempt });
    }
    this.revoked = true;
    ticket.attempts.delete(attempt);
  }

  cancel(reason: string): void {
    if (this.revoked) return;
    this.provider.host?.cancelCall(
      { session: this.ticket.session, call: this.ticket.call, attempt: this.attempt },
      reason,
    );
  }
}

/** Somebody who executes calls, as long as their place is kept. `host` is absent while their socket is lost. */
export interface Provider {
  readonly id: string;
  host: ToolHost | undefined;
  maxConcurrent: number;
  readonly leases: Set<Lease>;
  forget: (() => void) | undefined;
}
