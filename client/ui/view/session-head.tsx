/**
 * The head of a session: its title, which may be changed in place, who is here, what it used, and what else can be done with
 * it. Owns these commands: rename, fork, summarise, close, delete.
 */
import { useState } from "preact/hooks";
import type { Usage } from "../../index.ts";
import { act, tell } from "../model/acts.ts";
import { count, plain, titleOf } from "../model/format.ts";
import { textOf } from "../model/form.ts";
import { client, user } from "../model/link.ts";
import { go } from "../model/route.ts";
import type { OpenSession } from "../model/session.ts";
import { lookOf } from "../model/sessions.ts";
import { Avatar } from "./avatar.tsx";
import { Icon } from "./icons.tsx";
import { Members } from "./members.tsx";
import { Back } from "./pane.tsx";
import { mayTakePart } from "./rights.ts";
import { stateWords } from "./sidebar.tsx";

export function SessionHead({ session }: { session: OpenSession }) {
  const [isNaming, setNaming] = useState(false);
  const [shows, setShows] = useState<"menu" | "members">();
  const state = session.state.value;
  if (state === undefined) return <header class="head" />;
  const info = state.session;
  const role = session.role.value;
  const rename = async (event: SubmitEvent): Promise<void> => {
    event.preventDefault();
    const title = textOf(event, "title").trim();
    if (title !== info.title)
      await act("It was not renamed", () => client.value.updateSession(session.id, { title }));
    setNaming(false);
  };
  return (
    <header
      class="head"
      onKeyDown={(event) => {
        if (event.key === "Escape") setShows(undefined);
      }}
    >
      <Back />
      {isNaming ? (
        <form class="grow" onSubmit={(event) => void rename(event)}>
          <input
            name="title"
            aria-label="Title"
            maxLength={1024}
            defaultValue={info.title ?? ""}
            ref={(input) => input?.focus()}
            onKeyDown={(event) => {
              if (event.key === "Escape") setNaming(false);
            }}
          />
        </form>
      ) : (
        <div class="grow titles">
          <h1>
            <bdi>{titleOf(info)}</bdi>
          </h1>
          <p class="faint">
            <span class={`state is-${lookOf(info)}`} aria-hidden="true" />
            <span>
              {plain(info.agent, 40)} · {stateWords(info)}
              {info.usage !== undefined && <> · {usageWords(info.usage)}</>}
            </span>
          </p>
        </div>
      )}
      <Present session={session} />
      {mayTakePart(role) && !isNaming && (
        <button type="button" class="quiet small" aria-label="Rename" onClick={() => setNaming(true)}>
          <Icon name="edit" size={16} />
        </button>
      )}
      <button
        type="button"
        class="quiet small"
        aria-label="Members"
        aria-expanded={shows === "members"}
        onClick={() => setShows(shows === "members" ? undefined : "members")}
      >
        <Icon name="people" />
      </button>
      <button
        type="button"
        class="quiet small"
        aria-label="More"
        aria-expanded={shows === "menu"}
        onClick={() => setShows(shows === "menu" ? undefined : "menu")}
      >
        <Icon name="more" />
      </button>
      {shows === "menu" && <Menu session={session} onDone={() => setShows(undefined)} />}
      {shows === "members" && <Members session={session} />}
    </header>
  );
}

function Menu({ session, onDone }: { session: OpenSession; onDone: () => void }) {
  const [asks, setAsks] = useState<"close" | "delete">();
  const role = session.role.value;
  const handle = session.handle.value;
  const fork = async (): Promise<void> => {
    onDone();
    const made = handle && (await act("It was not forked", () => handle.fork()));
    if (made !== undefined) go({ view: "session", session: made });
  };
  const summarise = async (): Promise<void> => {
    onDone();
    const done = handle && (await act("It was not summarised", () => handle.compact()));
    if (done !== undefined) tell("The agent now reads a summary of what was said.");
  };
  const close = async (): Promise<void> => {
    onDone();
    await act("It was not closed", () => client.value.closeSession(session.id));
  };
  const remove = async (): Promise<void> => {
    onDone();
    const done = await act("It was not deleted", () => client.value.deleteSession(session.id));
    if (done !== undefined) go({ view: "sessions" });
  };
  if (asks !== undefined) {
    return (
      <div class="popover" role="group" aria-label="Are you sure?">
        <p>
          {asks === "close"
            ? "Nobody will be able to write here any more."
            : "It will be gone for everybody."}
        </p>
        <div class="row">
          <button type="button" class="danger" onClick={() => void (asks === "close" ? close() : remove())}>
            {asks === "close" ? "Close it" : "Delete it"}
          </button>
          <button type="button" class="quiet" onClick={onDone}>
            Leave it
          </button>
        </div>
      </div>
    );
  }
  return (
    <div class="popover" role="group" aria-label="What can be done">
      {mayTakePart(role) && (
        <>
          <button type="button" class="quiet" onClick={() => void fork()}>
            <Icon name="fork" size={16} /> Fork into a new session
          </button>
          <button type="button" class="quiet" onClick={() => void summarise()}>
            <Icon name="chat" size={16} /> Summarise for the agent
          </button>
        </>
      )}
      {role === "owner" && (
        <>
          {session.state.value?.session.state !== "closed" && (
            <button type="button" class="quiet" onClick={() => setAsks("close")}>
              <Icon name="stop" size={16} /> Close
            </button>
          )}
          <button type="button" class="quiet" onClick={() => setAsks("delete")}>
            <Icon name="cross" size={16} /> Delete
          </button>
        </>
      )}
      <p class="faint">{session.id}</p>
    </div>
  );
}

function Present({ session }: { session: OpenSession }) {
  const { users = [], people = 0 } = session.presence.value ?? {};
  const others = users.filter(({ id }) => id !== user.value?.id);
  if (people === 0) return null;
  const typing = others.filter((each) => each.typing === true).map(({ name }) => plain(name, 30));
  const names = users.map(({ id, name }) => plain(name || id, 30)).join(", ");
  return (
    <div class="present">
      {typing.length > 0 && (
        <span class="faint typing">
          {typing.slice(0, 2).join(", ")} {typing.length === 1 ? "is" : "are"} typing
        </span>
      )}
      <span class="unseen">
        {people === 1 ? "1 person" : `${people} people`} here: {names}
      </span>
      {others.slice(0, 4).map(({ id, name }) => (
        <Avatar key={id} id={id} name={name} />
      ))}
      {people - 1 > 4 && <span class="faint">+{people - 5}</span>}
    </div>
  );
}

export function usageWords({ inputTokens, outputTokens, cost }: Usage): string {
  const tokens = `${count(inputTokens + outputTokens)} tokens`;
  return cost === undefined ? tokens : `${tokens} · cost ${(cost / 1e6).toFixed(cost < 1e6 ? 4 : 2)}`;
}
