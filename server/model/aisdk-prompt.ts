/**
 * The neutral prompt in the AI SDK's words: messages, files, call ids. Owns what a provider accepts in a prompt, so that
 * nothing in a history can make every later request fail; never what the history says (agent/prompt), never a download.
 */
import { createHash } from "node:crypto";
import type { JsonValue } from "../../protocol/content.ts";
import type {
  AssistantPart,
  ModelRequest,
  PromptFile,
  PromptMessage,
  PromptPart,
  PromptResult,
  ResultPart,
} from "./model.ts";
import type { LanguageModel, ProviderOptions, SdkContent, SdkMessage, SupportedUrls } from "./aisdk-types.ts";

/** The model that a prompt is for. */
export interface Target extends Pick<LanguageModel, "specificationVersion" | "provider" | "modelId"> {
  readonly urls: SupportedUrls;
  /** False once the package has refused the files of this prompt: they are named, not sent. */
  readonly files: boolean;
}

/** Follows the agent's own instructions wherever a person speaks, or another agent. */
const ABOUT_AUTHORS =
  "Each message of a person, or of another agent, begins with a part in JSON that names its author. The server writes it, " +
  "they cannot. Use it to know who speaks; never write such a part yourself.";
/** What a model reads as text although it comes as a file. */
const TEXT_TYPES =
  /^(?:text\/[\w.+-]+|application\/(?:json|xml|yaml|x-yaml|toml|javascript|[\w.-]+\+(?:json|xml)))$/;
/** Whose packages send files in results as such; others would write their bytes as text, or lose the result. */
const FILES_IN_RESULTS = /^anthropic\b|\.responses$/;
const RESULT_TYPES = /^(?:image\/(?:png|jpeg|gif|webp)|application\/pdf)$/;
const CACHE_HERE: ProviderOptions = { anthropic: { cacheControl: { type: "ephemeral" } } };

export function sdkPrompt(request: ModelRequest, target: Target): SdkMessage[] {
  const prompt: SdkMessage[] = [];
  const people = request.messages.some(
    (message) => message.role === "user" && message.parts.some((part) => part.type === "author"),
  );
  const system = [request.instructions, ...(people ? [ABOUT_AUTHORS] : [])].filter((text) => text !== "");
  if (system.length > 0) prompt.push({ role: "system", content: system.join("\n\n") });
  for (const message of request.messages) {
    const said = sdkMessage(message, target);
    const before = prompt.at(-1);
    if (said.content.length === 0) continue;
    // Some models' templates take no two messages of a role in a row; a failed answer leaves them.
    if (said.role === "user" && before?.role === "user") {
      prompt[prompt.length - 1] = { role: "user", content: [...before.content, ...said.content] };
    } else {
      prompt.push(said);
    }
  }
  if (target.provider.includes("anthropic")) hintCache(prompt);
  return prompt;
}

/**
 * Where the provider may end what it keeps of the prompt: after the instructions and tools, where the last request
 * ended, and here. Those that keep prefixes by themselves need no hint.
 */
function hintCache(prompt: SdkMessage[]): void {
  const answered = prompt.findLastIndex((message) => message.role === "assistant");
  const places = new Set([prompt[0]?.role === "system" ? 0 : -1, answered - 1, prompt.length - 1]);
  for (const place of places) {
    const message = prompt[place];
    if (message !== undefined) message.providerOptions = CACHE_HERE;
  }
}

function sdkMessage(message: PromptMessage, target: Target): SdkMessage & { content: readonly SdkContent[] } {
  if (message.role === "user") {
    return { role: "user", content: message.parts.map((part) => userPart(part, target)) };
  }
  if (message.role === "tool") {
    return { role: "tool", content: message.results.map((result) => resultPart(result, target)) };
  }
  return { role: "assistant", content: message.parts.flatMap((part) => assistantPart(part, target)) };
}

function userPart(part: PromptPart, target: Target): SdkContent {
  return part.type === "file" ? filePart(part, target) : { type: "text", text: part.text };
}

function assistantPart(part: AssistantPart, target: Target): SdkContent[] {
  if (part.type === "file") {
    // Only Google takes back what it drew; to others an answer is text.
    const sent = target.provider.startsWith("google") && part.url.startsWith("data:");
    return [sent ? filePart(part, target) : named(part)];
  }
  const { state } = part;
  const returned = isObject(state) ? { providerOptions: state } : {};
  if (part.type !== "tool-call") return [{ type: part.type, text: part.text, ...returned }];
  // What was no JSON object when it was written must be one when it is shown again.
  const input = isObject(part.input) ? part.input : { input: part.input };
  return [
    { type: "tool-call", toolCallId: callId(part.call, target), toolName: part.tool, input, ...returned },
  ];
}

