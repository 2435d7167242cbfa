"""The checks of client.py: each is a function, named by what it shows. Run through client.py."""
import time, traceback

from client import Client, Closed, Session, WebSocket, finished, key, script, started

CHECKS = []


def check(name):
    return lambda function: CHECKS.append((name, function)) or function


def new_session(client, **fields):
    created = client.ok("createSession", agent="demo", **fields)
    assert created["seq"] >= 1
    return Session(client, created["session"], after={"epoch": 0, "seq": 0})


def send(session, content, **fields):
    return session.client.ok("send", session=session.id, key=key(), content=content, **fields)


def run_of(session, answer):
    """The id of the run that a send led to."""
    return session.until(started(answer["input"]))["run"]


@check("the handshake agrees on the JSON subprotocol and hello is welcomed")
def hello(url):
    client = Client(url)
    welcome = client.welcome
    assert client.ws.subprotocol == "haulout.v1.json"
    assert welcome["protocol"] == 1 and welcome["user"]["id"] == "local" and welcome["pingMs"] > 0
    assert welcome["limits"]["maxFrame"] == 1048576 and welcome["limits"]["maxPayload"] == 786432
    assert isinstance(welcome["features"], list) and welcome["connection"] and welcome["node"]


@check("without a subprotocol the first message decides, and hello may name a user and have no id")
def no_subprotocol(url):
    ws = WebSocket(url, None)
    ws.send_text('{"type":"hello","protocol":1,"user":{"id":"ada","name":"Ada"}}')
    assert '"ada"' in ws.receive(time.monotonic() + 10)


@check("a message in fragments, with several frames in it, is read as its frames")
def fragments(url):
    client = Client(url)
    client.write({"type": "listAgents", "id": 7}, {"type": "listTools", "id": 8}, fragments=9)
    assert any(agent["name"] == "demo" for agent in client.answer(7)["items"])
    tools = {tool["name"]: tool for tool in client.answer(8)["items"]}
    assert tools["clock"]["scope"] == "server" and tools["clock"]["inputSchema"]["type"] == "object"


@check("attach from 0 gives every entry, then live")
def attach(url):
    session = new_session(Client(url), title="from Python", metadata={"a": [1, None, "ü"]})
    assert session.reply["mode"] == "events" and session.reply["session"]["title"] == "from Python"
    session.until_live()
    assert session.types() == ["session-created"]
    assert session.entries[0]["event"]["metadata"] == {"a": [1, None, "ü"]}
    assert session.position["epoch"] == session.reply["epoch"]


@check("a send is queued, run, streamed and committed, in that order")
def run_once(url):
    session = new_session(Client(url))
    sent = send(session, script({"text": "Grüße an die 🦭 am Strand. " * 4, "rate": 200, "chunk": 3}))
    assert sent["duplicate"] is False and sent["position"] == 0
    end = session.until(finished(run_of(session, sent)))
    assert end["reason"] == "text" and end["steps"] == 1 and end["usage"]["outputTokens"] >= 0
    assert session.types() == ["session-created", "input-queued", "run-started", "message", "message",
                               "step-finished", "run-finished"]
    queued = session.entries[1]
    assert queued["seq"] == sent["seq"] and queued["event"]["input"] == sent["input"]
    assert queued["actor"] == {"kind": "user", "id": "local", "name": queued["actor"]["name"], "verified": False}
    question, answer = (entry["event"]["message"] for entry in session.entries[3:5])
    assert question["id"] == sent["input"] and question["role"] == "user" and answer["role"] == "assistant"
    assert session.settled[answer["id"]] == "Grüße an die 🦭 am Strand. " * 4
    assert session.streamed(answer["id"]) == session.settled[answer["id"]]


@check("a repeated key answers the first send, and another content under it is a conflict")
def duplicate(url):
    session = new_session(Client(url))
    fields = {"session": session.id, "key": "same", "content": "hello"}
    first = session.client.ok("send", **fields)
    again = Client(url).ok("send", **fields)
    assert again["duplicate"] is True and (again["seq"], again["input"]) == (first["seq"], first["input"])
    session.client.refused("conflict", "send", **{**fields, "content": "other"})
    session.until(finished(run_of(session, first)))
    assert session.types().count("run-started") == 1


