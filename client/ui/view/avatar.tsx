/**
 * A person or an agent as one letter on a colour, which is that of the id: two of the same name look different. Decoration
 * only; the name stands beside it.
 */
import { hueOf, plain } from "../model/format.ts";

export function Avatar({ id, name }: { id: string; name: string }) {
  const first = plain(name || id).codePointAt(0);
  return (
    <span
      class="avatar"
      style={{ "--hue": String(hueOf(id)) }}
      title={plain(name || id, 40)}
      aria-hidden="true"
    >
      {first === undefined ? "?" : String.fromCodePoint(first).toUpperCase()}
    </span>
  );
}
