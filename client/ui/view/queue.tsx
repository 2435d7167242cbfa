/**
 * What waits its turn in a session, in its order. Owns editing and withdrawing: one's own, and for an owner withdrawing any.
 */
import { useState } from "preact/hooks";
import type { Content, QueuedInput } from "../../index.ts";
import { act } from "../model/acts.ts";
import { plain, plural } from "../model/format.ts";
import { client, user } from "../model/link.ts";
import type { OpenSession } from "../model/session.ts";
import { Icon } from "./icons.tsx";
import { mayTakePart } from "./rights.ts";

const MODES: Readonly<Record<string, string>> = {
  steer: "steers",
  interrupt: "interrupts",
  rollback: "takes back",
};

export function Queue({ session }: { session: OpenSession }) {
  const queue = session.state.value?.queue ?? [];
  // An input that begins at once is no queue: it is shown when something else is in its way.
  if (queue.length === 0 || (queue.length === 1 && session.state.value?.run === undefined)) return null;
  return (
    <section class="queue" aria-label={plural(queue.length, "waiting message")}>
      <h2>Waiting</h2>
      <ol>
        {queue.map((input, at) => (
          <Waiting key={input.input} session={session} input={input} before={beforeOf(queue, at, session)} />
        ))}
      </ol>
    </section>
  );
}

/** The one before which this user may put the input at `at`: of the same kind, and one's own unless one owns the session. */
function beforeOf(queue: readonly QueuedInput[], at: number, session: OpenSession): string | undefined {
  const { mode, actor } = queue[at]!;
  const isOwner = session.role.value === "owner";
  const own = user.value?.id;
  if (!isOwner && (actor?.id !== own || !mayTakePart(session.role.value))) return undefined;
  return queue.slice(0, at).findLast((other) => other.mode === mode && (isOwner || other.actor?.id === own))
    ?.input;
}

function Waiting({
  session,
  input,
  before,
}: {
  session: OpenSession;
  input: QueuedInput;
  before: string | undefined;
}) {
  const [text, setText] = useState<string>();
  const role = session.role.value;
  const isOwn = input.actor?.id === user.value?.id && mayTakePart(role);
  const words = textOf(input.content);
  const edit = async (event: Event): Promise<void> => {
    event.preventDefault();
    const content = text ?? "";
    if (content.trim() === "") return;
    const fields = { session: session.id, input: input.input, content };
    const done = await act("It was not changed", () => client.value.request("editInput", fields));
    if (done !== undefined) setText(undefined);
  };
  const withdraw = (): void => {
    const fields = { session: session.id, input: input.input };
    void act("It was not withdrawn", () => client.value.request("withdrawInput", fields));
  };
  const moveUp = (): void => {
    const handle = session.handle.value;
    if (handle === undefined || before === undefined) return;
    void act("It was not moved", () => handle.orderInputs([input.input, before]));
  };
  if (text !== undefined) {
    return (
      <li>
        <form onSubmit={(event) => void edit(event)}>
          <textarea
            rows={2}
            aria-label="Waiting message"
            value={text}
            ref={(area) => area?.focus()}
            onInput={(event) => setText(event.currentTarget.value)}
          />
          <div class="row">
            <button type="submit" class="primary small">
              Save
            </button>
            <button type="button" class="quiet small" onClick={() => setText(undefined)}>
              Cancel
            </button>
          </div>
        </form>
      </li>
    );
  }
  return (
    <li>
      <span class="grow">
        <bdi class="author">{plain(input.actor?.name ?? "", 40)}</bdi>{" "}
        {MODES[input.mode] !== undefined && <span class="chip">{MODES[input.mode]}</span>} {plain(words, 160)}
      </span>
      {before !== undefined && (
        <button type="button" class="quiet small" aria-label="Move up" onClick={moveUp}>
          <Icon name="up" size={14} />
        </button>
      )}
      {isOwn && typeof input.content === "string" && !input.truncated && (
        <button type="button" class="quiet small" aria-label="Edit" onClick={() => setText(words)}>
          <Icon name="edit" size={14} />
        </button>
      )}
      {(isOwn || role === "owner") && (
        <button type="button" class="quiet small" aria-label="Withdraw" onClick={withdraw}>
          <Icon name="cross" size={14} />
        </button>
      )}
    </li>
  );
}

function textOf(content: Content): string {
  if (typeof content === "string") return content;
  return content
    .map((part) =>
      part.type === "text" ? part.text : part.type === "file" ? `[${part.filename ?? "file"}]` : "",
    )
    .join(" ");
}
