/**
 * The public list of `haulout/server`: the embeddable runtime, the server around it, stores and models. Owns names only;
 * what is not listed here is no promise.
 */
export { agentDefinition, defineAgent } from "./agent/agent.ts";
export type { Agent, AgentOptions } from "./agent/agent.ts";
export type { Authenticate, AuthenticatedUser } from "./auth/custom.ts";
export type { JwtOptions } from "./auth/jwt.ts";
export type { ClientRequest, Hello } from "./auth/method.ts";
export type { TokenGrant } from "./auth/tokens.ts";
export { composeHooks } from "./hook.ts";
export type { AgentEvent, EventContext, Hook, ToolRegistrar } from "./hook.ts";
export { fromLanguageModel } from "./model/aisdk.ts";
export type { LanguageModelOptions } from "./model/aisdk.ts";
export type { LanguageModel } from "./model/aisdk-types.ts";
export { Catalog } from "./model/catalog.ts";
export type { CatalogOptions } from "./model/catalog.ts";
export { withFallback } from "./model/fallback.ts";
export type { FallbackOptions } from "./model/fallback.ts";
export { ModelError } from "./model/model.ts";
export type {
  Model,
  ModelPart,
  ModelRequest,
  ModelSettings,
  PromptMessage,
  PromptPart,
} from "./model/model.ts";
export { scriptedModel } from "./model/scripted.ts";
export type { AgentResponse, AgentStep } from "./reader.ts";
export { Runtime } from "./runtime.ts";
export type { RuntimeOptions } from "./runtime/options.ts";
export { startServer } from "./server.ts";
export type { HauloutServer, ServerOptions } from "./server.ts";
export { CommitQueue } from "./store/commit.ts";
export { EmbeddedStore } from "./store/embedded.ts";
export { MemoryStore } from "./store/memory.ts";
export type { Store } from "./store/store.ts";
export type { Execute, ExecuteContext, LocalTool } from "./tool/local.ts";
