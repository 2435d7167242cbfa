/**
 * Bytes on the wire of a streamed token beyond its text: a server as it is served, a script that writes a hundred tokens a
 * second, and the deltas that a reader gets, each with the head of a WebSocket message. Part of `replay`; a count, not a
 * time.
 */
import { encodeFrame } from "../../protocol/codec.ts";
import { newId } from "../../protocol/ids.ts";
import type { BenchOptions, Row } from "./bench.ts";
import { Link } from "./link.ts";
import { startHaulout } from "./processes.ts";

const RATE = 100;
const TOKEN = "word";
const GOAL = 14;
/** Of a message of WebSocket that is so short. */
const HEAD_BYTES = 2;

export async function tokenRow({ size, say }: BenchOptions): Promise<Row> {
  const tokens = size === "quick" ? 50 : 500;
  const server = await startHaulout("memory", { limitMs: 60_000 });
  try {
    const link = await Link.open(server.url);
    const { session } = await link.request({ type: "createSession", agent: "demo" });
    let deltas = 0;
    let text = 0;
    let bytes = 0;
    const streamed = new Promise<void>((resolve) => {
      link.onFrame = (frame) => {
        if (frame["type"] !== "delta") return;
        deltas++;
        bytes += HEAD_BYTES + encodeFrame(frame).length;
        text += (frame["text"] as string).length;
        if (text === tokens * TOKEN.length) resolve();
      };
    });
    await link.request({ type: "attach", session });
    const script = [{ text: TOKEN.repeat(tokens), rate: RATE, chunk: TOKEN.length }];
    await link.request({ type: "send", session, key: newId("key"), content: JSON.stringify({ script }) });
    await streamed;
    const beyond = (bytes - text) / tokens;
    say(`${tokens} tokens in ${deltas} deltas: ${beyond.toFixed(1)} bytes beyond the text of each`);
    link.close();
    const name = `replay, bytes of a streamed token beyond its text, ${RATE} tokens/s`;
    return { name, ratio: beyond, interval: [beyond, beyond], goal: GOAL, better: "lower" };
  } finally {
    await server.stop();
  }
}
