/**
 * One tool call as all sides of the bench know it: what is asked, what is answered, how many at once. Owns those values;
 * the fields are those of the frames `call` and `callResult`, so that all send as many bytes of meaning.
 */

export const BURST = 64;
export const TIMEOUT_MS = 30_000;
export const TOOL = "answer";

export const CALL = {
  session: "ses_01m8247jz79ta27hdx47gmk7gw",
  call: "call_01m8247jz79ta27hdx47gmk7gw",
  attempt: 1,
  run: "run_01m8247jz79ta27hdx47gmk7gw",
  agent: "caller",
  tool: TOOL,
  input: { text: "A question of a length that people ask, neither a word nor a page." },
  actor: { kind: "user", id: "local", name: "local", verified: false },
  timeoutMs: TIMEOUT_MS,
} as const;

export const ANSWER = {
  session: CALL.session,
  call: CALL.call,
  attempt: 1,
  output: { text: "An answer of a length that tools give, neither a word nor a page." },
} as const;
