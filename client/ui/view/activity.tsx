/**
 * What the server is doing: charts of its last two minutes, and the frames that come to this page, raw. Owns neither numbers
 * nor frames; both are read only while this is looked at.
 */
import { useEffect, useState } from "preact/hooks";
import { bytes, count, plain } from "../model/format.ts";
import { points, readNumbers, whyNot } from "../model/numbers.ts";
import { followFrames, isPaused, seen, type Seen } from "../model/tail.ts";
import { Chart } from "./chart.tsx";
import { LongText } from "./long-text.tsx";
import { Pane } from "./pane.tsx";

const ms = (value: number): string => `${value.toFixed(value < 10 ? 1 : 0)} ms`;

export function Activity() {
  useEffect(readNumbers, []);
  useEffect(followFrames, []);
  const all = points.value;
  return (
    <Pane title="Activity" isWide>
      {whyNot.value !== undefined && (
        <p class="bad" role="status">
          No charts: {whyNot.value}.
        </p>
      )}
      <div class="charts">
        <Chart title="Open runs" values={all.map(({ runs }) => runs)} format={count} />
        <Chart title="Tokens a second" values={all.map((point) => point.tokensPerSecond)} format={count} />
        <Chart title="Connections" values={all.map(({ connections }) => connections)} format={count} />
        <Chart
          title="Bytes waiting for readers"
          values={all.map((point) => point.queuedBytes)}
          format={bytes}
        />
        <Chart title="Commits a second" values={all.map((point) => point.commitsPerSecond)} format={count} />
        <Chart title="Time of a commit" values={all.map(({ commitMs }) => commitMs)} format={ms} />
      </div>
      <Tail />
    </Pane>
  );
}

function Tail() {
  const [words, setWords] = useState("");
  const wanted = words.trim().toLowerCase();
  const rows = seen.value
    .filter(({ frame }) => wanted === "" || nameOf(frame).toLowerCase().includes(wanted))
    .slice(-100)
    .reverse();
  return (
    <section class="tail" aria-label="Frames">
      <div class="row">
        <h2 class="grow">Frames to this page, the newest first</h2>
        <input
          type="search"
          aria-label="Filter frames"
          placeholder="Filter: type, entry, session"
          value={words}
          onInput={(event) => setWords(event.currentTarget.value)}
        />
        <button
          type="button"
          class="small"
          aria-pressed={isPaused.value}
          onClick={() => (isPaused.value = !isPaused.value)}
        >
          {isPaused.value ? "Go on" : "Pause"}
        </button>
      </div>
      {rows.length === 0 && <p class="faint">None yet.</p>}
      <ul>
        {rows.map((each) => (
          <Frame key={each.number} each={each} />
        ))}
      </ul>
    </section>
  );
}

function Frame({ each: { at, frame } }: { each: Seen }) {
  const [isOpen, setOpen] = useState(false);
  return (
    <li>
      <details onToggle={(event) => setOpen(event.currentTarget.open)}>
        <summary>
          <time>{new Date(at).toISOString().slice(11, 23)}</time>
          <span class="grow">{plain(nameOf(frame), 140)}</span>
        </summary>
        {isOpen && <LongText text={JSON.stringify(frame, null, 2)} />}
      </details>
    </li>
  );
}

function nameOf(frame: Seen["frame"]): string {
  const { session = "" } = frame as { session?: string };
  if (frame.type === "event") return `event ${frame.seq} ${frame.event.type} ${session}`;
  return `${frame.type} ${session}`;
}
