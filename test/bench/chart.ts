/**
 * Charts of rows, as SVG: how a cost grows, and how ratios stand to what is wanted. Owns form alone; every point is a row's
 * own figure, and the machine that it was measured on stands below. No script, no font and no colour from elsewhere; it
 * reads on light and on dark.
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { ChartPoint, Row } from "./bench.ts";

const WIDTH = 760;
const LEFT = 70;
const COLOURS = ["#2f6fde", "#d9822b", "#3a9d5d", "#9b59b6"];

/** Writes `growth-NAME.svg` for each chart that rows belong to, and `ratios.svg`; answers the names of the files. */
export function writeCharts(folder: string, rows: readonly Row[], notes: readonly string[]): string[] {
  const files: string[] = [];
  const write = (name: string, svg: string): void => {
    writeFileSync(join(folder, name), svg);
    files.push(name);
  };
  const points = rows.flatMap(({ chart, ratio }) => (chart === undefined ? [] : [{ ...chart, y: ratio }]));
  for (const name of new Set(points.map((point) => point.name)))
    write(
      `growth-${name}.svg`,
      lines(
        points.filter((point) => point.name === name),
        notes,
      ),
    );
  const ratios = rows.filter(({ goal, chart }) => goal !== null && chart === undefined);
  if (ratios.length > 0) write("ratios.svg", bars(ratios, notes));
  return files;
}

type Point = ChartPoint & { readonly y: number };

/** Both axes by powers of ten. */
function lines(points: readonly Point[], notes: readonly string[]): string {
  const [height, top] = [320, 46];
  const [bottom, right] = [height - 40, WIDTH - 190];
  const { title = "", xs = "", ys = "" } = points[0] ?? {};
  const xTicks = powers(points.map(({ x }) => x));
  const yTicks = powers(points.map(({ y }) => y));
  const scale =
    (ticks: readonly number[], from: number, to: number) =>
    (value: number): number => {
      const [low = 1, high = 10] = [ticks[0], ticks.at(-1)];
      return from + ((to - from) * Math.log10(value / low)) / Math.log10(high / low);
    };
  const x = scale(xTicks, LEFT, right);
  const y = scale(yTicks, bottom, top);
  const parts = [text(16, 24, title, { size: 16, weight: 600 }), text(16, 40, `${ys}, by ${xs}`)];
  for (const tick of yTicks) {
    parts.push(
      line(LEFT, y(tick), right, y(tick)),
      text(LEFT - 8, y(tick) + 4, count(tick), { anchor: "end" }),
    );
  }
  for (const tick of xTicks) parts.push(text(x(tick), bottom + 18, count(tick), { anchor: "middle" }));
  [...new Set(points.map(({ series }) => series))].forEach((series, at) => {
    const colour = COLOURS[at % COLOURS.length]!;
    const own = points.filter((point) => point.series === series).sort((a, b) => a.x - b.x);
    const path = own.map((point) => `${x(point.x).toFixed(1)},${y(point.y).toFixed(1)}`).join(" ");
    parts.push(`<polyline points="${path}" fill="none" stroke="${colour}" stroke-width="2"/>`);
    for (const point of own) {
      const [cx, cy] = [x(point.x).toFixed(1), y(point.y).toFixed(1)];
      parts.push(
        `<circle cx="${cx}" cy="${cy}" r="3.5" fill="${colour}"><title>${figure(point.y)}</title></circle>`,
      );
    }
    parts.push(
      `<rect x="${right + 16}" y="${top + 22 * at}" width="12" height="12" fill="${colour}"/>`,
      text(right + 34, top + 22 * at + 10, series),
    );
  });
  return page(height, parts, notes);
}

/** A bar each; 1 is what is wanted, and shorter is better for all of them. */
function bars(rows: readonly Row[], notes: readonly string[]): string {
  const [top, step, left] = [54, 24, 440];
  const height = top + step * rows.length + 10;
  const most = 4;
  const width = (value: number): number => ((WIDTH - left - 60) * Math.min(value, most)) / most;
  const wanted = left + width(1);
  const parts = [
    text(16, 24, "What is measured, beside what is wanted", { size: 16, weight: 600 }),
    text(16, 40, `as a part of what is wanted: up to the line it is met; longer bars end at ${most}`),
    line(wanted, top - 6, wanted, height - 10),
  ];
  rows.forEach(({ name, ratio, goal, better }, at) => {
    const part = Math.max(0.01, better === "lower" ? ratio / goal! : goal! / ratio);
    const y = top + step * at;
    const short = name.length > 64 ? `${name.slice(0, 63)}…` : name;
    const colour = part <= 1 ? COLOURS[2]! : COLOURS[1]!;
    parts.push(
      text(left - 10, y + 12, short, { anchor: "end" }),
      `<rect x="${left}" y="${y}" width="${width(part).toFixed(1)}" height="15" fill="${colour}"/>`,
      text(left + width(part) + 6, y + 12, `${figure(ratio)} (${better === "lower" ? "≤" : "≥"} ${goal})`),
    );
  });
  return page(height, parts, notes);
}

/** The powers of ten around these values, two at least. */
function powers(values: readonly number[]): number[] {
  const from = Math.floor(Math.log10(Math.min(...values)));
  const to = Math.max(from + 1, Math.ceil(Math.log10(Math.max(...values))));
  return Array.from({ length: to - from + 1 }, (_, at) => 10 ** (from + at));
}

function count(value: number): string {
  return value >= 1 ? value.toLocaleString("en").replaceAll(",", " ") : String(Number(value.toPrecision(1)));
}

function figure(value: number): string {
  return String(Number(value.toPrecision(3)));
}

function text(
  x: number,
  y: number,
  words: string,
  { anchor = "start", size = 12, weight = 400 }: { anchor?: string; size?: number; weight?: number } = {},
): string {
  const escaped = words.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
  const place = `x="${x.toFixed(1)}" y="${y.toFixed(1)}" text-anchor="${anchor}"`;
  return `<text ${place} font-size="${size}" font-weight="${weight}" fill="#808590">${escaped}</text>`;
}

function line(x1: number, y1: number, x2: number, y2: number): string {
  const ends = `x1="${x1.toFixed(1)}" y1="${y1.toFixed(1)}" x2="${x2.toFixed(1)}" y2="${y2.toFixed(1)}"`;
  return `<line ${ends} stroke="#808590" stroke-opacity="0.35"/>`;
}

function page(height: number, parts: readonly string[], notes: readonly string[]): string {
  const below = notes.map((note, at) => text(16, height + 14 + 14 * at, note, { size: 10 }));
  const whole = height + 14 * notes.length + 12;
  const size = `width="${WIDTH}" height="${whole}" viewBox="0 0 ${WIDTH} ${whole}"`;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" ${size} font-family="system-ui, sans-serif" role="img">`,
    ...parts,
    ...below,
    "</svg>\n",
  ].join("\n");
}
