/**
 * What the server found of the words in the filter: who said it, in which session, and the piece with the words in it. Owns
 * the form of a line alone.
 */
import type { SearchHit } from "../../index.ts";
import { piece, plain, titleOf, when } from "../model/format.ts";
import { found } from "../model/found.ts";
import { linkTo } from "../model/route.ts";

export function Found() {
  if (found.value.length === 0) return null;
  return (
    <section aria-label="Said">
      <h2 class="empty">Said</h2>
      <ul>
        {found.value.map((hit) => (
          <Hit key={`${hit.session} ${hit.seq}`} hit={hit} />
        ))}
      </ul>
    </section>
  );
}

function Hit({ hit }: { hit: SearchHit }) {
  const { session, title, author, at } = hit;
  return (
    <li>
      <a href={linkTo({ view: "session", session })}>
        <span class="snippet">
          <bdi>{marked(hit)}</bdi>
        </span>
        <span class="aside">
          <span class="agent">
            {plain(author?.name ?? "", 40)} · {titleOf({ id: session, title })}
          </span>
          <time>{when(at)}</time>
        </span>
      </a>
    </li>
  );
}

/** The snippet, with what was looked for marked. */
function marked({ snippet, marks }: SearchHit) {
  let end = 0;
  const shown = marks.flatMap(([from, upTo]) => {
    const before = piece(snippet.slice(end, from));
    end = upTo;
    return [before, <mark key={from}>{piece(snippet.slice(from, upTo))}</mark>];
  });
  return [...shown, piece(snippet.slice(end))];
}
