/**
 * Models by name: `openai:gpt-5-mini`, `module:./my-model.js`, `scripted`. Owns how a name becomes a model, what keeps it
 * from being one, and that a provider's package is loaded only when its model is first asked. Never shows a key.
 */
import { existsSync } from "node:fs";
import { fromLanguageModel, isLanguageModel } from "./aisdk.ts";
import type { LanguageModelOptions } from "./aisdk.ts";
import { toModelError } from "./failure.ts";
import { ModelError } from "./model.ts";
import type { Model, ModelPart, ModelRequest } from "./model.ts";
import { findPackage, LoadError, loadModule, modulePath } from "./packages.ts";
import type { FoundPackage } from "./packages.ts";
import { accessOf, isAddress, listProviders, providerSettings } from "./providers.ts";
import type { Access, Environment, Provider, ProviderSettings } from "./providers.ts";
import { scriptedModel } from "./scripted.ts";

export interface CatalogOptions {
  /** A program's own models by name; asked before anything else. */
  readonly given?: (name: string) => Model | undefined;
  /** The `models` section of the configuration: settings by provider. */
  readonly settings?: Readonly<Record<string, unknown>>;
  /** process.env unless told. */
  readonly env?: Environment;
  /** Where `module:` paths begin and packages may be installed. That of the process unless told. */
  readonly cwd?: string;
  /** How packages are found; by their folders unless told. */
  readonly find?: (name: string, cwd: string) => FoundPackage | undefined;
}

/** A provider and what stands between it and use. */
export interface ProviderStatus {
  readonly provider: Provider;
  readonly settings: ProviderSettings;
  readonly access: Access;
  readonly installed: FoundPackage | undefined;
  /** A sentence with the way out; undefined when nothing is known against it. */
  readonly problem: string | undefined;
}

const FORMS = 'write provider:name ("openai:gpt-5-mini"), module:./file.js or scripted';

export class Catalog {
  /** What is wrong with the settings, a line each. */
  readonly problems: string[] = [];
  readonly #settings = new Map<string, ProviderSettings>();
  readonly #models = new Map<string, Model>();
  readonly #given: (name: string) => Model | undefined;
  readonly #env: Environment;
  readonly #cwd: string;
  readonly #find: (name: string, cwd: string) => FoundPackage | undefined;

  constructor(options: CatalogOptions = {}) {
    this.#given = options.given ?? (() => undefined);
    this.#env = options.env ?? process.env;
    this.#cwd = options.cwd ?? process.cwd();
    this.#find = options.find ?? findPackage;
    for (const [name, given] of Object.entries(options.settings ?? {})) {
      const result = providerSettings.safeParse(given);
      if (result.success) this.#settings.set(name, result.data);
      else
        for (const { path, message } of result.error.issues) {
          this.problems.push(`${[name, ...path].join(".")}: ${message.replace(/^Invalid input: /, "")}`);
        }
    }
  }

