/**
 * A client that is online, and a session's log, with the server played by hand: what it answers to attach and send, and how
 * a connection is lost and found again. Owns shapes; what is checked is in the tests.
 */
import { connect } from "../../../client/index.ts";
import type { SessionHandle } from "../../../client/index.ts";
import type { EventFrame } from "../../../protocol/entries.ts";
import type { SessionState } from "../../../protocol/frames.ts";
import { fold } from "../../../protocol/state.ts";
import { manualClock } from "./clock.ts";
import { Log } from "./entries.ts";
import { handTransport, settled } from "./wire.ts";
import type { Sent } from "./wire.ts";

export async function make() {
  const clock = manualClock();
  const transport = handTransport();
  const client = connect({ url: "ws://host/ws", clock, transport: transport.open });
  await settled();
  transport.last.open();
  transport.last.welcome();
  await settled();
  const log = new Log();
  log.created();
  /** The newest request of a type. */
  const request = (type: string): Sent => transport.last.of(type).at(-1)!;
  const stateOf = (entries: readonly EventFrame[]): SessionState =>
    entries.reduce<SessionState | undefined>(fold, undefined)!;
  const attached = (mode: "events" | "snapshot") => {
    const state = stateOf(log.entries);
    const { epoch, seq } = state;
    return {
      type: "ok",
      id: request("attach")["id"],
      session: state.session,
      channel: 7,
      epoch,
      head: seq,
      mode,
      ...(mode === "snapshot" ? { snapshot: { epoch, seq, state } } : {}),
    };
  };
  const live = (more: object = {}) => {
    const { epoch, seq } = log.entries.at(-1)!;
    return { type: "live", session: "ses_1", epoch, seq, ...more };
  };
  /** Attaches by a snapshot and is caught up. */
  const attach = async (): Promise<SessionHandle> => {
    const handle = client.attach("ses_1");
    transport.last.feed(attached("snapshot"), live());
    await settled();
    clock.advance(0);
    return handle;
  };
  const again = async (): Promise<void> => {
    transport.last.close(1006);
    clock.advance(1000);
    await settled();
    transport.last.open();
    transport.last.welcome();
  };
  const part = (message: string) => ({ type: "part", channel: 7, message, part: 0, kind: "text" });
  const delta = (message: string, offset: number, text: string) => ({
    type: "delta",
    channel: 7,
    message,
    part: 0,
    offset,
    text,
  });
  const sent = (more: object) => ({
    type: "ok",
    id: request("send")["id"],
    seq: 2,
    position: 0,
    duplicate: false,
    ...more,
  });
  return {
    clock,
    transport,
    client,
    log,
    request,
    attached,
    live,
    attach,
    again,
    part,
    delta,
    sent,
    stateOf,
  };
}
