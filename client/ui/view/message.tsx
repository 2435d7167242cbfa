/**
 * A message: who, when, and its parts in their order: text, reasoning folded away, tool calls as cards, files. Owns the
 * choice of what is shown for a part; unknown data is not.
 */
import type { ShownMessage } from "../../index.ts";
import { plain, timeOf, wholeTime } from "../model/format.ts";
import { user } from "../model/link.ts";
import type { OpenSession } from "../model/session.ts";
import { Avatar } from "./avatar.tsx";
import { Icon } from "./icons.tsx";
import { Markdown } from "./markdown.tsx";
import { File, Said } from "./said.tsx";
import { ToolCard } from "./tool-card.tsx";

interface Props {
  readonly session: OpenSession;
  readonly message: ShownMessage;
  /** The one before is of the same author and run: no new head. */
  readonly isFollowUp: boolean;
}

export function Message({ session, message, isFollowUp }: Props) {
  const { author, at, role } = message;
  const name = plain(author.name || author.id, 60);
  const isOwn = role === "user" && author.kind === "user" && author.id === user.value?.id;
  const kind = role === "user" ? (isOwn ? "is-own" : "is-other") : "is-agent";
  return (
    <article
      class={`message ${kind} ${isFollowUp ? "is-follow-up" : ""}`}
      aria-label={`${name}${at === undefined ? "" : `, ${timeOf(at)}`}`}
      aria-busy={message.unfinished}
    >
      {!isFollowUp && (
        <header>
          <Avatar id={author.id} name={name} />
          <bdi class="author">{name}</bdi>
          {!author.verified && role === "user" && !isOwn && (
            <span class="faint" title="Nobody has verified this name">
              unverified
            </span>
          )}
          {at !== undefined && (
            <time class="faint" dateTime={new Date(at).toISOString()} title={wholeTime(at)}>
              {timeOf(at)}
            </time>
          )}
        </header>
      )}
      <div class="body">
        {role === "user" ? <Said content={message.parts} /> : <Parts session={session} message={message} />}
        {message.rolledBack && <p class="faint">Taken back: the agent does not read this any more.</p>}
        {message.incomplete && <p class="faint">This message is not complete.</p>}
      </div>
    </article>
  );
}

function Parts({ session, message }: Pick<Props, "session" | "message">) {
  const { parts, unfinished = false } = message;
  return (
    <>
      {parts.map((part, at) => {
        const isGrowing = unfinished && at === parts.length - 1;
        switch (part.type) {
          case "text":
            return (
              <div key={at}>
                <Markdown text={part.text} isGrowing={isGrowing} />
                {part.truncated && <p class="faint">The rest was cut off.</p>}
              </div>
            );
          case "reasoning":
            return <Reasoning key={at} text={part.text} isGrowing={isGrowing} />;
          case "dynamic-tool":
            return <ToolCard key={part.toolCallId || at} session={session} part={part} />;
          case "file":
            return <File key={at} part={part} />;
          default:
            return null;
        }
      })}
    </>
  );
}

function Reasoning({ text, isGrowing }: { text: string; isGrowing: boolean }) {
  if (text.trim() === "") return null;
  return (
    <details class="reasoning">
      <summary>
        <Icon name="chevron" size={14} />
        {isGrowing ? "Reasoning…" : "Reasoning"}
      </summary>
      <Markdown text={text} isGrowing={isGrowing} />
    </details>
  );
}
