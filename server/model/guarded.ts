/**
 * A model that is shown no file which its provider must not fetch: such a file is named instead. Owns that exchange in a
 * prompt, for every model alike; which files those are is addresses.ts's.
 */
import type { FileGuard } from "./addresses.ts";
import type { Model, ModelPart, ModelRequest, PromptFile, PromptMessage } from "./model.ts";

export function guarded(model: Model, guard: FileGuard): Model {
  async function* stream(request: ModelRequest, signal: AbortSignal): AsyncGenerator<ModelPart, void> {
    const messages = await Promise.all(request.messages.map((message) => shown(message, guard)));
    yield* model.stream({ ...request, messages }, signal);
  }
  return { id: model.id, stream };
}

async function shown(message: PromptMessage, guard: FileGuard): Promise<PromptMessage> {
  if (message.role !== "tool") {
    if (message.parts.every((part) => !isLink(part))) return message;
    return {
      ...message,
      parts: await passed<(typeof message.parts)[number]>(message.parts, guard),
    } as PromptMessage;
  }
  if (message.results.every(({ parts = [] }) => parts.every((part) => !isLink(part)))) return message;
  const results = message.results.map(async (result) =>
    result.parts === undefined ? result : { ...result, parts: await passed(result.parts, guard) },
  );
  return { ...message, results: await Promise.all(results) };
}

function passed<T extends { readonly type: string }>(
  parts: readonly T[],
  guard: FileGuard,
): Promise<(T | ReturnType<typeof named>)[]> {
  return Promise.all(
    parts.map(async (part) => (isLink(part) && !(await guard.mayPass(part.url)) ? named(part) : part)),
  );
}

function isLink(part: { readonly type: string }): part is PromptFile {
  return part.type === "file" && !(part as PromptFile).url.startsWith("data:");
}

function named({ filename, mediaType, url }: PromptFile): { type: "text"; text: string } {
  const name = filename === undefined ? "" : ` ${JSON.stringify(filename)}`;
  return { type: "text", text: `[a file${name} of type ${mediaType} at ${url}, which may not be opened]` };
}
