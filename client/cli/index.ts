/**
 * The commands of the client. Owns which one runs and how a failure is told; each command is a file of its own, but for
 * those of members. Never ends the process.
 */
import { ProtocolError } from "../../protocol/errors.ts";
import { agents } from "./agents.ts";
import { allowed } from "./allowed.ts";
import { backup } from "./backup.ts";
import { chat } from "./chat.ts";
import { exportSession } from "./export.ts";
import { importSession } from "./import.ts";
import { mcp } from "./mcp.ts";
import { inbox } from "./inbox.ts";
import { invite, join, members } from "./members.ts";
import { UsageError } from "./options.ts";
import { search } from "./search.ts";
import { providers } from "./providers.ts";
import { sessions } from "./sessions.ts";
import { oneLine } from "./text.ts";
import { tools } from "./tools.ts";
import { usage } from "./usage.ts";
import { watch } from "./watch.ts";

export type ClientCommand =
  | "agents"
  | "chat"
  | "tools"
  | "mcp"
  | "watch"
  | "inbox"
  | "allowed"
  | "sessions"
  | "search"
  | "providers"
  | "usage"
  | "members"
  | "invite"
  | "join"
  | "backup"
  | "export"
  | "import";

const COMMANDS: Record<ClientCommand, (args: string[]) => Promise<number>> = {
  agents,
  chat,
  tools,
  mcp,
  watch,
  inbox,
  allowed,
  sessions,
  search,
  providers,
  usage,
  members,
  invite,
  join,
  backup,
  export: exportSession,
  import: importSession,
};

/** Runs a command to its end. Resolves with the exit code: 0 done, 1 failed (said on stderr), 2 called wrongly. */
export async function runClientCommand(command: ClientCommand, args: string[]): Promise<number> {
  // A reader of our output that has had enough (`| head`) is no failure.
  process.stdout.on("error", (error: NodeJS.ErrnoException) => {
    process.exit(error.code === "EPIPE" ? 0 : 1);
  });
  try {
    return await COMMANDS[command](args);
  } catch (error) {
    if (error instanceof UsageError) {
      process.stderr.write(`haulout ${command}: ${oneLine(error.message)}\ntry: haulout ${command} --help\n`);
      return 2;
    }
    const code = error instanceof ProtocolError ? `${error.code}: ` : "";
    const message = error instanceof Error ? error.message : String(error);
    process.stderr.write(`haulout ${command}: ${code}${oneLine(message, 500)}\n`);
    return 1;
  }
}