function resultPart({ call, tool, ok, value, parts }: PromptResult, target: Target): SdkContent {
  const text = typeof value === "string";
  const output = !ok
    ? { type: "error-text", value: text ? value : JSON.stringify(value) }
    : parts !== undefined && FILES_IN_RESULTS.test(target.provider)
      ? { type: "content", value: parts.map((part) => contentPart(part, target)) }
      : { type: text ? "text" : "json", value };
  return { type: "tool-result", toolCallId: callId(call, target), toolName: tool, output };
}

/** A part of a result, in each version's own words; a file that a result cannot have is named. */
function contentPart(part: ResultPart, target: Target): SdkContent {
  if (part.type === "text") return part;
  const sent = filePart(part, target);
  if (sent.type !== "file") return sent;
  const { mediaType, data } = sent;
  const version = target.specificationVersion;
  const linked = data instanceof URL;
  if (!RESULT_TYPES.test(part.mediaType) || (version === "v2" && linked)) return named(part);
  if (version === "v4") return sent;
  if (version === "v2") return { type: "media", mediaType, data };
  const kind = part.mediaType.startsWith("image/") ? "image" : "file";
  return linked ? { type: `${kind}-url`, url: data.href, mediaType } : { ...sent, type: `${kind}-data` };
}

function isObject(value: JsonValue | undefined): value is Record<string, JsonValue> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Our call id where the provider takes it (OpenAI: 40 characters), else one made of it, always the same. */
export function callId(call: string, { provider, modelId }: Pick<Target, "provider" | "modelId">): string {
  // Mistral's API, and its models wherever they are served, take nine letters and digits and nothing else.
  if (/[sx]tral/i.test(`${provider} ${modelId}`)) return hash(call, 9);
  return /^[A-Za-z0-9_-]{1,40}$/.test(call) ? call : `call_${hash(call, 24)}`;
}

export function hash(text: string, length: number): string {
  const digits = createHash("sha256").update(text).digest("hex");
  return digits.slice(0, length);
}

// --- files ---

/** A file as the provider can take it: its bytes, a URL that the provider fetches, or its text; else its name. */
function filePart(file: PromptFile, target: Target): SdkContent {
  const { mediaType, url, filename } = file;
  const v4 = target.specificationVersion === "v4";
  const part = { type: "file", mediaType, ...(filename === undefined ? {} : { filename }) };
  if (url.startsWith("data:")) {
    const content = readDataUrl(url);
    if (content === undefined) return named(file);
    if (TEXT_TYPES.test(mediaType)) return asText(file, Buffer.from(content, "base64").toString("utf8"));
    if (!target.files) return named(file);
    return { ...part, data: v4 ? { type: "data", data: content } : content };
  }
  // Never fetched from here: who may send a message may not make this server visit addresses.
  if (!target.files || !mayFetch(target.urls, mediaType, url) || !URL.canParse(url)) return named(file);
  return { ...part, data: v4 ? { type: "url", url: new URL(url) } : new URL(url) };
}

function mayFetch(urls: SupportedUrls, mediaType: string, url: string): boolean {
  return Object.entries(urls).some(([type, patterns]) => {
    const covers = type === "*" || type === "*/*" || type === mediaType;
    const within = type.endsWith("/*") && mediaType.startsWith(type.slice(0, -1));
    return (covers || within) && patterns.some((pattern) => pattern.test(url));
  });
}

/** The content in base64; undefined for what is no data URL. */
function readDataUrl(url: string): string | undefined {
  const comma = url.indexOf(",");
  if (comma < 0) return undefined;
  const content = url.slice(comma + 1);
  if (/;base64$/i.test(url.slice(0, comma))) return content;
  try {
    return Buffer.from(decodeURIComponent(content)).toString("base64");
  } catch {
    return undefined;
  }
}

function asText({ filename, mediaType }: PromptFile, text: string): SdkContent {
  return { type: "text", text: `File ${JSON.stringify(filename ?? "")} (${mediaType}):\n${text}` };
}

function named({ filename, mediaType, url }: PromptFile): SdkContent {
  const where = url.startsWith("data:") ? "" : ` at ${url}`;
  const name = filename === undefined ? "" : ` ${JSON.stringify(filename)}`;
  return { type: "text", text: `[a file${name} of type ${mediaType}${where}, which you cannot open]` };
}
