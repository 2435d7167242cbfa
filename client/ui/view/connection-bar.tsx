/**
 * How the connection stands, in words, as long as it is not simply there: connecting, reconnecting with the seconds left,
 * offline, catching up, ended; and what waits to be sent. Owns these words.
 */
import { useEffect, useState } from "preact/hooks";
import { plural } from "../model/format.ts";
import { client, status } from "../model/link.ts";
import { sending } from "../model/sends.ts";
import { current } from "../model/session.ts";

/** Shorter than this nobody needs to know. */
const PATIENCE_MS = 400;

export function ConnectionBar() {
  const { state, since, retryAt, reason } = status.value;
  const session = current.value;
  const isBehind =
    state === "online" &&
    session !== undefined &&
    session.state.value !== undefined &&
    session.problem.value === undefined &&
    !session.caughtUp.value;
  const isQuiet = state === "online" && !isBehind;
  const now = useClock(!isQuiet);
  if (isQuiet || (state !== "closed" && now - since < PATIENCE_MS && retryAt === undefined)) return null;
  const unsent = sending.value.filter(({ refused }) => refused === undefined).length;
  return (
    <div class={`connection is-${state}`} role="status">
      <span class="dot" />
      <span>
        {isBehind ? "Catching up…" : wordsFor(state, retryAt, now)}
        {unsent > 0 && ` · ${plural(unsent, "message")} unsent, kept here`}
      </span>
      {state !== "online" && reason !== undefined && <span class="faint">{reason}</span>}
      {(retryAt !== undefined || state === "closed") && (
        <button type="button" class="quiet small" onClick={() => client.value.reconnect()}>
          Try now
        </button>
      )}
    </div>
  );
}

function wordsFor(state: string, retryAt: number | undefined, now: number): string {
  if (state === "closed") return "Disconnected";
  const verb = state === "reconnecting" ? "Reconnecting" : "Connecting";
  if (!navigator.onLine) return "Offline: waiting for the network";
  if (retryAt === undefined || retryAt <= now) return `${verb}…`;
  return `${verb} in ${Math.max(1, Math.ceil((retryAt - now) / 1000))} s`;
}

/** The time, every quarter of a second while it matters. */
function useClock(isRunning: boolean): number {
  const [now, setNow] = useState(Date.now());
  useEffect(() => {
    if (!isRunning) return undefined;
    setNow(Date.now());
    const timer = setInterval(() => setNow(Date.now()), 250);
    return () => clearInterval(timer);
  }, [isRunning]);
  return now;
}
