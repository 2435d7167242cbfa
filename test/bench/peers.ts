/**
 * A server and its many clients, each in a process of its own, as benches start them. Owns starting and stopping the two
 * together; what they do is asked of each.
 */
import { Side } from "./side.ts";

export interface Peers {
  readonly server: Side;
  readonly clients: Side;
  /** Of the server, with http. */
  readonly url: string;
}

/** `more`: what peer-server.ts takes after its kind. */
export async function startPeers(
  kind: "haulout" | "socket.io" | "plain",
  started: Side[],
  ...more: readonly string[]
): Promise<Peers> {
  const server = Side.start("peer-server.ts", kind, ...more);
  started.push(server);
  const [, url = ""] = await server.child.waitForLine(/listening on (http:\S+)/, 60_000);
  const clients = Side.start("peer-client.ts", kind, url);
  started.push(clients);
  await clients.child.waitForLine(/^ready$/, 60_000);
  return { server, clients, url };
}

/** µs of the server's processor time while something is done. */
export async function spent(server: Side, work: () => Promise<unknown>): Promise<number> {
  const before = await server.number("cpu");
  await work();
  return (await server.number("cpu")) - before;
}
