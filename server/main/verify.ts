/**
 * `haulout verify`: checks a data directory that no server holds. Owns arguments and what is printed: a line for each
 * fault, a summary, exit code 1 when there is a fault.
 */
import { loadConfig } from "../config.ts";
import { verify } from "../session/verify.ts";
import { parse, plural, printable } from "./options.ts";

const HELP = `usage: haulout verify [options]

Reads a whole data directory, which no server may have open: folds every log and checks it against its rows. Changes
no row. Prints a line for each fault, then a summary; exits with 1 when there was a fault.

  --data DIR  the directory (HAULOUT_DATA, haulout.json, else ./haulout-data)
  --json      print faults and summary as lines of JSON
  --help      print this
`;

export async function runVerify(args: string[]): Promise<number> {
  const { values } = parse("verify", args, { data: { type: "string" }, json: { type: "boolean" } }, 0);
  if (values.help === true) {
    process.stdout.write(HELP);
    return 0;
  }
  const json = values.json === true;
  const directory = typeof values.data === "string" ? values.data : loadConfig().data;
  const totals = await verify(directory, (fault) => {
    const where = [fault.session, fault.seq === undefined ? undefined : `entry ${fault.seq}`];
    const line = `${where.filter((part) => part !== undefined).join(" ") || "store"}: ${fault.problem}`;
    process.stdout.write(json ? `${JSON.stringify(fault)}\n` : `${printable(line)}\n`);
  });
  const { sessions, entries, deleted, purging, faults } = totals;
  const pending = purging === 0 ? "" : ` (${purging} not yet off the disk)`;
  process.stdout.write(
    json
      ? `${JSON.stringify({ summary: totals })}\n`
      : `${plural(sessions, "session")}, ${plural(entries, "entry", "entries")}, ` +
          `${deleted} deleted${pending}: ${faults === 0 ? "no fault" : plural(faults, "fault")}\n`,
  );
  return faults === 0 ? 0 : 1;
}
