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

/** The first row on the screen: which, where among the rows, and how far below the upper edge. */
interface Anchor {
  readonly id: string;
  readonly at: number;
  readonly top: number;
}

interface Range {
  readonly from: number;
  readonly to: number;
}

export function Transcript({
  rows,
  label,
  isFetching,
  onNearTop,
}: {
  rows: readonly TranscriptRow[];
  label: string;
  /** Rows are on their way that will stand before the first. */
  isFetching: boolean;
  /** The reader comes near the first row. */
  onNearTop: () => void;
}) {
  const scroller = useRef<HTMLDivElement>(null);
  const heights = useMemo(() => new Map<string, number>(), []);
  const anchor = useRef<Anchor | undefined>(undefined);
  const following = useRef(true);
  /** By how much the rows above were guessed wrongly; made good at the top. */
  const lead = useRef(0);
  /** Where the box was when it was last looked at. */
  const top = useRef(0);
  /** With how many rows more were asked for because these leave room. */
  const asked = useRef(-1);
  const [isAway, setAway] = useState(false);
  const [range, setRange] = useState<Range>({ from: 0, to: 0 });

  const moved = following.current ? 0 : shiftOf(rows, anchor.current);
  const shown = following.current
    ? atEnd(rows, heights, scroller.current)
    : clip({ from: range.from + moved, to: range.to + moved }, rows.length);
  const offsets = useMemo(() => ({ above: 0, below: 0 }), []);
  if (shown.from === 0) lead.current = 0;
  offsets.above = Math.max(0, sum(rows, heights, 0, shown.from) + lead.current);
  offsets.below = sum(rows, heights, shown.to, rows.length);

  const settle = (): void => {
    const box = scroller.current;
    if (box === null) return;
    for (const element of elements(box)) heights.set(element.dataset["row"]!, element.offsetHeight);
    // The reader has scrolled, and the event that says so is still to come.
    if (following.current && box.scrollTop < top.current - NEAR && !isNearEnd(box)) return look();
    if (following.current) box.scrollTop = box.scrollHeight;
    else if (anchor.current !== undefined) {
      const row = elements(box).find((element) => element.dataset["row"] === anchor.current!.id);
      const slipped = row === undefined ? 0 : row.offsetTop - box.scrollTop - anchor.current.top;
      const spacer = box.firstElementChild!.firstElementChild as HTMLElement;
      const room = spacer.offsetHeight - slipped;
      if (shown.from > 0 && room > 0 && Math.abs(slipped) < BEYOND) {
        // Not by scrolling: that would end a scroll of the reader's that is under way.
        lead.current -= slipped;
        spacer.style.height = `${room}px`;
      } else if (Math.abs(slipped) >= 1) box.scrollTop += slipped;
    }
    remember(box);
    // Of the rows as they are now.
    if (moved !== 0) setRange(shown);
    if (box.scrollHeight < box.clientHeight + BEYOND && rows.length > 0 && asked.current !== rows.length) {
      // There may be nothing to scroll, by which more would be asked for.
      asked.current = rows.length;
      onNearTop();
    }
  };
  const remember = (box: HTMLElement): void => {
    top.current = box.scrollTop;
    const first = elements(box).find((element) => element.offsetTop + element.offsetHeight > box.scrollTop);
    // Where nothing is drawn yet there is nothing to hold on to.
    anchor.current =
      first === undefined || first.offsetTop > box.scrollTop + box.clientHeight
        ? undefined
        : {
            id: first.dataset["row"]!,
            at: rows.findIndex(({ id }) => id === first.dataset["row"]),
            top: first.offsetTop - box.scrollTop,
          };
  };
  const look = (): void => {
    const box = scroller.current;
    if (box === null) return;
    following.current = isNearEnd(box);
    setAway(!following.current);
    remember(box);
    setRange((before) => {
      const now = around(rows, heights, box.scrollTop, box.clientHeight);
      return before.from === now.from && before.to === now.to ? before : now;
    });
    if (box.scrollTop < box.clientHeight + BEYOND) onNearTop();
  };

  const latest = useRef(settle);
  latest.current = settle;
  useLayoutEffect(settle);
  useEffect(() => {
    const box = scroller.current!;
    // Rows grow after they are drawn: colours come, cards are opened, the window is another.
    const observer = new ResizeObserver(() => latest.current());
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
      {isFetching && <p class="fetching">Loading what was before…</p>}
      {isAway && (
        <button type="button" class="to-end" onClick={toEnd}>
          <Icon name="down" size={15} /> Jump to latest
        </button>
      )}
    </div>
  );
}

function isNearEnd(box: HTMLElement): boolean {
  return box.scrollHeight - box.scrollTop - box.clientHeight < NEAR;
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

/** How many rows have come, or gone, before the one that the reader sees first. */
function shiftOf(rows: readonly TranscriptRow[], anchor: Anchor | undefined): number {
  if (anchor === undefined || rows[anchor.at]?.id === anchor.id) return 0;
  const at = rows.findIndex(({ id }) => id === anchor.id);
  return at < 0 ? 0 : at - anchor.at;
}

function clip({ from, to }: Range, length: number): Range {
  return { from: Math.max(0, Math.min(from, length)), to: Math.max(0, Math.min(to, length)) };
}
