/**
 * `node .build/test/support/audit.js`, part of `npm run check`: known faults of the packages that are shipped, as the
 * registry knows them. Fails on high and critical ones. Where the registry cannot be asked it says so in plain words and
 * passes, unless HAULOUT_AUDIT is `required`: a machine without network must still be able to check.
 */
import { spawnSync } from "node:child_process";
import { pathToFileURL } from "node:url";
import { repositoryRoot } from "./root.ts";

export interface Verdict {
  readonly asked: boolean;
  readonly bad: boolean;
  readonly lines: readonly string[];
}

/** What `npm audit --json` printed. */
export function judge(output: string): Verdict {
  let report: { vulnerabilities?: Record<string, { severity?: string; range?: string }>; message?: string };
  try {
    report = JSON.parse(output) as typeof report;
  } catch {
    return { asked: false, bad: false, lines: ["npm audit gave no report"] };
  }
  if (report.vulnerabilities === undefined)
    return { asked: false, bad: false, lines: [report.message ?? "npm audit gave no report"] };
  const lines = Object.entries(report.vulnerabilities).map(([name, { severity = "unknown", range = "" }]) =>
    `${severity}: ${name} ${range}`.trim(),
  );
  return { asked: true, bad: lines.some((line) => /^(?:high|critical):/.test(line)), lines };
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  const { stdout } = spawnSync("npm", ["audit", "--omit=dev", "--json", "--fetch-retries=0"], {
    cwd: repositoryRoot,
    encoding: "utf8",
    timeout: 60_000,
  });
  const { asked, bad, lines } = judge(stdout ?? "");
  for (const line of lines) console.log(`audit: ${line}`);
  if (asked) console.log(bad ? "audit: FAILED" : "audit: no known high or critical faults");
  else console.log("audit: NOT DONE, the registry could not be asked about known faults");
  process.exit(bad || (!asked && process.env["HAULOUT_AUDIT"] === "required") ? 1 : 0);
}
