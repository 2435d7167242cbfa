/**
 * Text of any length as it is: the first part at once, the rest when asked for. Owns how much is shown, so that a megabyte on
 * one line harms nobody.
 */
import { useState } from "preact/hooks";
import { bytes, visible } from "../model/format.ts";

const FIRST = 4000;
const STEP = 64 * 1024;

export function LongText({ text }: { text: string }) {
  const [shown, setShown] = useState(FIRST);
  const rest = text.length - shown;
  return (
    <>
      <pre class="long" tabIndex={0} aria-label="text">
        {visible(text.slice(0, shown))}
      </pre>
      {rest > 0 && (
        <button type="button" class="quiet small" onClick={() => setShown(shown + STEP)}>
          Show more ({bytes(rest)})
        </button>
      )}
    </>
  );
}
