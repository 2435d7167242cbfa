/**
 * A message that the server does not have yet, or did not take. Owns sending it again and giving it up; nothing that was
 * written is thrown away unasked.
 */
import { discard, sendAgain, type Sending } from "../model/sends.ts";
import { status } from "../model/link.ts";
import { Said } from "./said.tsx";

export function Unsent({ item }: { item: Sending }) {
  const { refused } = item;
  return (
    <article class="message is-own is-unsent">
      <div class="body">
        <Said content={item.content} />
        <p class={refused === undefined ? "faint" : "bad"}>
          {refused ??
            (status.value.state === "online" ? "Sending…" : "Not sent yet; kept until there is a connection")}
        </p>
        {refused !== undefined && (
          <div class="row">
            <button type="button" class="small" onClick={() => sendAgain(item)}>
              Send again
            </button>
            <button type="button" class="quiet small" onClick={() => discard(item.key)}>
              Throw away
            </button>
          </div>
        )}
      </div>
    </article>
  );
}
