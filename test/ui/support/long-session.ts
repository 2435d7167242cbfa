/**
 * A session of many messages, as if people had talked for hours: imported in parts, without a run. Owns their ids (`msg_0`
 * and on) and their words.
 */
import type { Client } from "../../../client/index.ts";

/** As many as fit an import with the session's first entry. */
const PART = 990;

export async function importMessages(client: Client, session: string, count: number): Promise<void> {
  const at = Date.now() - count * 1000;
  const author = { kind: "user" as const, id: "ann", name: "Ann", verified: false };
  for (let sent = 0; sent < count;) {
    const first =
      sent === 0 ? [{ at, event: { type: "session-created", agent: "demo", owner: "ann" } as const }] : [];
    const messages = Array.from({ length: Math.min(PART, count - sent) }, (_, index) => {
      const n = sent + index;
      const text = `message ${n}, ${"and more of it ".repeat(index % 12)}`;
      const message = {
        id: `msg_${n}`,
        role: "user" as const,
        author,
        parts: [{ type: "text" as const, text }],
      };
      return { at: at + n * 1000, event: { type: "message" as const, message } };
    });
    const after = sent === 0 ? 0 : sent + 1;
    sent += messages.length;
    const last = sent >= count ? { last: true as const } : {};
    await client.request("importEntries", { session, after, entries: [...first, ...messages], ...last });
  }
}
