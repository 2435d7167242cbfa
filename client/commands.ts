/**
 * What one may ask of a session besides talking in it: answers to what waits, the queue, the floor, members. Owns the form
 * of these requests, which need nothing but the session's id; whatever needs its state is the handle's (session.ts).
 */
import type { Content, FloorMode, JsonValue, Role } from "../protocol/content.ts";
import type { ResultOf } from "../protocol/frames.ts";
import type { Remember } from "../protocol/people.ts";
import type { FieldsOf, PlainRequest, RequestOptions } from "./requests.ts";

/** The requests of the client that attached. */
export interface SessionClient {
  /** Who that is to the server. */
  readonly user: { readonly id: string } | undefined;
  request<T extends PlainRequest>(
    type: T,
    fields: FieldsOf<T>,
    options?: RequestOptions,
  ): Promise<ResultOf<T>>;
}

export abstract class SessionCommands {
  readonly id: string;
  readonly #client: SessionClient;

  constructor(client: SessionClient, id: string) {
    this.#client = client;
    this.id = id;
  }

  /**
   * Allows the call that waits, with another input where the request is `editable`, and later ones where it says
   * `remember`. Resolves with the seq of the entry that says it, also when it was said before. Rejects with ProtocolError:
   * `conflict` (resolved: `details` say how and by whom; or the input was edited meanwhile), `forbidden`, `not-found`,
   * `bad-frame`.
   */
  approve(
    request: string,
    options: RequestOptions & {
      readonly input?: JsonValue;
      readonly reason?: string;
      readonly remember?: Remember;
    } = {},
  ): Promise<ResultOf<"answer">> {
    const { input, reason, remember, ...rest } = options;
    const more = {
      ...(input === undefined ? {} : { input }),
      ...(reason === undefined ? {} : { reason }),
      ...(remember === undefined ? {} : { remember }),
    };
    return this.#client.request("answer", { session: this.id, request, decision: "approve", ...more }, rest);
  }

  /** Refuses the call, or to answer the questions; the model reads the reason. Resolves and rejects as `approve` does. */
  deny(
    request: string,
    options: RequestOptions & { readonly reason?: string } = {},
  ): Promise<ResultOf<"answer">> {
    const { reason, ...rest } = options;
    const more = reason === undefined ? {} : { reason };
    return this.#client.request("answer", { session: this.id, request, decision: "deny", ...more }, rest);
  }

  /** Answers questions, by their ids. Resolves and rejects as `approve` does. */
  answer(
    request: string,
    answers: Readonly<Record<string, string | string[]>>,
    options: RequestOptions = {},
  ): Promise<ResultOf<"answer">> {
    return this.#client.request("answer", { session: this.id, request, answers: { ...answers } }, options);
  }

  /** Takes back an approval that was to hold for later calls (`state.allowances`). Rejects with `not-found`, `forbidden`. */
  forget(allowance: string, options: RequestOptions = {}): Promise<ResultOf<"forget">> {
    return this.#client.request("forget", { session: this.id, allowance }, options);
  }

  /** A page of messages, oldest first: the newest ones, or with the `cursor` of a page those before it. */
  history(
    page: { cursor?: string; limit?: number } = {},
    options: RequestOptions = {},
  ): Promise<ResultOf<"history">> {
    return this.#client.request("history", { session: this.id, ...page }, options);
  }

  /** Makes a user a member, or gives a member another role. Rejects with `forbidden` for all but owners. */
  grant(user: string, role: Role, options?: RequestOptions): Promise<ResultOf<"grant">> {
    return this.#client.request("grant", { session: this.id, user, role }, options);
  }

  /** Ends a membership, and every stream of it at once; one's own without being an owner. `conflict`: the last owner's. */
  revoke(user: string, options?: RequestOptions): Promise<ResultOf<"revoke">> {
    return this.#client.request("revoke", { session: this.id, user }, options);
  }

  /**
   * Makes a token that others join with (`client.join`): once and within 7 days unless told. It is said only here; keep
   * `invite` to take it back with `revokeInvite`.
   */
  invite(
    invitation: { readonly role: Role; readonly expiresInMs?: number; readonly uses?: number },
    options?: RequestOptions,
  ): Promise<ResultOf<"invite">> {
    return this.#client.request("invite", { session: this.id, ...invitation }, options);
  }

  revokeInvite(invite: string, options?: RequestOptions): Promise<ResultOf<"revokeInvite">> {
    return this.#client.request("revokeInvite", { session: this.id, invite }, options);
  }

  /**
   * Says that this user has read everything up to the entry `seq`, the newest unless told, for the `unread` of session
   * lists on all their devices; never takes back a later mark. Resolves with the mark that stands and what is unread.
   */
  markRead(seq?: number, options?: RequestOptions): Promise<ResultOf<"markRead">> {
    const more = seq === undefined ? {} : { seq };
    return this.#client.request("markRead", { session: this.id, ...more }, options);
  }

  /** Other words for an input of this user's that waits (`state.queue`). Rejects with `conflict` when its turn has come. */
  editInput(input: string, content: Content, options?: RequestOptions): Promise<ResultOf<"editInput">> {
    return this.#client.request("editInput", { session: this.id, input, content }, options);
  }

  /** Takes an input out of the queue, an owner anybody's. Rejects with `conflict` when its turn has come, `forbidden`. */
  withdrawInput(input: string, options?: RequestOptions): Promise<ResultOf<"withdrawInput">> {
    return this.#client.request("withdrawInput", { session: this.id, input }, options);
  }

  /**
   * Puts waiting inputs in this order, in the places that they have together; all others stay where they are. One's own, an
   * owner anybody's. Rejects with `conflict` when one does not wait any more, `forbidden`.
   */
  orderInputs(inputs: readonly string[], options?: RequestOptions): Promise<ResultOf<"orderInputs">> {
    return this.#client.request("orderInputs", { session: this.id, inputs: [...inputs] }, options);
  }

  /**
   * Says who may send: everybody who is an editor, taken in the order of arrival (`open`) or in turns (`queue`), owners
   * alone (`owner-only`), or one at a time (`hand`: this user, or `holder`). For owners.
   */
  setFloor(
    mode: FloorMode,
    options: RequestOptions & { readonly holder?: string } = {},
  ): Promise<ResultOf<"setFloor">> {
    const { holder, ...rest } = options;
    const more = holder === undefined ? {} : { holder };
    return this.#client.request("setFloor", { session: this.id, mode, ...more }, rest);
  }

  /**
   * In the mode `hand`: gives the floor to a user, or lays it down without one. Whoever holds it may, and an owner; what
   * nobody holds anybody may take, with their own id. Rejects with `forbidden`, `conflict` (who may not send here).
   */
  passFloor(to?: string, options?: RequestOptions): Promise<ResultOf<"passFloor">> {
    const more = to === undefined ? {} : { to };
    return this.#client.request("passFloor", { session: this.id, ...more }, options);
  }
}
