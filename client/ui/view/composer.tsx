/**
 * Where one writes: a draft that survives reloads, files, who answers, and how the message meets a run that is open: wait,
 * steer or interrupt. Owns these choices and the stop button; viewers see why there is nothing to write in.
 */
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import type { Content, FilePart, SendMode } from "../../index.ts";
import { act, tell } from "../model/acts.ts";
import { bytes, plain } from "../model/format.ts";
import { user } from "../model/link.ts";
import { draftOf, keepDraft, send } from "../model/sends.ts";
import { agents, listAgents } from "../model/sessions.ts";
import type { OpenSession } from "../model/session.ts";
import { Icon } from "./icons.tsx";
import { mayTakePart } from "./rights.ts";

const MODES: readonly [SendMode, string, string][] = [
  ["queue", "Queue", "goes next, when the answer is complete"],
  ["steer", "Steer", "joins the run before its next step"],
  ["interrupt", "Interrupt", "stops the run and goes first"],
  ["rollback", "Take back", "stops the run, takes what it did out of what the agent reads, and goes first"],
];
/** Of all files of a message together: what a message may carry, less some room for its words. */
const MAX_FILE_BYTES = 500 * 1024;

export function Composer({ session }: { session: OpenSession }) {
  const state = session.state.value;
  const role = session.role.value;
  if (state === undefined) return null;
  if (state.session.state === "closed")
    return <p class="no-composer">This session is closed. It can still be read.</p>;
  if (!mayTakePart(role)) {
    const words =
      role === "approver" ? "You read along, and decide what is asked of you." : "You read along.";
    return <p class="no-composer">{words}</p>;
  }
  const { mode, holder } = session.handle.value?.floor ?? { mode: "queue" };
  if (mode === "owner-only" && role !== "owner")
    return <p class="no-composer">Only owners write here now. You read along.</p>;
  if (mode === "hand") return <Floor session={session} holder={holder} />;
  return <Writing session={session} />;
}

/** One at a time has the floor; it can be given up, and taken when nobody has it. */
function Floor({ session, holder }: { session: OpenSession; holder: string | undefined }) {
  const pass = (to?: string): void => {
    const handle = session.handle.value;
    if (handle !== undefined) void act("The floor was not passed", () => handle.passFloor(to));
  };
  const own = user.value?.id;
  if (holder !== undefined && holder === own) {
    return (
      <>
        <p class="floor faint">
          You have the floor.{" "}
          <button type="button" class="quiet small" onClick={() => pass()}>
            Give it up
          </button>
        </p>
        <Writing session={session} />
      </>
    );
  }
  return (
    <p class="no-composer">
      {holder === undefined ? "Nobody has the floor." : `${plain(holder, 40)} has the floor.`}{" "}
      {holder === undefined && (
        <button type="button" class="small" onClick={() => pass(own)}>
          Take it
        </button>
      )}
    </p>
  );
}

