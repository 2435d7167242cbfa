/**
 * Which limits a configuration may set. Owns their names; the parts that enforce them have the same names among their
 * options, the defaults, and the words for what they bound.
 */
import { z } from "zod";

const count = z.int().min(0).optional();
/** 0: no bound. */
export const limits = z.strictObject({
  maxConnections: count,
  maxConnectionsPerAddress: count,
  maxConnectionsPerUser: count,
  maxGreeting: count,
  maxGreetingPerAddress: count,
  upgradesPerSecond: count,
  upgradeBurst: count,
  framesPerSecond: count,
  frameBurst: count,
  bytesPerSecond: count,
  byteBurst: count,
  userFramesPerSecond: count,
  userFrameBurst: count,
  userBytesPerSecond: count,
  userByteBurst: count,
  maxOutboxBytes: count,
  coalesceMs: count,
  maxInFlight: z.int().min(1).optional(),
  maxQueue: z.int().min(1).optional(),
  maxMembers: z.int().min(1).optional(),
  maxInvites: z.int().min(1).optional(),
  maxRuns: count,
  maxRunsPerUser: count,
  maxSessionsPerUser: count,
  maxTaskDepth: z.int().min(1).optional(),
  maxTasks: z.int().min(1).optional(),
  maxTools: count,
  maxSchemaBytes: count,
  maxAttachments: count,
  maxAttachmentBytes: count,
});
export type Limits = Partial<Record<keyof z.infer<typeof limits>, number | undefined>>;
