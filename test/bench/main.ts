/**
 * `npm run bench -- quick|full|NAME… [--samples N] [--charts FOLDER] [--json]`: runs benches one after the other and prints what they
 * found, with the machine and its load. Owns arguments and order; every figure is the bench's own. A missed goal does not
 * fail it: it reports, and a person or a gate decides.
 */
import { parseArgs } from "node:util";
import type { Bench, Row, Size } from "./bench.ts";
import { writeCharts } from "./chart.ts";
import { connections } from "./connections.ts";
import { durableSends } from "./durable-sends.ts";
import { fanOut } from "./fan-out.ts";
import { firstToken } from "./first-token.ts";
import { growth } from "./growth.ts";
import { idleSessions } from "./idle-sessions.ts";
import { longSession } from "./long-session.ts";
import { describeLoad, describeMachine } from "./machine.ts";
import { model } from "./model.ts";
import { page } from "./page.ts";
import { presence } from "./presence.ts";
import { recovery } from "./recovery.ts";
import { replay } from "./replay.ts";
import { rowsAsJson, rowTable } from "./report.ts";
import { searchBench } from "./search.ts";
import { slowReaders } from "./slow-readers.ts";
import { soak } from "./soak.ts";
import { threads } from "./threads.ts";
import { toolCall } from "./tool-call.ts";

const BENCHES: readonly Bench[] = [
  fanOut,
  connections,
  firstToken,
  durableSends,
  toolCall,
  replay,
  slowReaders,
  longSession,
  idleSessions,
  recovery,
  presence,
  searchBench,
  model,
  threads,
  growth,
];

/** Too long for `full`. */
const BY_NAME: readonly Bench[] = [soak, page];

const USAGE = `usage: npm run bench -- quick|full|NAME… [--samples N] [--charts FOLDER] [--json]

  quick          all of them, small: shows that they run, not what they show
  full           all of them, with many samples
${[...BENCHES, ...BY_NAME].map(({ name, about }) => `  ${name.padEnd(14)} ${about}`).join("\n")}

  --samples N    instead of each bench's own number
  --charts       writes the rows as SVG
  --json         the last line is {"rows":[{"name","ratio","goal","better","interval"}]}
`;

interface Wanted {
  readonly benches: readonly Bench[];
  readonly size: Size;
  readonly samples: number | undefined;
  readonly charts: string | undefined;
  readonly json: boolean;
}

/** Throws Error for what cannot be run. */
function readArguments(args: string[]): Wanted {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: { samples: { type: "string" }, charts: { type: "string" }, json: { type: "boolean" } },
  });
  const samples = values.samples === undefined ? undefined : Number(values.samples);
  if (samples !== undefined && !(Number.isInteger(samples) && samples > 0)) {
    throw new Error("--samples is a number from 1");
  }
  const [first] = positionals;
  if (first === undefined) throw new Error("which bench?");
  const size = first === "quick" || first === "full" ? first : "normal";
  const names = size === "normal" ? positionals : positionals.slice(1);
  const benches = names.length === 0 ? BENCHES : names.map(find);
  return { benches, size, samples, charts: values.charts, json: values.json === true };
}

function find(name: string): Bench {
  const bench = [...BENCHES, ...BY_NAME].find((each) => each.name === name);
  if (bench === undefined) throw new Error(`there is no bench ${name}`);
  return bench;
}

async function main(wanted: Wanted): Promise<void> {
  const say = (line: string): void => console.log(line);
  for (const line of describeMachine()) say(line);
  const rows: Row[] = [];
  for (const { name, about, run } of wanted.benches) {
    say(`\n# ${name}: ${about}; ${describeLoad()}`);
    const began = performance.now();
    rows.push(...(await run({ size: wanted.size, samples: wanted.samples, say })));
    say(`${name} took ${((performance.now() - began) / 1000).toFixed(1)} s`);
  }
  say(`\n${rowTable(rows)}\n${describeLoad()}`);
  if (wanted.charts !== undefined) {
    const notes = [...describeMachine(), `${new Date().toISOString().slice(0, 10)}; ${describeLoad()}`];
    for (const file of writeCharts(wanted.charts, rows, notes)) say(`${file} written`);
  }
  if (wanted.json) say(rowsAsJson(rows));
}

function wantedOrUsage(): Wanted {
  try {
    return readArguments(process.argv.slice(2));
  } catch (error) {
    console.error(`${error instanceof Error ? error.message : String(error)}\n\n${USAGE}`);
    process.exit(2);
  }
}

await main(wantedOrUsage());