function Writing({ session }: { session: OpenSession }) {
  const [text, setText] = useState(() => draftOf(session.id));
  const [files, setFiles] = useState<readonly FilePart[]>([]);
  const [mode, setMode] = useState<SendMode>("queue");
  const [guest, setGuest] = useState("");
  const area = useRef<HTMLTextAreaElement>(null);
  const run = session.state.value?.run;
  const own = session.state.value?.session.agent;
  const others = agents.value.filter(({ name }) => name !== own);
  useEffect(() => keepDraft(session.id, text), [text]);
  useLayoutEffect(() => {
    const box = area.current!;
    box.style.height = "auto";
    box.style.height = `${Math.min(box.scrollHeight, 240)}px`;
  }, [text]);
  useEffect(listAgents, []);
  useEffect(() => {
    // On a phone the keyboard would cover what one came to read.
    if (matchMedia("(min-width: 48rem)").matches) area.current?.focus();
  }, []);

  const submit = (how: SendMode): void => {
    if (text.trim() === "" && files.length === 0) return;
    const words = text.trim() === "" ? [] : [{ type: "text" as const, text }];
    const content: Content = files.length === 0 ? text : [...words, ...files];
    send(session.id, content, run === undefined ? "queue" : how, guest || undefined);
    session.handle.value?.setTyping(false);
    setText("");
    setFiles([]);
    setMode("queue");
    setGuest("");
  };
  const attach = async (list: Iterable<File>): Promise<void> => {
    const added = await Promise.all([...list].map(readFile));
    const all = [...files, ...added];
    const size = all.reduce((sum, { url }) => sum + url.length * 0.75, 0);
    if (size > MAX_FILE_BYTES) tell(`Files of a message may have ${bytes(MAX_FILE_BYTES)} together.`, true);
    else setFiles(all);
  };
  const stop = (): void => {
    const handle = session.handle.value;
    if (handle !== undefined) void act("It was not stopped", () => handle.cancel());
  };
  return (
    <form
      class="composer"
      onSubmit={(event) => {
        event.preventDefault();
        submit(mode);
      }}
      onDragOver={(event) => event.preventDefault()}
      onDrop={(event) => {
        event.preventDefault();
        void attach(event.dataTransfer?.files ?? []);
      }}
    >
      <textarea
        ref={area}
        rows={1}
        aria-label="Message"
        placeholder={run === undefined ? "Message" : "Message, while the agent is at work"}
        value={text}
        onInput={(event) => {
          setText(event.currentTarget.value);
          session.handle.value?.setTyping(event.currentTarget.value !== "");
        }}
        onPaste={(event) => {
          const pasted = event.clipboardData?.files ?? [];
          if (pasted.length > 0) void attach(pasted);
        }}
        onKeyDown={(event) => {
          if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
          event.preventDefault();
          submit(event.ctrlKey || event.metaKey ? "steer" : mode);
        }}
      />
      {files.length > 0 && (
        <ul class="files">
          {files.map((file, at) => (
            <li key={at}>
              <bdi>{plain(file.filename ?? file.mediaType, 40)}</bdi>
              <button
                type="button"
                class="quiet small"
                aria-label={`Remove ${plain(file.filename ?? "", 40)}`}
                onClick={() => setFiles(files.filter((other) => other !== file))}
              >
                <Icon name="cross" size={13} />
              </button>
            </li>
          ))}
        </ul>
      )}
      <div class="row">
        <label class="button quiet small" title="Attach a file">
          <Icon name="clip" size={16} />
          <span class="unseen">Attach a file</span>
          <input
            type="file"
            class="unseen"
            multiple
            onChange={(event) => {
              void attach(event.currentTarget.files ?? []);
              event.currentTarget.value = "";
            }}
          />
        </label>
        <span class="grow" />
        {others.length > 0 && (
          <select
            aria-label="Who answers"
            value={guest}
            title="Who answers this message"
            onChange={(event) => setGuest(event.currentTarget.value)}
          >
            <option value="">{plain(own ?? "", 24)}</option>
            {others.map(({ name }) => (
              <option key={name} value={name}>
                {plain(name, 24)}
              </option>
            ))}
          </select>
        )}
        {run !== undefined && (
          <>
            <select
              aria-label="When it is sent"
              value={mode}
              title={MODES.find(([value]) => value === mode)?.[2]}
              onChange={(event) => setMode(event.currentTarget.value as SendMode)}
            >
              {MODES.map(([value, name]) => (
                <option key={value} value={value}>
                  {name}
                </option>
              ))}
            </select>
            <button type="button" class="stop" disabled={run.cancelRequested !== undefined} onClick={stop}>
              <Icon name="stop" size={15} /> Stop
            </button>
          </>
        )}
        <button type="submit" class="primary" disabled={text.trim() === "" && files.length === 0}>
          <Icon name="send" size={16} /> Send
        </button>
      </div>
    </form>
  );
}

function readFile(file: File): Promise<FilePart> {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.addEventListener("load", () =>
      resolve({
        type: "file",
        mediaType: file.type || "application/octet-stream",
        filename: file.name,
        url: reader.result as string,
      }),
    );
    reader.addEventListener("error", () => reject(reader.error ?? new Error("the file cannot be read")));
    reader.readAsDataURL(file);
  });
}
