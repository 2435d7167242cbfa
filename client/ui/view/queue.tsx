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

const MODES: Readonly<Record<string, string>> = { steer: "steers", interrupt: "interrupts" };

export function Queue({ session }: { session: OpenSession }) {
  const queue = session.state.value?.queue ?? [];
  // An input that begins at once is no queue: it is shown when something else is in its way.
  if (queue.length === 0 || (queue.length === 1 && session.state.value?.run === undefined)) return null;
  return (
    <section class="queue" aria-label={plural(queue.length, "waiting message")}>
      <h2>Waiting</h2>
      <ol>
        {queue.map((input) => (
          <Waiting key={input.input} session={session} input={input} />
        ))}
      </ol>
    </section>
  );
}

function Waiting({ session, input }: { session: OpenSession; input: QueuedInput }) {
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
  if (text !== undefined) {
    return (
      <li>
        <form onSubmit={(event) => void edit(event)}>
          <textarea
            rows={2}
            aria-label="Message"
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
