/**
 * The lines of a chat that say whose turn it is: the queue, what waits in it, and the floor. Owns what these lines mean and
 * the words in which the queue is shown; what may be done is the server's to say.
 */
import type { FloorMode } from "../../protocol/content.ts";
import type { QueuedInput } from "../../protocol/frames.ts";
import type { SessionHandle } from "../session.ts";
import { textOf } from "./conversation.ts";
import { floorText } from "./floor.ts";
import { nameOf, oneLine } from "./text.ts";

const MODES: readonly FloorMode[] = ["open", "queue", "owner-only", "hand"];

export class Turns {
  readonly #session: SessionHandle;
  readonly #self: () => string | undefined;
  readonly #notice: (line: string) => void;

  /** `self`: the id of the user who types. */
  constructor(session: SessionHandle, self: () => string | undefined, notice: (line: string) => void) {
    this.#session = session;
    this.#self = self;
    this.#notice = notice;
  }

  /** Whether the line was one of these commands, and is done. Rejects with what refuses it. */
  async take(line: string): Promise<boolean> {
    const [, verb, rest = ""] = /^\/(\w+)(?:\s+(\S.*))?$/.exec(line.trim()) ?? [];
    const session = this.#session;
    switch (verb) {
      case "queue":
        this.#list();
        return true;
      case "edit": {
        const [, number = "", text = ""] = /^(\d+)\s+(\S.*)$/.exec(rest) ?? [];
        await session.editInput(this.#nth(number).input, text);
        return true;
      }
      case "withdraw":
        await session.withdrawInput(this.#nth(rest).input);
        return true;
      case "first":
        await this.#first(this.#nth(rest));
        return true;
      case "floor":
        await this.#floor(rest);
        return true;
      case "take":
        await session.passFloor(this.#self());
        return true;
      case "pass":
        await session.passFloor(rest === "" ? undefined : rest);
        return true;
      default:
        return false;
    }
  }

  get #queue(): readonly QueuedInput[] {
    return this.#session.state?.queue ?? [];
  }

  #nth(number: string): QueuedInput {
    const input = this.#queue[Number(number) - 1];
    if (input === undefined) throw new Error("there is no such input: /queue lists them by number");
    return input;
  }

  /** Before all that this user may move. */
  async #first(input: QueuedInput): Promise<void> {
    const isOwner = this.#session.role === "owner";
    const movable = this.#queue.filter(({ actor }) => isOwner || actor?.id === this.#self());
    const others = movable.filter((item) => item !== input);
    await this.#session.orderInputs([input, ...others].map((item) => item.input));
  }

  async #floor(mode: string): Promise<void> {
    const found = MODES.find((item) => item === mode);
    if (found !== undefined) await this.#session.setFloor(found);
    else if (mode === "") this.#notice(`the floor: ${floorText(this.#session.floor)}`);
    else throw new Error(`the floor is one of ${MODES.join(", ")}`);
  }

  #list(): void {
    if (this.#queue.length === 0) this.#notice("nothing waits");
    for (const [at, { actor, agent, content, mode }] of this.#queue.entries()) {
      const name = actor === undefined ? "" : `${nameOf(actor.name)}: `;
      const ways = [
        ...(mode === "queue" ? [] : [mode]),
        ...(agent === undefined ? [] : [`to ${nameOf(agent)}`]),
      ];
      const how = ways.length === 0 ? "" : ` (${ways.join(", ")})`;
      this.#notice(`${at + 1} ${name}${oneLine(textOf(content), 100)}${how}`);
    }
  }
}
