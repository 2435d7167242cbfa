/**
 * The start: pick an agent, say the first thing, and a session begins. Owns making that session; the message goes the way of
 * all messages.
 */
import { useState } from "preact/hooks";
import { act } from "../model/acts.ts";
import { plain } from "../model/format.ts";
import { client } from "../model/link.ts";
import { go } from "../model/route.ts";
import { send } from "../model/sends.ts";
import { agents } from "../model/sessions.ts";
import { Icon } from "./icons.tsx";

export function Welcome() {
  const [chosen, setChosen] = useState<string>();
  const [words, setWords] = useState("");
  const [isBusy, setBusy] = useState(false);
  const agent = chosen ?? agents.value[0]?.name;
  const begin = async (event: Event): Promise<void> => {
    event.preventDefault();
    if (agent === undefined || isBusy) return;
    setBusy(true);
    const first = words.trim();
    const title = plain(first.split("\n", 1)[0] ?? "", 60);
    const named = title === "" ? {} : { title };
    const made = await act("No session was made", () => client.value.createSession({ agent, ...named }));
    setBusy(false);
    if (made === undefined) return;
    if (first !== "") send(made.session, first, "queue");
    go({ view: "session", session: made.session });
  };
  return (
    <section class="welcome">
      <form onSubmit={(event) => void begin(event)}>
        <h1>What shall we do?</h1>
        <fieldset class="agents">
          <legend>Agent</legend>
          {agents.value.map(({ name, description, model }) => (
            <label key={name} class={name === agent ? "is-chosen" : undefined}>
              <input
                type="radio"
                name="agent"
                value={name}
                checked={name === agent}
                onChange={() => setChosen(name)}
              />
              <span class="name">{plain(name)}</span>
              <span class="faint">{plain(description || model)}</span>
            </label>
          ))}
        </fieldset>
        <div class="composer">
          <textarea
            rows={3}
            aria-label="First message"
            placeholder="Say something, or begin with nothing said"
            value={words}
            onInput={(event) => setWords(event.currentTarget.value)}
            onKeyDown={(event) => {
              if (event.key === "Enter" && !event.shiftKey && !event.isComposing) void begin(event);
            }}
          />
          <div class="row">
            <span class="grow" />
            <button type="submit" class="primary" disabled={agent === undefined || isBusy}>
              <Icon name="plus" size={16} /> New session
            </button>
          </div>
        </div>
      </form>
    </section>
  );
}
