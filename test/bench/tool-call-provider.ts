/**
 * The side that is called: a provider made with the client library, a Socket.IO client or an HTTP server, all of which
 * answer the same. Arguments: which, and the URL to connect to. Never measured.
 */
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { io } from "socket.io-client";
import { connect } from "../../client/index.ts";
import { ANSWER, BURST, TIMEOUT_MS, TOOL } from "./tool-call-shape.ts";

const [kind = "", url = ""] = process.argv.slice(2);

if (kind === "http") {
  const server = createServer((incoming, response) => {
    let text = "";
    incoming.setEncoding("utf8");
    incoming.on("data", (chunk: string) => (text += chunk));
    incoming.on("end", () => {
      JSON.parse(text);
      const body = JSON.stringify(ANSWER);
      response.writeHead(200, { "content-type": "application/json", "content-length": body.length });
      response.end(body);
    });
  });
  server.keepAliveTimeout = 600_000;
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  console.log(`listening on http://127.0.0.1:${(server.address() as AddressInfo).port}`);
} else if (kind === "socket.io") {
  const socket = io(url, { transports: ["websocket"] });
  socket.on("call", (_: unknown, answer: (value: unknown) => void) => answer(ANSWER));
  await new Promise<void>((resolve) => socket.once("connect", resolve));
  console.log("provides");
} else {
  const tool = {
    description: "Answers at once.",
    input: { type: "object", properties: { text: { type: "string" } } },
    effect: "pure" as const,
    timeoutMs: TIMEOUT_MS,
    execute: () => ANSWER.output,
  };
  await connect({ url }).provideTools({ [TOOL]: tool }, { maxConcurrent: BURST });
  console.log("provides");
}
