/**
 * The side that calls, under measurement: a Haulout server, a Socket.IO server or an HTTP client. Arguments: which, and the
 * provider's URL where this side connects. Each line of stdin is a number of bursts of 64 calls; its answer is the CPU that
 * the process spent on them. Owns nothing but the calling: each of the three is given the same calls and a deadline.
 */
import { once } from "node:events";
import { Agent, createServer, request } from "node:http";
import type { AddressInfo } from "node:net";
import { createInterface } from "node:readline";
import { Server } from "socket.io";
import type { Socket } from "socket.io";
import { startServer } from "../../server/server.ts";
import { BURST, CALL, TIMEOUT_MS, TOOL } from "./tool-call-shape.ts";

type Burst = () => Promise<void>;

async function haulout(store: "memory" | "embedded"): Promise<Burst> {
  const agents = [{ name: "caller", instructions: "" }];
  const server = await startServer({ port: 0, store, data: process.cwd(), log: "error", agents });
  console.log(`listening on http://127.0.0.1:${server.port}`);
  const { runtime } = server;
  const calls = Array.from({ length: BURST }, () => ({ tool: TOOL, input: CALL.input }));
  const content = JSON.stringify({ script: [{ calls }, { text: "done" }] });
  return async () => {
    // A session for each burst: a long history would be measured with the calls.
    const session = await runtime.createSession("caller");
    const { steps } = await runtime.sendTo(session, content);
    const good = steps.flatMap(({ results }) => results).filter(({ outcome }) => outcome === "ok").length;
    if (good !== BURST) throw new Error(`${good} calls of ${BURST} ended well`);
    await runtime.closeSession(session);
  };
}

async function socketIo(): Promise<Burst> {
  const http = createServer();
  const server = new Server(http, { transports: ["websocket"] });
  http.listen(0, "127.0.0.1");
  await once(http, "listening");
  console.log(`listening on http://127.0.0.1:${(http.address() as AddressInfo).port}`);
  const [socket] = (await once(server, "connection")) as [Socket];
  return async () => {
    await Promise.all(
      Array.from({ length: BURST }, () => socket.timeout(TIMEOUT_MS).emitWithAck("call", CALL)),
    );
  };
}

async function httpPost(url: string): Promise<Burst> {
  const agent = new Agent({ keepAlive: true, maxSockets: BURST });
  console.log("listening on http://127.0.0.1:0");
  const call = (): Promise<unknown> =>
    new Promise((resolve, reject) => {
      const body = JSON.stringify(CALL);
      const headers = { "content-type": "application/json", "content-length": Buffer.byteLength(body) };
      const posted = request(url, { method: "POST", agent, headers, timeout: TIMEOUT_MS }, (response) => {
        let text = "";
        response.setEncoding("utf8");
        response.on("data", (chunk: string) => (text += chunk));
        response.on("end", () => resolve(JSON.parse(text)));
      });
      posted.on("timeout", () => posted.destroy(new Error("timeout")));
      posted.on("error", reject);
      posted.end(body);
    });
  return async () => {
    await Promise.all(Array.from({ length: BURST }, call));
  };
}

const [kind = "", url = ""] = process.argv.slice(2);
const lines = createInterface({ input: process.stdin });
const making =
  kind === "socket.io"
    ? socketIo()
    : kind === "http"
      ? httpPost(url)
      : haulout(kind as "memory" | "embedded");
let last = Promise.resolve();
let answers = 0;
lines.on("line", (line) => {
  last = last.then(async () => {
    const burst = await making;
    const before = process.cpuUsage();
    for (let at = 0; at < Number(line); at++) await burst();
    const { user, system } = process.cpuUsage(before);
    console.log(`spent ${++answers} ${user + system}`);
  });
});
