/**
 * A series as a small picture: its last two minutes as an area, its value now in figures. Owns scale and words; a gap in the
 * series is a gap in the picture.
 */
interface Props {
  readonly title: string;
  /** One a second, the newest last. */
  readonly values: readonly (number | undefined)[];
  readonly format: (value: number) => string;
}

const WIDTH = 240;
const HEIGHT = 56;
const SLOTS = 120;

export function Chart({ title, values, format }: Props) {
  const known = values.filter((value) => value !== undefined);
  const now = values.findLast((value) => value !== undefined);
  const most = Math.max(...known, 0);
  const words = now === undefined ? "nothing yet" : `${format(now)} now, ${format(most)} at most`;
  return (
    <figure class="chart">
      <figcaption>
        <span>{title}</span>
        <strong>{now === undefined ? "–" : format(now)}</strong>
      </figcaption>
      <svg
        viewBox={`0 0 ${WIDTH} ${HEIGHT}`}
        preserveAspectRatio="none"
        role="img"
        aria-label={`${title}: ${words}`}
      >
        {lines(values, most === 0 ? 1 : most).map((points, at) => (
          <g key={at}>
            <polygon points={`${points[0]![0]},${HEIGHT} ${path(points)} ${points.at(-1)![0]},${HEIGHT}`} />
            <polyline points={path(points)} />
          </g>
        ))}
      </svg>
      <span class="faint">{known.length === 0 ? "" : `most ${format(most)}`}</span>
    </figure>
  );
}

type Place = readonly [x: number, y: number];

/** Runs of values without a gap. */
function lines(values: readonly (number | undefined)[], most: number): Place[][] {
  const found: Place[][] = [[]];
  const first = SLOTS - values.length;
  for (const [at, value] of values.entries()) {
    if (value === undefined) found.push([]);
    else
      found.at(-1)!.push([((first + at) / (SLOTS - 1)) * WIDTH, HEIGHT - 2 - (value / most) * (HEIGHT - 6)]);
  }
  return found.filter((points) => points.length > 0);
}

const path = (points: readonly Place[]): string =>
  points.map(([x, y]) => `${x.toFixed(1)},${y.toFixed(1)}`).join(" ");
