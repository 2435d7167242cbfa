/**
 * The transport: what a connection needs of a WebSocket and nothing more, and the way to open one (the platform's own,
 * or `ws`, loaded only in Node). Owns no state of the protocol and knows no frame.
 */
export interface Transport {
  send(data: Uint8Array | string): void;
  /** Lets go of the socket: asks the peer to close and waits for nothing. Events that still come must be ignored. */
  close(): void;
}

export interface TransportEvents {
  opened(transport: Transport): void;
  received(data: Uint8Array | string): void;
  /** Once, whatever ended it. 1006 without a close frame; `reason` may name the network's error. */
  closed(code: number, reason: string): void;
}

export type OpenTransport = (
  url: string,
  protocols: string[],
  events: TransportEvents,
) => Transport | Promise<Transport>;

/** Any WebSocket class with the browser's interface. */
export type WebSocketConstructor = new (
  url: string,
  protocols: string[],
) => { binaryType: string; send(data: never): void; close(code?: number, reason?: string): void };

interface Socket {
  binaryType: string;
  onopen: (() => void) | null;
  onmessage: ((event: { data: unknown }) => void) | null;
  onclose: ((event: { code: number; reason: string }) => void) | null;
  onerror: ((event: { message?: unknown }) => void) | null;
  send(data: Uint8Array | string): void;
  close(code: number, reason: string): void;
  terminate?(): void;
}

/** One inbound message holds at most some frames of 1 MiB. */
const MAX_MESSAGE_BYTES = 16 * 1024 * 1024;
const CLOSE_PATIENCE_MS = 1000;

const isNode =
  typeof process === "object" && process.versions?.node !== undefined && typeof window === "undefined";

/** Opens sockets of the given class, else of `ws` in Node and of the platform's WebSocket anywhere else. */
export function webSocketTransport(given: WebSocketConstructor | undefined): OpenTransport {
  return async (url, protocols, events) => {
    let socket: Socket;
    if (given === undefined && isNode) {
      const { WebSocket } = await import("ws");
      const options = { perMessageDeflate: false, maxPayload: MAX_MESSAGE_BYTES };
      socket = new WebSocket(url, protocols, options) as unknown as Socket;
    } else {
      const Class = given ?? globalThis.WebSocket;
      if (typeof Class !== "function")
        throw new Error("this platform has no WebSocket: pass one as an option");
      socket = new Class(url, protocols) as unknown as Socket;
    }
    return wire(socket, events);
  };
}

function wire(socket: Socket, events: TransportEvents): Transport {
  let failure = "";
  let over = false;
  socket.binaryType = "arraybuffer";
  socket.onopen = () => events.opened(transport);
  socket.onmessage = ({ data }) => {
    if (typeof data === "string") events.received(data);
    else if (data instanceof ArrayBuffer) events.received(new Uint8Array(data));
    else events.received(data as Uint8Array);
  };
  // A browser's error event says nothing; that of `ws` says why, and a close event follows either.
  socket.onerror = ({ message }) => {
    if (typeof message === "string") failure = message;
  };
  socket.onclose = ({ code, reason }) => {
    over = true;
    events.closed(code, reason || failure);
  };
  const transport: Transport = {
    send: (data) => socket.send(data),
    close() {
      if (over) return;
      socket.close(1000, "");
      // `ws` waits 30 s for the peer's answer and keeps the process alive; a browser lets go by itself.
      if (socket.terminate !== undefined)
        setTimeout(() => over || socket.terminate?.(), CLOSE_PATIENCE_MS).unref();
    },
  };
  return transport;
}