@check("cut at any time and resumed by position, a reader sees every entry once and no text twice")
def resume(url):
    writer = new_session(Client(url))
    reader = Session(Client(url), writer.id, after={"epoch": 0, "seq": 0})
    text = "".join(f"{n} Wellen 🌊 " for n in range(60))
    steps = [{"text": text, "rate": 150, "chunk": 5}, {"calls": [{"tool": "clock", "input": {}}]}]
    sent = send(writer, script(*steps, *steps, {"text": text, "rate": 150, "chunk": 5}))
    cuts, done = 0, False
    while not done:
        try:
            reader.until(lambda event: event["type"] == "run-finished", patience=0.11)
            done = True
        except TimeoutError:
            reader.client.ws.cut()
            reader.attach(Client(url), after=reader.position)
            assert reader.reply["mode"] == "events"
            cuts += 1
    writer.until(finished(run_of(writer, sent)))
    assert cuts >= 3, cuts
    assert reader.entries == writer.entries
    for message, committed in writer.settled.items():
        assert committed.startswith(reader.streamed(message)), message
        assert writer.streamed(message) in ("", committed)


@check("a snapshot in the middle of a run has the history, and live the text so far")
def snapshot(url):
    writer = new_session(Client(url))
    text = "eins zwei drei vier " * 30
    sent = send(writer, script({"text": text, "rate": 100, "chunk": 6}))
    run = run_of(writer, sent)
    writer.until_live()
    while not any(writer.texts.values()):
        writer.client.pump(time.monotonic() + 10)
        for frame in list(writer.client.inbox):
            writer.take(frame)
    late = Session(Client(url), writer.id)
    assert late.reply["mode"] == "snapshot" and late.state["run"]["run"] == run
    assert late.state["session"]["state"] == "running" and late.state["queue"] == []
    assert [message["id"] for message in late.state["messages"]] == [sent["input"]]
    late.until_live()
    assert any(late.texts.values()), "live carries the text so far"
    late.until(finished(run))
    writer.until(finished(run))
    assert late.entries == [entry for entry in writer.entries if entry["seq"] > late.state["seq"]]
    answer = writer.entries[-3]["event"]["message"]["id"]
    assert late.streamed(answer) == writer.streamed(answer) == text


@check("a position that the log does not have gives a snapshot")
def bad_position(url):
    session = new_session(Client(url))
    session.until_live()
    for after in ({"epoch": session.position["epoch"] + 1, "seq": 1}, {"epoch": session.position["epoch"], "seq": 99}):
        assert Session(Client(url), session.id, after=after).reply["mode"] == "snapshot"
    empty = Session(Client(url), session.id, after=session.position)
    empty.until_live()
    assert empty.reply["mode"] == "events" and empty.entries == []


ADD = {"name": "py_add", "description": "Adds.", "effect": "once",
       "inputSchema": {"type": "object", "properties": {"a": {"type": "number"}, "b": {"type": "number"}},
                       "required": ["a", "b"]}}


def provider(url, tool, instance=None):
    client = Client(url, instance or key())
    assert client.ok("offerTools", tools=[tool], maxConcurrent=4)["accepted"] == [tool["name"]]
    return client


def reference(call):
    return {name: call[name] for name in ("session", "call", "attempt")}


@check("a provider accepts a call, reports progress, and its result is stored once")
def provide(url):
    tools, session = provider(url, ADD), new_session(Client(url))
    listed = session.client.ok("listTools", session=session.id)["items"]
    assert any(tool["name"] == "py_add" and tool["effect"] == "once" for tool in listed)
    sent = send(session, script({"calls": [{"tool": "py_add", "input": {"a": 20, "b": 22}}]}, {"text": "done"}))
    call = tools.wait("call")
    assert call["tool"] == "py_add" and call["input"] == {"a": 20, "b": 22} and call["attempt"] == 1
    assert call["agent"] == "demo" and 0 < call["timeoutMs"] <= 60000
    tools.write({"type": "callAccepted", **reference(call)})
    session.until(lambda event: event["type"] == "tool-accepted" and event["call"] == call["call"])
    tools.write({"type": "callProgress", **reference(call), "progress": {"half": True}})
    seen = session.client.wait("toolProgress")
    assert seen["progress"] == {"half": True} and seen["call"] == call["call"]
    result = {"type": "callResult", **reference(call), "output": {"sum": 42}}
    for verdict in ("stored", "duplicate"):
        tools.write(result)
        ack = tools.wait("resultAck")
        assert ack["verdict"] == verdict and reference(ack) == reference(call), ack
    tools.write({**result, "call": "call_nobody"})
    assert tools.wait("resultAck")["verdict"] == "unknown"
    end = session.until(finished(run_of(session, sent)))
    assert end["reason"] == "text" and end["steps"] == 2
    results = [entry["event"] for entry in session.entries if entry["event"]["type"] == "tool-result"]
    assert len(results) == 1 and results[0]["outcome"] == "ok" and results[0]["output"] == {"sum": 42}
    history = session.client.ok("history", session=session.id)["items"]
    parts = [part for message in history for part in message["parts"] if part["type"] == "dynamic-tool"]
    assert parts[0]["state"] == "output-available" and parts[0]["output"] == {"sum": 42}
    tools.ok("withdrawTools")


