/**
 * Which files' URLs reach a model: only those at public addresses, whatever form an address or a name has; the rest is
 * named. Also through a whole runtime, for the prompt of any model.
 */
import { FileGuard, isPublicAddress } from "../../../server/model/addresses.ts";
import { TestModel, calls, closeRuntimes, finishes, says, startRuntime } from "../../support/runtime.ts";
import { assert, suite } from "../../support/suite.ts";

const test = suite("addresses of files");
test.after.each(closeRuntimes);

const names: Record<string, string[]> = {
  "files.example.org": ["93.184.215.14", "2606:2800:220:1::1"],
  "rebound.example.org": ["93.184.215.14", "10.0.0.7"],
  "mapped.example.org": ["::ffff:127.0.0.1"],
  "nobody.example.org": [],
};
const resolve = async (name: string): Promise<readonly string[]> => {
  const found = names[name];
  if (found === undefined) throw new Error("ENOTFOUND");
  return found;
};

const REFUSED = [
  "http://files.example.org/x",
  "https://127.0.0.1/",
  "https://127.1/",
  "https://2130706433/",
  "https://0x7f000001/",
  "https://0177.0.0.1/",
  "https://0/",
  "https://10.1.2.3/",
  "https://172.31.255.255/",
  "https://192.168.0.1:8443/",
  "https://100.64.0.1/",
  "https://169.254.169.254/latest/meta-data/",
  "https://[::1]/",
  "https://[::]/",
  "https://[::ffff:10.0.0.1]/",
  "https://[::ffff:7f00:1]/",
  "https://[64:ff9b::a00:1]/",
  "https://[2002:a00:1::]/",
  "https://[fe80::1]/",
  "https://[fd00:ec2::254]/",
  "https://[ff02::1]/",
  "https://localhost/",
  "https://LOCALHOST./",
  "https://metadata.google.internal/",
  "https://printer.local/",
  "https://intranet/",
  "https://user@files.example.org/",
  "https://user:pass@93.184.215.14/",
  "https://rebound.example.org/",
  "https://mapped.example.org/",
  "https://nobody.example.org/",
  "https://unknown.example.org/",
  "https://①②⑦.0.0.1/",
  "ftp://files.example.org/",
  "https://",
];

test("what is private, local or of unclear meaning is not passed on", async () => {
  const guard = new FileGuard({ resolve });
  for (const url of REFUSED) assert.is(await guard.mayPass(url), false, url);
});

test("public names and addresses are", async () => {
  const guard = new FileGuard({ resolve });
  for (const url of [
    "https://files.example.org/a.png?x=1",
    "https://FILES.example.org.:8443/",
    "https://93.184.215.14/",
    "https://[2606:2800:220:1::1]/",
  ])
    assert.is(await guard.mayPass(url), true, url);
  assert.not(isPublicAddress("files.example.org"));
});

test("an operator may name hosts that are passed on unseen, and nothing beside them", async () => {
  const guard = new FileGuard({ resolve, fileHosts: ["10.0.0.9", "*.files.lan"] });
  assert.is(await guard.mayPass("http://10.0.0.9:9000/x"), true);
  assert.is(await guard.mayPass("https://a.files.lan/x"), true);
  for (const url of [
    "https://files.lan/",
    "https://10.0.0.8/",
    "https://evilfiles.lan/",
    "https://a@10.0.0.9/",
  ])
    assert.is(await guard.mayPass(url), false, url);
});

test("a name is asked for once in a while, however often it is used", async () => {
  let asked = 0;
  const guard = new FileGuard({
    resolve: async () => {
      asked++;
      return ["93.184.215.14"];
    },
  });
  for (let at = 0; at < 10; at++) await guard.mayPass(`https://files.example.org/${at}`);
  assert.is(asked, 1);
});

test("no model is shown a file that its provider must not fetch", async () => {
  const model = new TestModel([says("well"), finishes()]);
  const test = await startRuntime({ model, resolve });
  const session = await test.session();
  const file = (url: string) => ({ type: "file" as const, mediaType: "image/png", url });
  const urls = [
    "https://files.example.org/a.png",
    "http://169.254.169.254/latest",
    "data:image/png;base64,AA==",
  ];
  await test.run(session, urls.map(file));
  const [message] = model.requests[0]!.messages;
  const parts = message!.role === "user" ? message!.parts.slice(1) : [];
  assert.equal(parts, [
    file(urls[0]!),
    {
      type: "text",
      text: "[a file of type image/png at http://169.254.169.254/latest, which may not be opened]",
    },
    file(urls[2]!),
  ]);
});

test("no model is shown such a file in the result of a call, either", async () => {
  const model = new TestModel([calls("draw"), finishes("tool-calls")], [finishes()]);
  const file = (url: string) => ({ type: "file" as const, mediaType: "image/png", url });
  const urls = ["https://files.example.org/a.png", "http://169.254.169.254/latest"];
  const draw = { name: "draw", inputSchema: {}, execute: () => urls.map(file) };
  const test = await startRuntime({ model, resolve, tools: [draw] });
  await test.run(await test.session(), "draw");
  const message = model.requests[1]!.messages.at(-1);
  const [result] = message?.role === "tool" ? message.results : [];
  assert.equal(result?.parts, [
    file(urls[0]!),
    {
      type: "text",
      text: "[a file of type image/png at http://169.254.169.254/latest, which may not be opened]",
    },
  ]);
});

test.run();
