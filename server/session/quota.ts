/**
 * How many sessions a user may own. Owns the question and the places of those that are being created; the count is the
 * store's. Where users are not verified anybody could be another user, so nobody is counted.
 */
import type { Actor } from "../../protocol/content.ts";
import { ProtocolError } from "../../protocol/errors.ts";
import type { Store } from "../store/store.ts";

export interface QuotaOptions {
  /** Sessions of one user that are not deleted, where users are verified (10 000; 0: any number). */
  readonly maxSessionsPerUser?: number;
}

export class SessionQuota {
  readonly #store: Pick<Store, "owned">;
  readonly #max: number;
  /** By user: sessions of which the store may not know yet. */
  readonly #creating = new Map<string, number>();

  constructor(store: Pick<Store, "owned">, options: QuotaOptions = {}) {
    this.#store = store;
    this.#max = (options.maxSessionsPerUser ?? 10_000) || Infinity;
  }

  /** Throws ProtocolError `forbidden` when the user has as many as may be. */
  async within<T>({ id, verified }: Pick<Actor, "id" | "verified">, create: () => Promise<T>): Promise<T> {
    if (!verified || this.#max === Infinity) return create();
    const others = this.#creating.get(id) ?? 0;
    this.#creating.set(id, others + 1);
    try {
      if ((await this.#store.owned(id)) + others >= this.#max)
        throw new ProtocolError("forbidden", `you have ${this.#max} sessions: delete some`, {
          details: { limit: "maxSessionsPerUser", max: this.#max },
        });
      return await create();
    } finally {
      const left = this.#creating.get(id)! - 1;
      if (left === 0) this.#creating.delete(id);
      else this.#creating.set(id, left);
    }
  }
}
