/**
 * A language model of the AI SDK (specification v2, v3 or v4) as a Model: one `doStream` per call, nothing else of the
 * SDK. Owns the two time limits and the end of the request when nobody wants it any more; never retries, never runs a
 * tool, and throws nothing but ModelError.
 */
import { PartReader } from "./aisdk-parts.ts";
import { sdkPrompt } from "./aisdk-prompt.ts";
import { callSettings } from "./aisdk-settings.ts";
import type { CallOptions, LanguageModel, SdkPart, SupportedUrls } from "./aisdk-types.ts";
import { failure, toModelError } from "./failure.ts";
import type { Model, ModelPart, ModelRequest } from "./model.ts";

export interface LanguageModelOptions {
  /** The name in logs, entries and errors. `provider:model` unless told. */
  readonly id?: string;
  /**
   * From the request to the first part of the answer, ms. Default 180 000: a local model may have to be loaded, another
   * may think before it says anything.
   */
  readonly firstPartMs?: number;
  /** Between two parts after that, ms. Default 60 000. */
  readonly idleMs?: number;
}

const DEFAULT_FIRST_PART_MS = 180_000;
const DEFAULT_IDLE_MS = 60_000;
const VERSIONS: readonly unknown[] = ["v2", "v3", "v4"];

export function isLanguageModel(value: unknown): value is LanguageModel {
  const model = value as Partial<LanguageModel> | null | undefined;
  return typeof model?.doStream === "function" && VERSIONS.includes(model.specificationVersion);
}

export function fromLanguageModel(model: LanguageModel, options: LanguageModelOptions = {}): Model {
  const id = options.id ?? `${model.provider}:${model.modelId}`;
  return { id, stream: (request, signal) => streamParts(model, request, signal, { ...options, id }) };
}

async function* streamParts(
  model: LanguageModel,
  request: ModelRequest,
  signal: AbortSignal,
  options: LanguageModelOptions & { readonly id: string },
): AsyncGenerator<ModelPart, void> {
  const { id, firstPartMs = DEFAULT_FIRST_PART_MS, idleMs = DEFAULT_IDLE_MS } = options;
  const watch = new Watch(id, signal, firstPartMs);
  const reader = new PartReader(id, model);
  let source: ReadableStreamDefaultReader<unknown> | undefined;
  let last: ModelPart | undefined;
  try {
    source = (await watch.over(openStream(model, request, watch.signal))).getReader();
    for (;;) {
      const { done, value } = await watch.over(source.read());
      if (done) throw failure("incomplete", id);
      const part = reader.read(value as SdkPart);
      if (part?.type === "finish") {
        last = part;
        break;
      }
      if (part !== undefined) watch.began(idleMs);
      watch.alive();
      if (part !== undefined) yield part;
    }
  } catch (error) {
    throw watch.failed ?? toModelError(error, id);
  } finally {
    watch.end(last === undefined);
    void source?.cancel().catch(() => {});
  }
  // Outside, so that nothing is left open if nobody asks for what follows the end.
  yield last;
}

/** Asks once; when the package cannot send a file of the prompt, asks again with the files named instead of sent. */
async function openStream(
  model: LanguageModel,
  request: ModelRequest,
  signal: AbortSignal,
): Promise<ReadableStream<unknown>> {
  const urls: SupportedUrls = (await model.supportedUrls) ?? {};
  const options = (files: boolean): never => {
    const target = { ...identity(model), urls, files };
    const asked: CallOptions = {
      ...callSettings(request, target),
      prompt: sdkPrompt(request, target),
      abortSignal: signal,
    };
    return asked as never;
  };
  try {
    return (await model.doStream(options(true))).stream;
  } catch (error) {
    const unsupported = (error as { name?: unknown } | null)?.name === "AI_UnsupportedFunctionalityError";
    if (!unsupported || !hasFiles(request)) throw error;
    return (await model.doStream(options(false))).stream;
  }
}

function identity({
  specificationVersion,
  provider,
  modelId,
}: LanguageModel): Pick<LanguageModel, "specificationVersion" | "provider" | "modelId"> {
  return { specificationVersion, provider, modelId };
}

function hasFiles({ messages }: ModelRequest): boolean {
  return messages.some((message) =>
    message.role === "tool"
      ? message.results.some(({ parts }) => parts !== undefined)
      : message.parts.some((part) => part.type === "file"),
  );
}

/** The patience with one request: rejects what is waited for when time is up or the caller has aborted. */
class Watch {
  readonly #model: string;
  readonly #caller: AbortSignal;
  readonly #controller = new AbortController();
  #timer: NodeJS.Timeout;
  #begun = false;
  #reject: ((error: Error) => void) | undefined;
  failed: Error | undefined;

  constructor(model: string, caller: AbortSignal, firstPartMs: number) {
    this.#model = model;
    this.#caller = caller;
    this.#timer = setTimeout(this.#late, firstPartMs);
    if (caller.aborted) this.#abort();
    else caller.addEventListener("abort", this.#abort, { once: true });
  }

  /** For the request itself. */
  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  over<T>(promise: PromiseLike<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      if (this.failed !== undefined) reject(this.failed);
      this.#reject = reject;
      promise.then(resolve, reject);
    });
  }

  /** From the first part on, what counts is the time between parts. */
  began(idleMs: number): void {
    if (this.#begun) return;
    this.#begun = true;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(this.#late, idleMs);
  }

  alive(): void {
    if (this.#begun) this.#timer.refresh();
  }

  /** Gives up the request, where there is one left. */
  end(abort: boolean): void {
    clearTimeout(this.#timer);
    this.#caller.removeEventListener("abort", this.#abort);
    if (abort) this.#controller.abort();
  }

  #late = (): void => {
    this.#fail(failure("timeout", this.#model, { detail: this.#begun ? "no part" : "no first part" }));
  };

  #abort = (): void => {
    this.#fail(failure("cancelled", this.#model));
  };

  #fail(error: Error): void {
    this.failed ??= error;
    this.#reject?.(this.failed);
    this.#controller.abort();
  }
}
