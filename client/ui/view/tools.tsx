/**
 * The tools of the server: who offers which and how busy they are, how long calls took and how they ended. Owns asking again
 * while it is looked at, and draining a provider; the numbers are those of the server since its start.
 */
import { useEffect, useState } from "preact/hooks";
import type { ListedProvider, ListedTool } from "../../index.ts";
import { act } from "../model/acts.ts";
import { count, duration, plain, plural } from "../model/format.ts";
import { client, isOnline } from "../model/link.ts";
import { readNumbers, toolNumbers, whyNot, type ToolNumbers } from "../model/numbers.ts";
import { Pane } from "./pane.tsx";

const EVERY_MS = 2000;

export function Tools() {
  const [tools, setTools] = useState<readonly ListedTool[]>();
  useEffect(readNumbers, []);
  useEffect(() => {
    let isOver = false;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const ask = async (): Promise<void> => {
      if (isOnline.value) {
        const page = await act("The tools were not listed", () => client.value.listTools());
        if (isOver) return;
        if (page !== undefined) setTools(page.items);
      }
      timer = setTimeout(() => void ask(), EVERY_MS);
    };
    void ask();
    return () => {
      isOver = true;
      clearTimeout(timer);
    };
  }, []);
  return (
    <Pane title="Tools" isWide>
      {whyNot.value !== undefined && (
        <p class="faint" role="status">
          No times of calls: {whyNot.value}.
        </p>
      )}
      {tools === undefined ? (
        <p class="faint">Loading…</p>
      ) : tools.length === 0 ? (
        <p class="faint">Nobody offers tools to the whole server. Try: npx haulout tools ./my-tools.mjs</p>
      ) : (
        <ul class="tools">
          {tools.map((tool) => (
            <Tool key={`${tool.scope} ${tool.name}`} tool={tool} numbers={toolNumbers.value.get(tool.name)} />
          ))}
        </ul>
      )}
    </Pane>
  );
}

function Tool({ tool, numbers }: { tool: ListedTool; numbers: ToolNumbers | undefined }) {
  const { name, description, effect, timeoutMs, inFlight, waiting = 0, pool = [] } = tool;
  return (
    <li class="card">
      <header>
        <h2>{plain(name, 64)}</h2>
        <span class="chip">{effect}</span>
        <span class="faint">at most {duration(timeoutMs)}</span>
        <span class="grow" />
        <span class={inFlight > 0 ? "busy" : "faint"}>{inFlight} in flight</span>
        {waiting > 0 && <span class="bad">{waiting} waiting</span>}
      </header>
      <p class="faint">{plain(description, 300)}</p>
      <div class="sides">
        <div>
          <h3>{pool.length === 0 ? "In the server itself" : plural(pool.length, "provider")}</h3>
          <ul class="pool">
            {pool.map((each) => (
              <Provider key={each.provider} each={each} />
            ))}
          </ul>
        </div>
        {numbers !== undefined && <Numbers name={name} numbers={numbers} />}
      </div>
    </li>
  );
}

function Provider({ each }: { each: ListedProvider }) {
  const { provider, state, inFlight, maxConcurrent, labels = {} } = each;
  const [asks, setAsks] = useState(false);
  const drain = (): void => {
    setAsks(false);
    void act("It does not drain", () => client.value.drainProvider(provider));
  };
  return (
    <li>
      <span class={`dot is-${state}`} />
      <code>{plain(provider, 24)}</code>
      <span class="faint grow">
        {state}, {inFlight} of {maxConcurrent}
        {Object.entries(labels)
          .slice(0, 4)
          .map(([key, value]) => ` · ${plain(key, 20)}=${plain(value, 20)}`)}
      </span>
      {asks ? (
        <span role="group" aria-label={`No new calls for ${plain(provider, 24)}?`}>
          <button type="button" class="danger small" onClick={drain} ref={(button) => button?.focus()}>
            No new calls
          </button>
          <button type="button" class="quiet small" onClick={() => setAsks(false)}>
            Leave it
          </button>
        </span>
      ) : (
        state === "ready" && (
          <button
            type="button"
            class="quiet small"
            title="No new calls; what it has it finishes"
            aria-label={`Drain ${plain(provider, 24)}`}
            onClick={() => setAsks(true)}
          >
            Drain
          </button>
        )
      )}
    </li>
  );
}

function Numbers({ name, numbers: { outcomes, times } }: { name: string; numbers: ToolNumbers }) {
  const calls = [...outcomes.values()].reduce((sum, value) => sum + value, 0);
  const good = outcomes.get("ok") ?? 0;
  const most = Math.max(1, ...times.map((each) => each.calls));
  const bad = [...outcomes].filter(([outcome, value]) => outcome !== "ok" && value > 0);
  return (
    <div>
      <h3>
        {plural(calls, "call")}
        {calls > 0 && `, ${Math.round((good / calls) * 100)} % good`}
      </h3>
      <div
        class="bars"
        role="img"
        aria-label={`Times of ${plain(name, 64)}: ${times
          .filter((each) => each.calls > 0)
          .map((each) => `${each.calls} ${bound(each.seconds)}`)
          .join(", ")}`}
      >
        {times.map(({ seconds, calls: each }) => (
          <span key={seconds} title={`${each} ${bound(seconds)}`}>
            <i style={{ height: `${(each / most) * 100}%` }} />
          </span>
        ))}
      </div>
      <p class="scale faint">
        <span>5 ms</span>
        <span>1 s</span>
        <span>30 min</span>
      </p>
      {bad.length > 0 && (
        <p class="bad">
          {bad.map(([outcome, value]) => `${count(value)} ${outcome.replaceAll("-", " ")}`).join(", ")}
        </p>
      )}
    </div>
  );
}

const bound = (seconds: number): string =>
  seconds === Infinity ? "longer" : `within ${duration(seconds * 1000)}`;
