/**
 * What a runtime is made with. Owns the shape of these options; their defaults stand where each is used.
 * Never a part's own options: those are the part's, and here by name.
 */
import type { Budgets } from "../agent/budget.ts";
import type { FileRules } from "../model/addresses.ts";
import type { Model } from "../model/model.ts";
import type { Prices } from "../model/prices.ts";
import type { Log } from "../observe/log.ts";
import type { AttachmentLimits } from "../session/attachments.ts";
import type { FloorOptions } from "../session/keeper.ts";
import type { GateOptions } from "../session/gate.ts";
import type { PresenceOptions } from "../session/presence.ts";
import type { QuotaOptions } from "../session/quota.ts";
import type { TaskOptions } from "../session/tasks.ts";
import type { UnheardOptions } from "../session/unheard.ts";
import type { WatchOptions } from "../session/watches.ts";
import type { CommitQueue } from "../store/commit.ts";
import type { Store } from "../store/store.ts";
import type { CallTimings } from "../tool/context.ts";
import type { RouterOptions } from "../tool/router.ts";

export interface RuntimeOptions
  extends GateOptions, QuotaOptions, TaskOptions, Partial<AttachmentLimits>, FileRules {
  /** Where sessions live; a memory store when absent. It is closed with the runtime. */
  store?: Store;
  /** The group commit above that store; one with default bounds when absent. */
  commits?: CommitQueue;
  /** The model of an agent whose `model` is this name; the runtime's own model when it answers undefined. */
  models?: (name: string) => Model | undefined;
  /** Why an agent that is put while the runtime runs may not name this model; it may name any unless told. */
  modelProblem?: (name: string) => string | undefined;
  log?: Log;
  /** Names this process among others. */
  node?: string;
  /** ms since 1970. */
  now?: () => number;
  /** Inputs that may wait in one session. Default 64. */
  maxQueue?: number;
  /** Members of one session. Default 1000. */
  maxMembers?: number;
  /** Invitations open in one session. Default 100. */
  maxInvites?: number;
  /** How long a session without readers and work stays in memory, ms. Default 10 000. */
  idleMs?: number;
  /** Entries after which the state of a session in memory is stored anew, for a process that is killed. Default 500. */
  snapshotEvery?: number;
  /** How long streamed text may wait for more of it, ms; the first piece after a pause never does. 0: none. Default 50. */
  coalesceMs?: number;
  /** Sessions without an entry for so many days are deleted, unless something is open in them. Absent: never. */
  retentionDays?: number | undefined;
  /** What models cost, so that usage says it; by globs of their names. */
  prices?: Prices | undefined;
  /** What sessions and users may use; runs end with `over-budget` from then on. Absent: no bound. */
  budgets?: Budgets | undefined;
  router?: RouterOptions;
  timings?: CallTimings;
  watches?: WatchOptions;
  presence?: PresenceOptions & FloorOptions;
  /** Tells somebody outside of requests that nobody online may answer; absent: nobody is told. */
  unheard?: UnheardOptions | undefined;
}
