/**
 * The requests that carry whole logs: backup and import. Owns the imports that a connection has begun, which end with it;
 * what they do is session/backup.ts and session/import.ts.
 */
import { ProtocolError } from "../../protocol/errors.ts";
import { backUp } from "../session/backup.ts";
import type { Import } from "../session/import.ts";
import type { Connection } from "./connection.ts";
import type { Handler } from "./context.ts";

/** Imports that one connection may have open. */
const MAX_IMPORTS = 4;
const imports = new WeakMap<Connection, Map<string, Import>>();

const backup: Handler<"backup"> = ({ runtime, connection }, frame) =>
  backUp(runtime.store, connection, frame.cursor);

const importEntries: Handler<"importEntries"> = async ({ connection, runtime }, frame) => {
  let open = imports.get(connection);
  if (open === undefined) imports.set(connection, (open = new Map<string, Import>()));
  let current = open.get(frame.session);
  if (current === undefined) {
    if (open.size >= MAX_IMPORTS) throw new ProtocolError("busy", `${MAX_IMPORTS} imports are open already`);
    open.set(frame.session, (current = runtime.startImport(frame.session)));
  }
  try {
    const result = await current.add(frame.after, frame.entries, frame.last === true);
    if (frame.last === true) open.delete(frame.session);
    return result;
  } catch (error) {
    open.delete(frame.session);
    await abandon(current);
    throw error;
  }
};

export const transfers = { backup, importEntries };

/** The connection is gone: what it began to import is undone. */
export function abandonImports(connection: Connection): void {
  for (const current of imports.get(connection)?.values() ?? []) void abandon(current);
  imports.delete(connection);
}

async function abandon(current: Import): Promise<void> {
  try {
    await current.abandon();
  } catch {
    // The store is out of work: what was written stays, a session that ends where nothing is open.
  }
}
