/**
 * The server's numbers, as `/metrics` gives them, for dashboards. Owns reading the text format of Prometheus; what the
 * numbers mean is said by the server's own help. Needs the right `watch` where there is authentication.
 */
import { ProtocolError } from "../protocol/errors.ts";

export interface Sample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

/**
 * All numbers now. `url`: of `/metrics`. Rejects with ProtocolError: `unauthenticated`, `forbidden`, or `unavailable` when
 * they cannot be had now.
 */
export async function readMetrics(url: string, token?: string): Promise<Sample[]> {
  let answer: Response;
  try {
    answer = await fetch(url, token === undefined ? {} : { headers: { authorization: `Bearer ${token}` } });
  } catch (error) {
    throw new ProtocolError("unavailable", "the metrics cannot be read now", { cause: error });
  }
  if (answer.status === 401) throw new ProtocolError("unauthenticated", "the metrics are not for this token");
  if (answer.status === 403) throw new ProtocolError("forbidden", "the metrics need the right `watch`");
  if (!answer.ok) throw new ProtocolError("unavailable", `the metrics answer ${answer.status}`);
  return parseMetrics(await answer.text());
}

/** Samples of the text format 0.0.4; lines that are none are passed over. */
export function parseMetrics(text: string): Sample[] {
  const samples: Sample[] = [];
  for (const line of text.split("\n")) {
    const found = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? ([+-]?[\d.]\S*)/.exec(line);
    if (found === null) continue;
    const [, name = "", inside = "", value = ""] = found;
    const labels: Record<string, string> = {};
    for (const [, key = "", raw = ""] of inside.matchAll(/([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)"/g))
      labels[key] = raw.replace(/\\(.)/g, (_, escaped: string) => (escaped === "n" ? "\n" : escaped));
    samples.push({ name, labels, value: Number(value) });
  }
  return samples;
}
