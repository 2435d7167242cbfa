/**
 * fan-out: what a server spends on one delivery of one piece of streamed text. Haulout beside Socket.IO's room emit, both
 * beside sockets that are written to with nothing around it, in Node and in C. A slice in which not everything arrived
 * that was sent fails. Rows: a hundred readers of one session, a piece at a time and ten at once; a thousand sessions.
 */
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { encodeFrame } from "../../protocol/codec.ts";
import { newMessageId } from "../../protocol/ids.ts";
import { temporaryDirectory } from "../support/process.ts";
import { repositoryRoot } from "../support/root.ts";
import { samplesOf } from "./bench.ts";
import type { Bench, BenchOptions, Row } from "./bench.ts";
import { PIECE } from "./peer-shape.ts";
import { quartileTable } from "./report.ts";
import { Side } from "./side.ts";
import { interleave } from "./slices.ts";
import type { Subject } from "./slices.ts";
import { median, ratioOf } from "./stats.ts";

interface Shape {
  readonly clients: number;
  readonly rooms: number;
  readonly turns: number;
  readonly pieces: number;
  readonly everyMs: number;
}

export const fanOut: Bench = {
  name: "fan-out",
  about: "server CPU per piece of text that a reader received, beside Socket.IO and bare sockets",
  async run(options) {
    const quick = options.size === "quick";
    const groups = Math.max(1, Math.ceil(samplesOf(options, { quick: 4, normal: 24, full: 80 }) / 2));
    const one: Shape = { clients: 100, rooms: 1, turns: quick ? 20 : 100, pieces: 1, everyMs: 3 };
    const ten: Shape = { ...one, pieces: 10, turns: 30, everyMs: 10 };
    const many: Shape = { clients: 1000, rooms: 1000, turns: 24, pieces: 1, everyMs: 25 };
    const goals = { "socket.io": 0.7, "C send()": 1.5, ...(quick ? {} : { "socket.write": null }) };
    const first = await measure("100 readers, one piece at a time", one, 0, groups, options, goals);
    // The others are the same with other numbers.
    if (quick) return first;
    const tenth = await measure("100 readers, 10 pieces at once", ten, 0, groups, options, {
      "socket.io": 0.2,
    });
    const last = await measure("1000 sessions, 40 pieces/s each", many, 50, groups, options, {
      "socket.io": 0.4,
    });
    return [...first, ...tenth, ...last];
  },
};

type Rival = "socket.io" | "C send()" | "socket.write";

async function measure(
  what: string,
  shape: Shape,
  coalesceMs: number,
  groups: number,
  options: BenchOptions,
  goals: Partial<Record<Rival, number | null>>,
): Promise<Row[]> {
  const sides: Side[] = [];
  try {
    const program = compileC();
    const wanted = (Object.keys(goals) as Rival[]).filter((rival) => rival !== "C send()" || program);
    if (wanted.length < Object.keys(goals).length) options.say("skipped: C send(), there is no cc here");
    const subjects = await Promise.all([
      subject("haulout", sides, shape, "haulout", "haulout", String(coalesceMs)),
      ...wanted.map((rival) => {
        if (rival === "socket.io") return subject(rival, sides, shape, rival, rival);
        return subject(rival, sides, shape, "plain", rival === "C send()" ? program! : "plain");
      }),
    ]);
    const taken = await interleave(subjects, groups, 1, options.size !== "quick");
    options.say(quartileTable(`${what}: µs of CPU per delivery`, taken, 2));
    return (Object.entries(goals) as [Rival, number | null][]).flatMap(([rival, goal]) => {
      const theirs = taken.get(rival);
      if (theirs === undefined) return [];
      const pairs = taken.get("haulout")!.map((ours, at) => ({ ours, theirs: theirs[at] ?? [] }));
      return [
        { name: `fan-out, ${what} / ${rival}`, ...ratioOf(pairs, median), goal, better: "lower" as const },
      ];
    });
  } finally {
    await Promise.all(sides.map((side) => side.stop()));
  }
}

/** `program`: a kind of peer-server.ts, or a program of its own; samples are µs of CPU per delivery. */
async function subject(
  name: string,
  sides: Side[],
  shape: Shape,
  client: "haulout" | "socket.io" | "plain",
  program: string,
  ...args: readonly string[]
): Promise<Subject> {
  const own = program.includes("/");
  const server = own
    ? Side.start(program, String(frameBytes()))
    : Side.start("peer-server.ts", program, ...args);
  sides.push(server);
  const [, url = ""] = await server.child.waitForLine(/listening on (http:\S+)/, 60_000);
  const readers = Side.start("peer-client.ts", client, url);
  sides.push(readers);
  await readers.child.waitForLine(/^ready$/, 60_000);
  await readers.ask("open", shape.clients);
  const [rooms = ""] = await server.ask("rooms", shape.rooms);
  await readers.ask("join", rooms);
  return {
    name,
    async slice(count) {
      const taken: number[] = [];
      for (let at = 0; at < count; at++) {
        await readers.ask("received");
        await readers.ask("pause");
        const [sent, us] = (await server.ask("fan", shape.turns, shape.pieces, shape.everyMs)).map(
          Number,
        ) as [number, number];
        await readers.ask("resume");
        const wanted = client === "plain" ? sent * frameBytes() : sent;
        let received = 0;
        for (let tries = 0; tries < 100 && received < wanted; tries++) {
          received += await readers.number("received");
          if (received < wanted) await sleep(20);
        }
        if (received !== wanted || sent === 0)
          throw new Error(`${name}: ${wanted} sent, ${received} received`);
        taken.push(us / sent);
      }
      return taken;
    },
  };
}

/** A delta as Haulout frames it, with its head of WebSocket. */
function frameBytes(): number {
  const delta = { type: "delta", channel: 1, message: newMessageId(), part: 0, offset: 1000, text: PIECE };
  return encodeFrame(delta).length + 2;
}

function compileC(): string | undefined {
  const program = join(temporaryDirectory(), "fan-out");
  const source = join(repositoryRoot, "test", "bench", "fan-out.c");
  const { status } = spawnSync("cc", ["-O2", "-o", program, source], { stdio: "ignore" });
  return status === 0 ? program : undefined;
}
