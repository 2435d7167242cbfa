/**
 * The providers that are known by name: their package, where their key comes from, how a model of theirs is made. Owns
 * that table and the reading of settings; never loads a package and never shows a key.
 */
import { z } from "zod";
import { json } from "../../protocol/content.ts";

/** One provider's section of `models` in the configuration. What is not named here goes to the provider's package. */
export const providerSettings = z
  .object({
    apiKey: z.string().min(1).optional(),
    /** An http(s) address, without the path of a request: `http://127.0.0.1:8000/v1`. */
    baseURL: z.string().refine(isAddress, "an http or https URL without user, password and query").optional(),
    headers: z.record(z.string(), z.string()).optional(),
    /** OpenAI only: which of its two ways to be asked. */
    api: z.enum(["responses", "chat"]).optional(),
    /** Limits of one request, ms; see LanguageModelOptions. */
    firstPartMs: z.int().min(1).optional(),
    idleMs: z.int().min(1).optional(),
  })
  .catchall(json);
export type ProviderSettings = z.infer<typeof providerSettings>;

/** What may stand before the path of a request. A key has its own setting, where it is not shown. */
export function isAddress(text: string): boolean {
  if (!URL.canParse(text)) return false;
  const { protocol, username, password, search, hash } = new URL(text);
  return /^https?:$/.test(protocol) && username + password + search + hash === "";
}

export type Environment = Readonly<Record<string, string | undefined>>;

export interface Provider {
  readonly name: string;
  readonly package: string;
  /** The function of the package that makes the provider. */
  readonly factory: string;
  /** Variables that hold its key, the usual one first. */
  readonly keys: readonly string[];
  readonly keyNeeded: boolean;
  readonly baseURLs: readonly string[];
  /** A model that exists, to show how names are written. */
  readonly example: string;
}

const PROVIDERS: readonly Provider[] = [
  {
    name: "openai",
    package: "@ai-sdk/openai",
    factory: "createOpenAI",
    keys: ["OPENAI_API_KEY"],
    keyNeeded: true,
    baseURLs: ["OPENAI_BASE_URL"],
    example: "gpt-5-mini",
  },
  {
    name: "anthropic",
    package: "@ai-sdk/anthropic",
    factory: "createAnthropic",
    keys: ["ANTHROPIC_API_KEY"],
    keyNeeded: true,
    baseURLs: ["ANTHROPIC_BASE_URL"],
    example: "claude-sonnet-4-5",
  },
  {
    name: "google",
    package: "@ai-sdk/google",
    factory: "createGoogleGenerativeAI",
    keys: ["GOOGLE_GENERATIVE_AI_API_KEY", "GEMINI_API_KEY", "GOOGLE_API_KEY"],
    keyNeeded: true,
    baseURLs: [],
    example: "gemini-2.5-flash",
  },
  {
    name: "openai-compatible",
    package: "@ai-sdk/openai-compatible",
    factory: "createOpenAICompatible",
    keys: ["OPENAI_COMPATIBLE_API_KEY"],
    keyNeeded: false,
    baseURLs: ["OPENAI_COMPATIBLE_BASE_URL"],
    example: "qwen3:8b",
  },
];
const COMPATIBLE = PROVIDERS.at(-1)!;

/** The known ones, and any other name of the configuration: an OpenAI-compatible server at its `baseURL`. */
export function listProviders(names: readonly string[]): Provider[] {
  const others = names.filter((name) => !PROVIDERS.some((provider) => provider.name === name));
  return [...PROVIDERS, ...others.map((name) => ({ ...COMPATIBLE, name, keys: [], baseURLs: [] }))];
}

export interface Access {
  readonly key?: string;
  /** Where the key or the address comes from, for people; never the key. */
  readonly keyFrom?: string;
  readonly baseURL?: string;
}

/** Key and address of a provider: its settings, then the environment; Ollama's address where nothing else is said. */
export function accessOf(provider: Provider, settings: ProviderSettings, env: Environment): Access {
  const variable = provider.keys.find((name) => env[name]?.trim());
  const given = settings.apiKey ?? (variable === undefined ? undefined : env[variable]);
  const address = provider.baseURLs.map((name) => env[name]?.trim()).find(Boolean);
  const ownAddress = provider === COMPATIBLE ? ollamaURL(env) : undefined;
  const baseURL = settings.baseURL ?? (address === undefined ? ownAddress : versioned(provider, address));
  return {
    // A key read from a mounted file ends in a line end, which no header may hold.
    ...(given === undefined ? {} : { key: given.trim() }),
    ...(given === undefined
      ? {}
      : { keyFrom: settings.apiKey === undefined ? variable! : `models.${provider.name}` }),
    ...(baseURL === undefined ? {} : { baseURL }),
  };
}

/** Anthropic's own clients take an address without the version in it. */
function versioned({ name }: Provider, address: string): string {
  const bare = address.replace(/\/+$/, "");
  return name === "anthropic" && URL.canParse(bare) && new URL(bare).pathname === "/" ? `${bare}/v1` : bare;
}

/** Where a local Ollama answers: its own variable, else its default. */
function ollamaURL(env: Environment): string {
  const given = env["OLLAMA_HOST"]?.trim() || "127.0.0.1:11434";
  const address = /^https?:\/\//.test(given) ? given : `http://${given}`;
  if (!URL.canParse(address)) return "http://127.0.0.1:11434/v1";
  const url = new URL(address);
  // What it listens on may be no address to call.
  const host = ["0.0.0.0", "[::]"].includes(url.hostname) ? "127.0.0.1" : url.hostname;
  const port = url.port === "" && !given.includes("://") ? "11434" : url.port;
  return `${url.protocol}//${host}${port === "" ? "" : `:${port}`}/v1`;
}
