/**
 * One session: its head, what was said and done, what waits, and the composer. Owns the order of the rows and the words for
 * what happens between messages; each row is drawn by its own file.
 */
import type { ComponentChild } from "preact";
import { useEffect, useMemo, useRef } from "preact/hooks";
import type { SessionState, ShownMessage } from "../../index.ts";
import { announced } from "../model/acts.ts";
import { plain } from "../model/format.ts";
import { sending } from "../model/sends.ts";
import type { OpenSession } from "../model/session.ts";
import { Composer } from "./composer.tsx";
import { Message } from "./message.tsx";
import { Pane } from "./pane.tsx";
import { Queue } from "./queue.tsx";
import { OpenRequests } from "./request.tsx";
import { RunEnd, Working, type End } from "./run.tsx";
import { SessionHead } from "./session-head.tsx";
import { Transcript, type TranscriptRow } from "./transcript.tsx";
import { Unsent } from "./unsent.tsx";

/** Why nothing more comes of a session that was here. */
const REASONS: Readonly<Record<string, string>> = {
  "not-found": "This session was deleted.",
  forbidden: "You were taken out of this session.",
};

export function Session({ session }: { session: OpenSession }) {
  const rows = useRows(session);
  useAnnouncements(session);
  const problem = session.problem.value;
  const state = session.state.value;
  if (problem !== undefined && state === undefined) {
    const isGone = problem.code === "not-found";
    return (
      <Pane title={isGone ? "There is no such session" : "This session cannot be shown"}>
        <p>{isGone ? "It was deleted, or is not yours to see." : problem.message}</p>
        <p>
          <a href="#/">Back to your sessions</a>
        </p>
      </Pane>
    );
  }
  return (
    <section class="session">
      <SessionHead session={session} />
      {problem !== undefined && (
        <p class="banner bad" role="alert">
          {REASONS[problem.code] ?? problem.message}
        </p>
      )}
      <Transcript
        rows={rows}
        label="Messages"
        isFetching={session.isFetching.value}
        onNearTop={() => void session.fetchOlder()}
      />
      <div class="foot">
        <OpenRequests session={session} />
        <Queue session={session} />
        <Composer session={session} />
      </div>
    </section>
  );
}

interface Cached {
  readonly message: ShownMessage;
  readonly isFollowUp: boolean;
  readonly row: TranscriptRow;
}

/** A row is made anew only when its message changed: Preact passes over what is the same. */
function useRows(session: OpenSession): TranscriptRow[] {
  const cache = useRef(new Map<string, Cached>());
  const messages = session.messages.value;
  const state = session.state.value;
  const ends = endsOf(session, state);
  const own = sending.value.filter((item) => item.session === session.id);
  return useMemo(() => {
    const next = new Map<string, Cached>();
    const rows: TranscriptRow[] = [];
    const add = (id: string, content: ComponentChild): void => void rows.push({ id, content });
    for (const [at, message] of messages.entries()) {
      const before = messages[at - 1];
      const isFollowUp =
        before !== undefined &&
        before.author.id === message.author.id &&
        before.role === message.role &&
        before.run === message.run;
      const known = cache.current.get(message.id);
      const isSame = known !== undefined && known.message === message && known.isFollowUp === isFollowUp;
      const row = isSame
        ? known.row
        : {
            id: message.id,
            content: <Message session={session} message={message} isFollowUp={isFollowUp} />,
          };
      next.set(message.id, { message, isFollowUp, row });
      rows.push(row);
      const run = message.run;
      const end = run === undefined || messages[at + 1]?.run === run ? undefined : ends.get(run);
      if (end !== undefined) add(`end-${run}`, <RunEnd session={session} run={run!} end={end} />);
    }
    cache.current = next;
    const keys = new Set(state?.queue.map(({ key }) => key));
    for (const item of own) if (!keys.has(item.key)) add(item.key, <Unsent item={item} />);
    if (state?.run !== undefined) add("working", <Working session={session} />);
    else if (rows.length === 0 && state !== undefined)
      add("empty", <p class="note">Nothing was said yet. {plain(state.session.agent)} is listening.</p>);
    return rows;
  }, [messages, ends, own.map(({ key, refused }) => `${key}${refused}`).join(), state]);
}

/** How runs ended that brought no answer. */
function endsOf(session: OpenSession, state: SessionState | undefined): ReadonlyMap<string, End> {
  const heard = session.ends.value;
  const last = state?.lastRun;
  return useMemo(() => {
    const ends = new Map<string, End>();
    if (last !== undefined && last.reason !== "text") ends.set(last.run, { reason: last.reason });
    for (const [run, { reason, error }] of heard) {
      if (reason !== "text") ends.set(run, error === undefined ? { reason } : { reason, error });
    }
    return ends;
  }, [heard, last]);
}

/** Says aloud, once, what a reader of the screen would see happen. */
function useAnnouncements(session: OpenSession): void {
  const state = session.state.value;
  const run = state?.run?.run;
  const before = useRef<string | undefined>(undefined);
  useEffect(() => {
    if (before.current !== undefined && run === undefined) {
      const { reason } = state?.lastRun ?? {};
      announced.value = reason === "text" ? "The answer is complete." : `The run ended: ${reason ?? "over"}.`;
    }
    before.current = run;
  }, [run]);
  const asked = state?.requests.length ?? 0;
  useEffect(() => {
    if (asked > 0) announced.value = "An answer of yours may be wanted.";
  }, [asked]);
}
