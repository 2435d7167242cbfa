/**
 * What a person can use now, in words: the list of `haulout models` and the hint of a first start. Owns the words and the
 * short question to servers that run models here; asks no provider that costs money, and shows no key.
 */
import type { Catalog, ProviderStatus } from "./catalog.ts";

export interface UsableOptions {
  /** How long a server may take to list its models, ms. Default 1000. */
  readonly timeoutMs?: number;
}

export interface Usable {
  /** As an agent's `model` begins. */
  readonly name: string;
  readonly ready: boolean;
  /** Why, or how to get there. */
  readonly says: string;
  /** A model to begin with. */
  readonly example?: string;
  /** What the server itself lists. */
  readonly models?: readonly string[];
}

const MAX_LISTED = 20;

export async function listUsable(catalog: Catalog, options: UsableOptions = {}): Promise<Usable[]> {
  const providers = await Promise.all(catalog.providers().map((status) => usable(status, options)));
  return [
    ...providers,
    { name: "module", ready: true, says: "a file of your own that exports a model: module:./my-model.js" },
    { name: "scripted", ready: true, says: "plays scripts and quotes what you say; no language model" },
  ];
}

async function usable(status: ProviderStatus, { timeoutMs = 1000 }: UsableOptions): Promise<Usable> {
  const { provider, access, installed, problem } = status;
  const { name } = provider;
  if (provider.keyNeeded || access.baseURL === undefined) {
    if (problem !== undefined) return { name, ready: false, says: problem };
    const from = access.keyFrom === undefined ? "" : `key from ${access.keyFrom}, `;
    const example = `${name}:${provider.example}`;
    const says = `${from}${provider.package} ${installed?.version}; for example ${example}`;
    return { name, ready: true, says, example };
  }
  const models = await askForModels(status, timeoutMs);
  const address = shown(access.baseURL);
  if (models === undefined)
    return {
      name,
      ready: false,
      says: `nothing answers at ${address}: start Ollama, or set models.${name}.baseURL`,
    };
  const example = models[0] === undefined ? {} : { example: `${name}:${models[0]}` };
  if (problem !== undefined)
    return { name, ready: false, says: `${address} answers, but ${problem}`, models, ...example };
  const listed = models.length === 0 ? "and lists no model" : `with ${models.join(", ")}`;
  return { name, ready: models.length > 0, says: `${address} answers ${listed}`, models, ...example };
}

/** The names that a server lists at `/models`, as OpenAI does; undefined when none answers. */
async function askForModels(
  { access, settings }: ProviderStatus,
  timeoutMs: number,
): Promise<string[] | undefined> {
  try {
    const response = await fetch(`${access.baseURL!.replace(/\/+$/, "")}/models`, {
      headers: {
        ...settings.headers,
        ...(access.key === undefined ? {} : { authorization: `Bearer ${access.key}` }),
      },
      redirect: "error",
      signal: AbortSignal.timeout(timeoutMs),
    });
    if (!response.ok) return undefined;
    const { data } = (await response.json()) as { data?: { id?: unknown }[] | null };
    // Names go to a terminal: nothing of them may be anything but a name.
    const names = (data ?? []).map(({ id }) => id);
    return names
      .filter((id): id is string => typeof id === "string" && /^[\w.:/@+-]{1,128}$/.test(id))
      .slice(0, MAX_LISTED);
  } catch {
    return undefined;
  }
}

/** An address without what may be secret in it, which gateways put even into the path. */
function shown(address: string): string {
  return URL.canParse(address) ? new URL(address).origin : "its address";
}

/** The list as lines of a terminal. */
export function describeUsable(list: readonly Usable[]): string {
  const width = Math.max(...list.map(({ name }) => name.length)) + 2;
  const line = ({ name, ready, says }: Usable): string =>
    `${ready ? "ready " : "  -   "} ${name.padEnd(width)}${says}`;
  return `${list.map(line).join("\n")}\n`;
}

/** For a server that runs without any model of its own: how to come by one, the nearest way first. */
export function howToBegin(list: readonly Usable[]): string {
  const nearest =
    list.find(({ ready, example }) => ready && example !== undefined) ?? list.find((each) => each.example);
  const before =
    nearest === undefined
      ? "install a package of the AI SDK (npm install @ai-sdk/openai), set its key (OPENAI_API_KEY),\nand"
      : `${nearest.name}: ${nearest.says}.\nTo use it,`;
  const agent = {
    name: "assistant",
    instructions: "Be helpful.",
    model: nearest?.example ?? "openai:gpt-5-mini",
  };
  return `The demo agent is no language model. For one, ${before} write this into haulout.json:
  ${JSON.stringify({ agents: [agent] })}
What can be used here, lists: haulout models

`;
}
