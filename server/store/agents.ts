/**
 * The rows of the embedded store that keep agents which were put at run time, one under each name. Owns their form and
 * their way to the disk, fsynced. Never knows what an agent is.
 */
import { checkAgentName } from "./check.ts";
import { readError, type Level } from "./directory.ts";
import type { Lane } from "./lane.ts";
import { Kind, idOfSessionKey, rangeOf, seal, sessionKey, unseal } from "./layout.ts";
import { guard, rowsOf, type Report } from "./rows.ts";
import { StoreDamagedError, type AgentRow } from "./store.ts";

/** For errors: these rows belong to no session. */
const NO_SESSION = "(any)";

/** Rejects with TypeError for a name that is none. */
export async function writeAgent(lane: Lane, name: string, body: Uint8Array | null): Promise<void> {
  checkAgentName(name);
  const key = sessionKey(Kind.agent, name);
  await lane.write({
    ids: new Set<string>(),
    sync: true,
    prepare: () => Promise.resolve(),
    build: (batch) => {
      if (body === null) batch.del(key);
      else batch.put(key, seal(key, body));
      return { result: undefined };
    },
  });
}

export async function readAgents(level: Level): Promise<AgentRow[]> {
  const keys = await level.keys(rangeOf(Kind.agent)).all();
  return Promise.all(keys.map((key) => readAgent(level, key)));
}

/** One by one: a row that is damaged must not keep the others from being there. */
async function readAgent(level: Level, key: Buffer): Promise<AgentRow> {
  const name = idOfSessionKey(key);
  try {
    const value = await level.get(key);
    return value === undefined ? { name } : { name, body: read(key, value) };
  } catch (error) {
    const known = readError(NO_SESSION, error);
    if (known instanceof StoreDamagedError) return { name };
    throw known;
  }
}

/** The checksum of each. */
export function inspectAgents(level: Level, report: Report): Promise<unknown> {
  return rowsOf(level, rangeOf(Kind.agent), {}, report, (key, value) => {
    guard(
      NO_SESSION,
      ({ problem }) => report({ problem: `agent ${idOfSessionKey(key)}: ${problem}` }),
      () => read(key, value),
    );
  });
}

function read(key: Buffer, value: Buffer): Buffer {
  return unseal(NO_SESSION, key, value, "an agent's row");
}
