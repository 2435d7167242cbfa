/**
 * The golden frames as tests see them: read from test/fixtures/frames, with the schema of each type. Never writes a
 * fixture (test/fixtures/generate.ts does).
 */
import { readdirSync, readFileSync } from "node:fs";
import type { z } from "zod";
import { entryBodies } from "../../protocol/entries.ts";
import { clientFrames, results, serverFrames } from "../../protocol/frames.ts";
import { fixture } from "../support/root.ts";

export const GROUPS = ["client", "server", "entries"] as const;
export type Group = (typeof GROUPS)[number];

export interface GoldenFrame {
  readonly group: Group;
  /** `send` or `send.parts`. */
  readonly name: string;
  /** The frame's type, or the entry's. */
  readonly type: string;
  readonly variant: string | undefined;
  readonly line: string;
  readonly frame: Record<string, unknown>;
  readonly bytes: Uint8Array;
}

export function goldenFrames(group: Group): GoldenFrame[] {
  return readdirSync(fixture("frames", group))
    .filter((file) => file.endsWith(".json"))
    .toSorted()
    .map((file) => {
      const name = file.slice(0, -".json".length);
      const [type = "", variant] = name.split(".");
      const line = readFileSync(fixture("frames", group, file), "utf8").trimEnd();
      const hex = readFileSync(fixture("frames", group, `${name}.msgpack.hex`), "utf8").replaceAll(/\s/g, "");
      return {
        group,
        name,
        type,
        variant,
        line,
        frame: JSON.parse(line) as Record<string, unknown>,
        bytes: new Uint8Array(Buffer.from(hex, "hex")),
      };
    });
}

/** Every type that the code knows, by group. */
export const TYPES: Record<Group, readonly string[]> = {
  client: Object.keys(clientFrames),
  server: Object.keys(serverFrames).filter((type) => type !== "event"),
  entries: Object.keys(entryBodies),
};

/** The schema a golden frame must satisfy; an `ok` is held to what its request's answer carries too. */
export function schemaOf(golden: GoldenFrame): z.ZodType {
  if (golden.group === "client") return clientFrames[golden.type as keyof typeof clientFrames];
  if (golden.group === "entries") return serverFrames.event;
  if (golden.type === "ok" && golden.variant !== undefined) {
    return results[golden.variant as keyof typeof results];
  }
  return serverFrames[golden.type as keyof typeof serverFrames];
}
