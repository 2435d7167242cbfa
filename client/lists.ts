/**
 * The requests of a client about the server as a whole: pages of what there is, sums, providers. Owns their names and no state; how a request is
 * sent is the client's.
 */
import type { ResultOf } from "../protocol/frames.ts";
import type { FieldsOf, PlainRequest, RequestOptions } from "./requests.ts";

export abstract class Lists {
  abstract request<T extends PlainRequest>(
    type: T,
    fields: FieldsOf<T>,
    options?: RequestOptions,
  ): Promise<ResultOf<T>>;

  listSessions(
    filter: FieldsOf<"listSessions"> = {},
    options?: RequestOptions,
  ): Promise<ResultOf<"listSessions">> {
    return this.request("listSessions", filter, options);
  }

  /** A page of where all words of a text were said, the latest first, the last word at least as a beginning. */
  search(of: FieldsOf<"search">, options?: RequestOptions): Promise<ResultOf<"search">> {
    return this.request("search", of, options);
  }

  /** A page of what waits for this user's answer, in all sessions; `request("answer", …)` gives it. */
  listRequests(page: FieldsOf<"listRequests"> = {}): Promise<ResultOf<"listRequests">> {
    return this.request("listRequests", page);
  }

  listAgents(page: FieldsOf<"listAgents"> = {}, options?: RequestOptions): Promise<ResultOf<"listAgents">> {
    return this.request("listAgents", page, options);
  }

  listTools(page: FieldsOf<"listTools"> = {}, options?: RequestOptions): Promise<ResultOf<"listTools">> {
    return this.request("listTools", page, options);
  }

  /**
   * A page of what this user's runs need no approval for in any session, because somebody said so for this user;
   * `request("forget", {session, allowance})` takes it back.
   */
  listAllowances(
    page: FieldsOf<"listAllowances"> = {},
    options?: RequestOptions,
  ): Promise<ResultOf<"listAllowances">> {
    return this.request("listAllowances", page, options);
  }

  /** What was used in one's own name, or, with the right `admin`, in another user's; by UTC day for the last month. */
  usage(of: FieldsOf<"usage"> = {}, options?: RequestOptions): Promise<ResultOf<"usage">> {
    return this.request("usage", of, options);
  }

  /**
   * No new call goes to this provider (`listTools` names it); when those that it has are done, its tools are gone until it
   * offers them again, as it does when it reconnects. For the right `admin`. Rejects with `not-found`, `forbidden`.
   */
  async drainProvider(provider: string, options?: RequestOptions): Promise<void> {
    await this.request("drainProvider", { provider }, options);
  }

  /** A page of messages, oldest first: the newest ones, or with the `cursor` of a page those before it. */
  history(page: FieldsOf<"history">, options?: RequestOptions): Promise<ResultOf<"history">> {
    return this.request("history", page, options);
  }
}
