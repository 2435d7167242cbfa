/**
 * What plain HTTP answers, as a value. Owns its shape and the common kinds; http.ts writes it.
 */
export interface Answer {
  readonly status: number;
  /** Of the body; undefined where there is none. */
  readonly type: string | undefined;
  readonly body: string | Buffer;
  readonly headers?: Readonly<Record<string, string>>;
}

export const text = (status: number, body: string): Answer => ({
  status,
  type: "text/plain; charset=utf-8",
  body: `${body}\n`,
});

export const json = (status: number, value: unknown): Answer => ({
  status,
  type: "application/json",
  body: `${JSON.stringify(value)}\n`,
});
