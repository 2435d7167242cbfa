/**
 * A bare client of Socket.IO for benches: a `ws` socket and the packets of engine.io 4 and socket.io 5 as text, with as
 * little around them as link.ts has. Owns connecting, acknowledgements and recovery; never reconnects by itself.
 */
import type { WebSocket } from "ws";
import { openSocket } from "./link.ts";

export class IoLink {
  readonly #socket: WebSocket;
  readonly #answers = new Map<number, () => void>();
  #lastId = 0;
  #pid = "";
  #offset = "";
  #connected: (() => void) | undefined;
  /** Called with every event: its name and its argument. */
  onEvent: (name: string, value: any) => void = () => undefined;

  private constructor(socket: WebSocket) {
    this.#socket = socket;
    socket.on("message", (data: Buffer) => this.#take(data.toString()));
  }

  /** `before`: a connection that was cut, to be recovered. */
  static async open(url: string, before?: IoLink): Promise<IoLink> {
    const link = new IoLink(await openSocket(`${url}/socket.io/?EIO=4&transport=websocket`));
    if (before !== undefined) link.#offset = before.#offset;
    const known = before && JSON.stringify({ pid: before.#pid, offset: before.#offset });
    await new Promise<void>((resolve) => {
      link.#connected = resolve;
      link.#socket.send(`40${known ?? ""}`);
    });
    return link;
  }

  /** Sends an event and waits until it is acknowledged. */
  request(name: string, value: unknown): Promise<void> {
    const id = ++this.#lastId;
    return new Promise((resolve) => {
      this.#answers.set(id, resolve);
      this.#socket.send(`42${id}${JSON.stringify([name, value])}`);
    });
  }

  /** Whether this connection is the one before, by its private id. */
  continues(before: IoLink): boolean {
    return this.#pid === before.#pid && this.#pid !== "";
  }

  close(): void {
    this.#socket.terminate();
  }

  /** Whether what comes is taken; what is not waits in the system. */
  set reading(on: boolean) {
    if (on) this.#socket.resume();
    else this.#socket.pause();
  }

  #take(packet: string): void {
    if (packet === "2") this.#socket.send("3");
    else if (packet.startsWith("40")) {
      this.#pid = (JSON.parse(packet.slice(2)) as { pid?: string }).pid ?? "";
      this.#connected?.();
    } else if (packet.startsWith("42")) {
      const [name, value, offset] = JSON.parse(packet.slice(2)) as [string, unknown, string | undefined];
      if (offset !== undefined) this.#offset = offset;
      this.onEvent(name, value);
    } else if (packet.startsWith("43")) {
      const at = packet.indexOf("[");
      const id = Number(packet.slice(2, at));
      JSON.parse(packet.slice(at));
      this.#answers.get(id)?.();
      this.#answers.delete(id);
    }
  }
}