@check("a tool's error and an input that breaks its schema become outcomes")
def tool_errors(url):
    tools, session = provider(url, ADD), new_session(Client(url))
    bad = {"tool": "py_add", "input": {"a": "x"}}
    sent = send(session, script({"calls": [bad, {"tool": "py_add", "input": {"a": 1, "b": 2}}]}, {"text": "so"}))
    call = tools.wait("call")
    tools.write({"type": "callAccepted", **reference(call)},
                {"type": "callResult", **reference(call), "error": {"code": "overflow", "message": "too much"}})
    assert tools.wait("resultAck")["verdict"] == "stored"
    session.until(finished(run_of(session, sent)))
    outcomes = {entry["event"]["outcome"]: entry["event"] for entry in session.entries
                if entry["event"]["type"] == "tool-result"}
    assert set(outcomes) == {"invalid-input", "error"} and outcomes["error"]["error"]["code"] == "overflow"
    tools.ok("withdrawTools")


@check("cancel reaches the provider, and the run ends cancelled")
def cancel(url):
    tools, session = provider(url, {**ADD, "name": "py_slow"}), new_session(Client(url))
    sent = send(session, script({"calls": [{"tool": "py_slow", "input": {"a": 1, "b": 2}}]}, {"text": "never"}))
    run = run_of(session, sent)
    call = tools.wait("call")
    tools.write({"type": "callAccepted", **reference(call)})
    session.until(lambda event: event["type"] == "tool-accepted")
    answer = session.client.ok("cancel", session=session.id, run=run)
    assert answer["state"] == "cancelling"
    assert reference(tools.wait("callCancel")) == reference(call)
    tools.write({"type": "callResult", **reference(call), "error": {"code": "cancelled", "message": "stopped"}})
    assert session.until(finished(run))["reason"] == "cancelled"
    assert session.client.ok("cancel", session=session.id, run=run)["state"] == "finished"
    results = [entry["event"] for entry in session.entries if entry["event"]["type"] == "tool-result"]
    assert [result["outcome"] for result in results] == ["cancelled"]
    assert session.entries[answer["seq"] - 1]["event"] == {"type": "cancel-requested", "run": run}
    again = send(session, "hello again")
    assert session.until(finished(run_of(session, again)))["reason"] == "text"
    tools.ok("withdrawTools")


@check("cancel during streaming keeps the text so far, marked incomplete")
def cancel_stream(url):
    session = new_session(Client(url))
    run = run_of(session, send(session, script({"text": "und so weiter " * 500, "rate": 100})))
    while not any(session.texts.values()):
        session.client.pump(time.monotonic() + 10)
        for frame in list(session.client.inbox):
            session.take(frame)
    session.client.ok("cancel", session=session.id, run=run)
    assert session.until(finished(run))["reason"] == "cancelled"
    message = [entry["event"] for entry in session.entries if entry["event"]["type"] == "message"][-1]
    assert message["incomplete"] is True and message["message"]["role"] == "assistant"
    assert session.settled[message["message"]["id"]].startswith("und so")


@check("the queue keeps its order, can be edited, and reject answers busy")
def queue(url):
    session = new_session(Client(url))
    first = send(session, script({"stall": 1500}, {"text": "one"}))
    run_of(session, first)
    second, third = send(session, "two"), send(session, "three")
    assert (second["position"], third["position"]) == (0, 1), (second, third)
    session.client.refused("busy", "send", session=session.id, key=key(), content="x", mode="reject")
    session.client.ok("withdrawInput", session=session.id, input=second["input"])
    session.client.ok("editInput", session=session.id, input=third["input"], content="edited")
    session.until(finished(run_of(session, third)))
    texts = [entry["event"]["message"]["parts"][0]["text"] for entry in session.entries
             if entry["event"]["type"] == "message" and entry["event"]["message"]["role"] == "user"]
    assert len(texts) == 2 and texts[1] == "edited" and session.settled[first["input"]] == texts[0]
    session.client.refused("conflict", "editInput", session=session.id, input=third["input"], content="late")


