/**
 * A server played by hand, without a socket: transports that the test opens, feeds and closes, and the frames that the
 * client wrote into them. Owns decoding; answers nothing by itself.
 */
import type { OpenTransport, TransportEvents } from "../../../client/transport.ts";
import { decodeBinary, decodeText, encodeFrame } from "../../../protocol/codec.ts";
import type { ServerFrame } from "../../../protocol/frames.ts";

export type Sent = Record<string, any> & { type: string };

export class Wire {
  readonly url: string;
  /** Every frame that the client wrote, in order. */
  readonly sent: Sent[] = [];
  closedByClient = false;
  readonly #events: TransportEvents;

  constructor(url: string, events: TransportEvents) {
    this.url = url;
    this.#events = events;
  }

  open(): void {
    this.#events.opened({
      send: (data) => {
        const frames = typeof data === "string" ? decodeText(data) : decodeBinary(data);
        for (const frame of frames) this.sent.push(frame as Sent);
      },
      close: () => {
        this.closedByClient = true;
      },
    });
  }

  /** Frames in one message. */
  feed(...frames: (ServerFrame | Record<string, unknown>)[]): void {
    this.#events.received(Buffer.concat(frames.map(encodeFrame)));
  }

  raw(data: Uint8Array | string): void {
    this.#events.received(data);
  }

  welcome(more: Record<string, unknown> = {}): void {
    this.feed({ ...WELCOME, ...more });
  }

  close(code: number, reason = ""): void {
    this.#events.closed(code, reason);
  }

  /** The frames of a type that the client wrote. */
  of(type: string): Sent[] {
    return this.sent.filter((frame) => frame.type === type);
  }
}

const WELCOME = {
  type: "welcome",
  protocol: 1,
  connection: "con_1",
  user: { id: "ann", name: "Ann" },
  node: "n",
  pingMs: 25_000,
  limits: { maxFrame: 1 << 20, maxInFlight: 32, maxPayload: 768 * 1024, maxQueue: 64 },
  features: [],
};

/** Opens hand-fed transports; `wires` are all that were asked for, the newest last. */
export function handTransport(): { open: OpenTransport; wires: Wire[]; readonly last: Wire } {
  const wires: Wire[] = [];
  return {
    wires,
    open(url, _protocols, events) {
      const wire = new Wire(url, events);
      wires.push(wire);
      return { send: () => undefined, close: () => (wire.closedByClient = true) };
    },
    get last() {
      return wires.at(-1)!;
    },
  };
}

/** Lets everything run that waits for a promise only. */
export function settled(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
