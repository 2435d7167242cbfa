/**
 * A list of any length of which only what is near the screen exists as elements. Owns heights, the range that is shown, and
 * where the reader is: at the end it follows what comes, anywhere else nothing moves under the eyes, whatever is added above
 * or below. Knows nothing of what a row is.
 */
import type { ComponentChild } from "preact";
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import { Icon } from "./icons.tsx";

export interface TranscriptRow {
  readonly id: string;
  readonly content: ComponentChild;
}

/** Pixels beyond the screen that exist, above and below. */
const BEYOND = 800;
/** Nearer to the end than this, the reader follows. */
const NEAR = 48;
const GUESS = 96;

interface Range {
  readonly from: number;
  readonly to: number;
}

export function Transcript({
  rows,
  label,
  onNearTop,
}: {
  rows: readonly TranscriptRow[];
  label: string;
  /** The reader comes to the first row. */
  onNearTop: () => void;
}) {
  const scroller = useRef<HTMLDivElement>(null);
  const heights = useMemo(() => new Map<string, number>(), []);
  const anchor = useRef<{ id: string; top: number } | undefined>(undefined);
  const following = useRef(true);
  const [isAway, setAway] = useState(false);
  const [range, setRange] = useState<Range>({ from: 0, to: 0 });

  const shown = following.current ? atEnd(rows, heights, scroller.current) : clip(range, rows.length);
  const offsets = useMemo(() => ({ above: 0, below: 0 }), []);
  offsets.above = sum(rows, heights, 0, shown.from);
  offsets.below = sum(rows, heights, shown.to, rows.length);

  const settle = (): void => {
    const box = scroller.current;
    if (box === null) return;
    for (const element of elements(box)) heights.set(element.dataset["row"]!, element.offsetHeight);
    if (following.current) box.scrollTop = box.scrollHeight;
    else if (anchor.current !== undefined) {
      const row = elements(box).find((element) => element.dataset["row"] === anchor.current!.id);
      const moved = row === undefined ? 0 : row.offsetTop - box.scrollTop - anchor.current.top;
      if (Math.abs(moved) >= 1) box.scrollTop += moved;
    }
    remember(box);
  };
  const remember = (box: HTMLElement): void => {
    const first = elements(box).find((element) => element.offsetTop + element.offsetHeight > box.scrollTop);
    anchor.current =
      first === undefined ? undefined : { id: first.dataset["row"]!, top: first.offsetTop - box.scrollTop };
  };
  const look = (): void => {
    const box = scroller.current;
    if (box === null) return;
    const isNearEnd = box.scrollHeight - box.scrollTop - box.clientHeight < NEAR;
    following.current = isNearEnd;
    setAway(!isNearEnd);
    remember(box);
    setRange((before) => {
      const now = around(rows, heights, box.scrollTop, box.clientHeight);
      return before.from === now.from && before.to === now.to ? before : now;
    });
    if (box.scrollTop < box.clientHeight) onNearTop();
  };

  useLayoutEffect(settle);
  useEffect(() => {
    const box = scroller.current!;
    // Rows grow after they are drawn: colours come, cards are opened, the window is another.
    const observer = new ResizeObserver(() => settle());
    observer.observe(box);
    observer.observe(box.firstElementChild!);
    return () => observer.disconnect();
  }, []);

  const toEnd = (): void => {
    following.current = true;
    setAway(false);
    setRange({ from: 0, to: 0 });
    scroller.current?.focus();
  };
  return (
    <div class="transcript">
      <div
        class="scroller"
        ref={scroller}
        onScroll={look}
        tabIndex={0}
        role="log"
        aria-label={label}
        aria-live="off"
      >
        <div class="rows">
          <div style={{ height: `${offsets.above}px` }} />
          {rows.slice(shown.from, shown.to).map(({ id, content }) => (
            <div key={id} data-row={id}>
              {content}
            </div>
          ))}
          <div style={{ height: `${offsets.below}px` }} />
        </div>
      </div>
      {isAway && (
        <button type="button" class="to-end" onClick={toEnd}>
          <Icon name="down" size={15} /> Jump to latest
        </button>
      )}
    </div>
  );
}

function elements(box: HTMLElement): HTMLElement[] {
  return [...box.querySelectorAll<HTMLElement>(":scope > .rows > [data-row]")];
}

function heightOf(row: TranscriptRow, heights: ReadonlyMap<string, number>): number {
  return heights.get(row.id) ?? GUESS;
}

function sum(
  rows: readonly TranscriptRow[],
  heights: ReadonlyMap<string, number>,
  from: number,
  to: number,
): number {
  let height = 0;
  for (let at = from; at < to; at++) height += heightOf(rows[at]!, heights);
  return height;
}

function atEnd(
  rows: readonly TranscriptRow[],
  heights: ReadonlyMap<string, number>,
  box: HTMLElement | null,
): Range {
  const wanted = (box?.clientHeight ?? 800) + BEYOND;
  let from = rows.length;
  for (let height = 0; from > 0 && height < wanted; from--) height += heightOf(rows[from - 1]!, heights);
  return { from, to: rows.length };
}

function around(
  rows: readonly TranscriptRow[],
  heights: ReadonlyMap<string, number>,
  top: number,
  height: number,
): Range {
  let from = 0;
  let at = 0;
  let y = 0;
  for (; at < rows.length && y < top + height + BEYOND; at++) {
    y += heightOf(rows[at]!, heights);
    if (y < top - BEYOND) from = at + 1;
  }
  return { from, to: at };
}

function clip({ from, to }: Range, length: number): Range {
  return { from: Math.min(from, length), to: Math.min(to, length) };
}