@check("history and lists come in pages, sessions can be renamed, closed and deleted")
def pages(url):
    client = Client(url)
    session = new_session(client, session=f"py-{key()}", key="k")
    assert client.ok("createSession", agent="demo", session=session.id, key="k")["session"] == session.id
    client.refused("conflict", "createSession", agent="demo", session=session.id)
    for word in ("one", "two", "three"):
        session.until(finished(run_of(session, send(session, word))))
    seqs, cursor = [], {}
    while cursor is not None:
        page = client.ok("history", session=session.id, limit=2, **cursor)
        assert [item["seq"] for item in page["items"]] == sorted(item["seq"] for item in page["items"])
        seqs = [item["seq"] for item in page["items"]] + seqs
        cursor = {"cursor": page["cursor"]} if "cursor" in page else None
    assert len(seqs) == 6 and seqs == sorted(set(seqs))
    client.ok("updateSession", session=session.id, title="renamed")
    found, cursor = [], {}
    while cursor is not None:
        page = client.ok("listSessions", limit=200, **cursor)
        found += [item for item in page["items"] if item["id"] == session.id]
        cursor = {"cursor": page["cursor"]} if "cursor" in page else None
    assert len(found) == 1 and found[0]["title"] == "renamed"
    closed = client.ok("close", session=session.id)
    assert client.ok("close", session=session.id)["seq"] == closed["seq"]
    client.refused("closed", "send", session=session.id, key=key(), content="late")
    assert client.ok("history", session=session.id)["items"]
    session.until(lambda event: event["type"] == "session-closed")
    client.ok("deleteSession", session=session.id)
    assert client.wait("detached")["reason"] == "deleted"
    client.refused("not-found", "attach", session=session.id)
    client.refused("conflict", "createSession", agent="demo", session=session.id)


@check("faults are answered by typed errors, and the connection goes on")
def errors(url):
    client = Client(url)
    client.refused("unknown-frame", "makeCoffee")
    client.refused("not-found", "attach", session="nobody")
    client.refused("not-found", "createSession", agent="nobody")
    client.refused("bad-frame", "attach", session="not an id")
    client.refused("bad-frame", "send", session="s", key="k", content=[])
    for line in ("no JSON", '{"type":"attach","id":1,"session":"s","x":9007199254740993}', "[]", '{"type":"x","y":"\\ud800"}'):
        client.ws.send_text(line)
        error = client.wait("error")
        assert error["code"] == "bad-frame" and "id" not in error, error
    session = new_session(client)
    client.refused("too-large", "send", session=session.id, key=key(), content="x" * 800000)
    client.refused("not-found", "cancel", session=session.id, run="run_nobody")
    assert client.ok("listAgents")["items"]


@check("hostile peers are closed with the code of the table")
def closes(url):
    silent = Client(url, hello=False)
    silent.write({"type": "listAgents", "id": 1})
    assert silent.wait("error")["code"] == "hello-required" and silent.closed() == 4500
    future = Client(url, hello=False)
    future.write({"type": "hello", "id": 1, "protocol": 2})
    assert future.wait("error")["code"] == "unsupported-protocol" and future.closed() == 4503
    noisy = Client(url)
    noisy.write(*({"type": "nonsense", "id": n} for n in range(10)))
    assert noisy.closed() == 4500
    large = Client(url)
    try:
        large.ws.send_text('"' + "x" * 1100000)
        assert large.closed() in (1009, 1006)
    except (Closed, ConnectionError):
        pass
    old = Client(url, "the same instance")
    assert Client(url, "the same instance").welcome["connection"] != old.welcome["connection"]
    assert old.closed() == 4510


def run(url):
    failed = 0
    for name, function in CHECKS:
        try:
            function(url)
            print(f"ok    {name}", flush=True)
        except Exception as error:  # noqa: BLE001 - a check may fail in any way
            failed += 1
            place = traceback.extract_tb(error.__traceback__)[-1]
            print(f"FAIL  {name}: {type(error).__name__} {error} ({place.name}, line {place.lineno})", flush=True)
            traceback.print_exc()
    print(f"{len(CHECKS) - failed} passed, {failed} failed", flush=True)
    return 1 if failed else 0
