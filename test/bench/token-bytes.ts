/**
 * Bytes on the wire of a streamed token beyond its text: a server as it is served, a script that writes a hundred tokens a
 * second, and what the reader's socket took meanwhile. Everything that comes counts, the heads of WebSocket too. Part of
 * `replay`; a count, not a time.
 */
import { newId } from "../../protocol/ids.ts";
import type { BenchOptions, Row } from "./bench.ts";
import { Link } from "./link.ts";
import { startHaulout } from "./processes.ts";

const RATE = 100;
const TOKEN = "word";
const GOAL = 14;

export async function tokenRow({ size, say }: BenchOptions): Promise<Row> {
  const tokens = size === "quick" ? 50 : 500;
  const server = await startHaulout("memory", { limitMs: 60_000 });
  try {
    const link = await Link.open(server.url);
    const { session } = await link.request({ type: "createSession", agent: "demo" });
    let deltas = 0;
    let text = 0;
    let before = 0;
    const streamed = new Promise<number>((resolve) => {
      link.onFrame = (frame) => {
        const { type } = frame;
        if (type === "part") before = link.bytesRead;
        if (type === "delta") {
          deltas++;
          text += (frame["text"] as string).length;
          if (text === tokens * TOKEN.length) resolve(link.bytesRead - before);
        }
      };
    });
    await link.request({ type: "attach", session });
    const script = [{ text: TOKEN.repeat(tokens), rate: RATE, chunk: TOKEN.length }];
    await link.request({ type: "send", session, key: newId("key"), content: JSON.stringify({ script }) });
    const beyond = ((await streamed) - text) / tokens;
    say(`${tokens} tokens in ${deltas} deltas: ${beyond.toFixed(1)} bytes beyond the text of each`);
    link.close();
    const name = `replay, bytes of a streamed token beyond its text, ${RATE} tokens/s`;
    return { name, ratio: beyond, interval: [beyond, beyond], goal: GOAL, better: "lower" };
  } finally {
    await server.stop();
  }
}
