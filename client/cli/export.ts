/**
 * `haulout export SESSION`: the log of one session as lines of JSON, for whoever may read it. Owns the way there; the form
 * is protocol/archive.ts's. What is exported is the log up to its head when the export began.
 */
import { createWriteStream } from "node:fs";
import { finished } from "node:stream/promises";
import { EXPORT_VERSION, type ExportHeader } from "../../protocol/archive.ts";
import type { ServerFrame } from "../../protocol/frames.ts";
import type { Client } from "../client.ts";
import { COMMON_HELP, connectAs, firstOnline, parse, UsageError } from "./options.ts";
import { jsonLine } from "./text.ts";

const HELP = `usage: haulout export SESSION [options]

Writes the log of a session as lines of JSON: a header, then an entry a line. haulout import makes a session of it again.

  --out FILE     a new file to write to (stdout)
${COMMON_HELP.replace(/^ {2}--json.*\n/m, "")}
`;

export async function exportSession(args: string[]): Promise<number> {
  const { common, positionals, text } = parse(args, { out: { type: "string" } }, 1);
  if (common.help) {
    process.stdout.write(HELP);
    return 0;
  }
  const [session] = positionals;
  if (session === undefined) throw new UsageError("which session? haulout export SESSION");
  const client = connectAs({ ...common, json: false });
  try {
    await firstOnline(client, common);
    const path = text("out");
    if (path === undefined) {
      await copyLog(client, session, (line) => void process.stdout.write(`${line}\n`));
      return 0;
    }
    // Not over a file that is there: it may be the only copy.
    const file = createWriteStream(path, { flags: "wx", mode: 0o600, flush: true });
    const written = finished(file);
    await Promise.race([written, copyLog(client, session, (line) => void file.write(`${line}\n`))]);
    file.end();
    await written;
    return 0;
  } finally {
    client.close();
  }
}

/** Resolves when the header and every entry up to the head were handed to `write`. */
async function copyLog(client: Client, session: string, write: (line: string) => void): Promise<void> {
  let last = 0;
  let head: number | undefined;
  let done!: () => void;
  const complete = new Promise<void>((resolve) => (done = resolve));
  client.on("frame", (frame: ServerFrame) => {
    if (frame.type === "ok" && head === undefined && typeof frame["head"] === "number") {
      head = frame["head"];
      const header: ExportHeader = {
        format: "haulout-session",
        version: EXPORT_VERSION,
        session,
        entries: head,
        exportedAt: Date.now(),
      };
      write(jsonLine(header));
    } else if (frame.type === "event" && frame.session === session && frame.seq === last + 1) {
      if (head === undefined || last >= head) return;
      last++;
      write(jsonLine(frame));
      if (last === head) done();
    }
  });
  const handle = await client.attach(session, { after: { epoch: 0, seq: 0 } });
  const lost = new Promise<never>((_, reject) => handle.on("detached", reject));
  await Promise.race([complete, lost]);
}