  /** The model of that name, the same one each time; loaded when it is first asked, and failing then if it must. */
  model(name: string): Model {
    let model = this.#given(name) ?? this.#models.get(name);
    if (model === undefined) {
      model = name === "scripted" ? scriptedModel : lazyModel(name, () => this.#load(name));
      this.#models.set(name, model);
    }
    return model;
  }

  /** Why the name cannot be used as things stand, in one line. Loads nothing and asks nobody. */
  problem(name: string): string | undefined {
    if (name === "scripted" || this.#given(name) !== undefined) return undefined;
    const { kind, rest } = split(name);
    if (rest === "") return `"${name}" names no model: ${FORMS}`;
    if (kind === "module") {
      const path = modulePath(rest, this.#cwd);
      return existsSync(path) ? undefined : `"${name}": there is no file ${path}`;
    }
    const status = this.providers().find(({ provider }) => provider.name === kind);
    if (status === undefined) {
      return (
        `"${name}": there is no provider "${kind}": ${FORMS}; ` +
        `a server that speaks as OpenAI does needs a baseURL in models.${kind}`
      );
    }
    return status.problem === undefined ? undefined : `"${name}": ${status.problem}`;
  }

  /** Every provider that is known or configured. */
  providers(): ProviderStatus[] {
    return listProviders([...this.#settings.keys()]).map((provider) => {
      const settings = this.#settings.get(provider.name) ?? {};
      const access = accessOf(provider, settings, this.#env);
      const installed = this.#find(provider.package, this.#cwd);
      return {
        provider,
        settings,
        access,
        installed,
        problem: obstacle(provider, settings, access, installed),
      };
    });
  }

  async #load(name: string): Promise<Model> {
    const problem = this.problem(name);
    if (problem !== undefined) throw new LoadError(problem);
    const { kind, rest } = split(name);
    if (kind === "module") return moduleModel(name, modulePath(rest, this.#cwd));
    const { provider, settings, access, installed } = this.providers().find(
      (status) => status.provider.name === kind,
    )!;
    const { api, firstPartMs, idleMs, ...given } = settings;
    const loaded = (await import(installed!.url)) as Record<string, unknown>;
    const make = loaded[provider.factory] as ((options: object) => unknown) | undefined;
    if (make === undefined)
      throw new LoadError(`${provider.package} ${installed!.version} is not a version known here`);
    const made = make({
      ...(provider.factory === "createOpenAICompatible"
        ? { includeUsage: true, ...given, name: kind }
        : given),
      ...(access.key === undefined ? {} : { apiKey: access.key }),
      ...(access.baseURL === undefined ? {} : { baseURL: access.baseURL }),
    }) as ((model: string) => unknown) & { chat: (model: string) => unknown };
    const model = api === "chat" ? made.chat(rest) : made(rest);
    const options: LanguageModelOptions = {
      id: name,
      ...(firstPartMs === undefined ? {} : { firstPartMs }),
      ...(idleMs === undefined ? {} : { idleMs }),
    };
    if (isLanguageModel(model)) return fromLanguageModel(model, options);
    throw new LoadError(`${provider.package} ${installed!.version} is not a version known here`);
  }
}

function split(name: string): { kind: string; rest: string } {
  const colon = name.indexOf(":");
  return colon < 0 ? { kind: name, rest: "" } : { kind: name.slice(0, colon), rest: name.slice(colon + 1) };
}

function obstacle(
  provider: Provider,
  settings: ProviderSettings,
  access: Access,
  installed: FoundPackage | undefined,
): string | undefined {
  const { name, keys, keyNeeded } = provider;
  if (installed === undefined)
    return `the package ${provider.package} is missing: npm install ${provider.package}`;
  if (access.baseURL === undefined && !keyNeeded) return `it needs an address: set models.${name}.baseURL`;
  if (access.baseURL !== undefined && !isAddress(access.baseURL))
    return `its address must be an http or https URL without user, password and query`;
  // Anthropic's packages take a token in place of a key.
  if (access.key === undefined && settings["authToken"] === undefined && keyNeeded)
    return `it needs a key: set ${keys[0]}, or models.${name}.apiKey in the configuration`;
  return undefined;
}

/** What a module exports by default (or as `model`): a model of either kind, or a function that makes one. */
async function moduleModel(name: string, path: string): Promise<Model> {
  const loaded = await loadModule(path);
  const exported = loaded["default"] ?? loaded["model"];
  const made: unknown = typeof exported === "function" ? await (exported as () => unknown)() : exported;
  if (isLanguageModel(made)) return fromLanguageModel(made, { id: name });
  const model = made as Partial<Model> | null | undefined;
  if (typeof model?.stream !== "function")
    throw new LoadError(
      `${path}: its default export is no model of the AI SDK (specification v2 to v4) and none of Haulout`,
    );
  return model as Model;
}

/** A model that is loaded by its first request; a load that failed is tried again by the next one. */
function lazyModel(id: string, load: () => Promise<Model>): Model {
  let loading: Promise<Model> | undefined;
  let loaded: Model | undefined;
  async function* first(request: ModelRequest, signal: AbortSignal): AsyncGenerator<ModelPart, void> {
    try {
      loaded = await (loading ??= load());
    } catch (error) {
      loading = undefined;
      // What a provider's package says may hold the key; what is said here does not.
      throw error instanceof LoadError
        ? new ModelError("unavailable", error.message)
        : toModelError(error, id);
    }
    yield* loaded.stream(request, signal);
  }
  return { id, stream: (request, signal) => (loaded ?? { stream: first }).stream(request, signal) };
}
