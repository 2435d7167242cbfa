"""A client of the Haulout protocol, written from protocol/SPEC.md alone, with the Python standard library only.

Run as `python3 client.py ws://127.0.0.1:4787/ws` it checks a server over the JSON subprotocol: it prints one line a check
and exits 0 if all pass, 1 if one fails. The server needs the agent `demo` on the scripted model. It shows that the page is
enough, so it shares no code with the implementation and never looks at its sources.
"""
import base64, hashlib, json, os, secrets, select, socket, struct, sys, time, urllib.parse

PATIENCE = 20.0


class Closed(Exception):
    """The server closed the connection; `code` is its close code."""

    def __init__(self, code, reason=""):
        super().__init__(f"closed with {code} {reason}")
        self.code = code


class WebSocket:
    """RFC 6455, the client's side: handshake, masking, fragments, control frames."""

    def __init__(self, url, subprotocol):
        parts = urllib.parse.urlsplit(url)
        host = f"{parts.hostname}:{parts.port}"
        self.socket = socket.create_connection((parts.hostname, parts.port), timeout=PATIENCE)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""
        key = base64.b64encode(os.urandom(16)).decode()
        lines = [f"GET {parts.path or '/ws'} HTTP/1.1", f"Host: {host}", "Upgrade: websocket", "Connection: Upgrade",
                 f"Sec-WebSocket-Key: {key}", "Sec-WebSocket-Version: 13"]
        if subprotocol:
            lines.append(f"Sec-WebSocket-Protocol: {subprotocol}")
        self.socket.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        while b"\r\n\r\n" not in self.buffer:
            self.fill(time.monotonic() + PATIENCE)
        head, self.buffer = self.buffer.split(b"\r\n\r\n", 1)
        status, *fields = head.decode("latin-1").split("\r\n")
        headers = {name.strip().lower(): value.strip() for name, value in (line.split(":", 1) for line in fields)}
        assert status.split(" ")[1] == "101", status
        guid = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        expected = base64.b64encode(hashlib.sha1((key + guid).encode()).digest()).decode()
        assert headers.get("sec-websocket-accept") == expected, "wrong Sec-WebSocket-Accept"
        self.subprotocol = headers.get("sec-websocket-protocol")

    def fill(self, deadline):
        remaining = deadline - time.monotonic()
        if remaining <= 0 or not select.select([self.socket], [], [], remaining)[0]:
            raise TimeoutError("nothing came in time")
        data = self.socket.recv(65536)
        if not data:
            raise Closed(1006, "end of stream")
        self.buffer += data

    def take(self, count, deadline):
        while len(self.buffer) < count:
            self.fill(deadline)
        data, self.buffer = self.buffer[:count], self.buffer[count:]
        return data

    def send_frame(self, opcode, payload, final=True):
        first = (0x80 if final else 0) | opcode
        size = len(payload)
        if size < 126:
            head = struct.pack("!BB", first, 0x80 | size)
        elif size < 65536:
            head = struct.pack("!BBH", first, 0x80 | 126, size)
        else:
            head = struct.pack("!BBQ", first, 0x80 | 127, size)
        mask = os.urandom(4)
        stretched = (mask * (size // 4 + 1))[:size]
        masked = (int.from_bytes(payload, "big") ^ int.from_bytes(stretched, "big")).to_bytes(size, "big")
        self.socket.sendall(head + mask + masked)

    def send_text(self, text, fragments=1):
        payload = text.encode()
        step = max(1, -(-len(payload) // fragments))
        pieces = [payload[at:at + step] for at in range(0, len(payload), step)] or [b""]
        for index, piece in enumerate(pieces):
            self.send_frame(1 if index == 0 else 0, piece, index == len(pieces) - 1)

    def receive(self, deadline):
        """The next text message."""
        message = b""
        while True:
            try:
                first, second = self.take(2, deadline)
                size = second & 0x7F
                if size >= 126:
                    size = int.from_bytes(self.take(2 if size == 126 else 8, deadline), "big")
                assert not second & 0x80, "a server does not mask"
                payload = self.take(size, deadline)
            except (ConnectionError, BrokenPipeError) as error:
                raise Closed(1006, str(error)) from None
            opcode = first & 0x0F
            if opcode == 8:
                raise Closed(int.from_bytes(payload[:2], "big") if size else 1005, payload[2:].decode())
            if opcode == 9:
                self.send_frame(10, payload)
            elif opcode in (0, 1):
                message += payload
                if first & 0x80:
                    return message.decode()
            else:
                assert opcode == 10, f"opcode {opcode} on the JSON subprotocol"

    def cut(self):
        """Ends the connection as a broken cable would: without a close frame."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


class Client:
    """A connection that has said hello. Frames that nobody waited for yet stay in `inbox`."""

    def __init__(self, url, instance=None, hello=True):
        self.ws = WebSocket(url, "haulout.v1.json")
        self.inbox, self.ids = [], 0
        if hello:
            frame = {"type": "hello", "id": 0, "protocol": 1, "client": {"name": "client.py"}}
            self.write({**frame, "instance": instance} if instance else frame)
            self.welcome = self.wait("welcome", lambda frame: frame["id"] == 0)

    def write(self, *frames, fragments=1):
        self.ws.send_text("\n".join(json.dumps(frame) for frame in frames), fragments)

    def pump(self, deadline):
        for line in self.ws.receive(deadline).split("\n"):
            if line.strip():
                frame = json.loads(line)
                if frame["type"] == "ping":
                    self.write({"type": "pong"})
                else:
                    self.inbox.append(frame)

    def wait(self, kind, test=lambda frame: True, patience=PATIENCE):
        """Takes the first frame of this type that passes the test out of the inbox."""
        deadline = time.monotonic() + patience
        seen = 0
        while True:
            for at in range(seen, len(self.inbox)):
                if self.inbox[at]["type"] == kind and test(self.inbox[at]):
                    return self.inbox.pop(at)
            seen = len(self.inbox)
            self.pump(deadline)

    def ask(self, kind, **fields):
        """Sends a request and returns its answer, `ok` or `error`."""
        self.ids += 1
        self.write({"type": kind, "id": self.ids, **fields})
        return self.answer(self.ids)

    def answer(self, number):
        deadline = time.monotonic() + PATIENCE
        while True:
            for at, frame in enumerate(self.inbox):
                if frame["type"] in ("ok", "error") and frame.get("id") == number:
                    return self.inbox.pop(at)
            self.pump(deadline)

    def ok(self, kind, **fields):
        frame = self.ask(kind, **fields)
        assert frame["type"] == "ok", frame
        return frame

    def refused(self, code, kind, **fields):
        frame = self.ask(kind, **fields)
        assert frame["type"] == "error" and frame["code"] == code, frame
        assert isinstance(frame["message"], str) and isinstance(frame["retryable"], bool), frame
        return frame

    def closed(self):
        """The code with which the server closes, whatever frames come before."""
        try:
            while True:
                self.pump(time.monotonic() + PATIENCE)
        except Closed as end:
            return end.code


class Session:
    """A session as a reader keeps it: entries, texts by (message, part), the position to resume from."""

    def __init__(self, client, session, **attach):
        self.id, self.entries, self.state = session, [], None
        self.texts, self.kinds, self.settled, self.lost, self.position = {}, {}, {}, False, None
        self.attach(client, **attach)

    def attach(self, client, **attach):
        self.client, self.is_live = client, False
        self.reply = client.ok("attach", session=self.id, **attach)
        self.channel = self.reply["channel"]
        if self.reply["mode"] == "snapshot":
            self.state = self.reply["snapshot"]["state"]
            self.position = {"epoch": self.reply["snapshot"]["epoch"], "seq": self.reply["snapshot"]["seq"]}
        else:
            self.position = attach["after"]

    def take(self, frame):
        kind = frame["type"]
        mine = frame.get("channel") == self.channel if kind in ("part", "delta") else frame.get("session") == self.id
        if not mine or kind not in ("event", "live", "part", "delta"):
            return
        self.client.inbox.remove(frame)
        if kind == "event":
            self.entry(frame)
        elif kind == "live":
            assert frame["seq"] == self.position["seq"], "live before its position was reached"
            self.is_live, self.lost = True, False
            partial = frame.get("partial", {"parts": []})
            self.texts = {at: text for at, text in self.texts.items() if at[0] in self.settled}
            for part in partial["parts"]:
                self.texts[partial["message"], part["part"]] = part["text"]
                self.kinds[partial["message"], part["part"]] = part["kind"]
        else:
            assert self.is_live, f"{kind} before live"
            self.stream(frame, (frame["message"], frame["part"]))

    def entry(self, frame):
        assert frame["seq"] == self.position["seq"] + 1, f"seq {frame['seq']} after {self.position['seq']}"
        self.position = {"epoch": frame["epoch"], "seq": frame["seq"]}
        self.entries.append(frame)
        body = frame["event"]
        if body["type"] == "message":
            message = body["message"]
            self.settled[message["id"]] = "".join(p["text"] for p in message["parts"] if p["type"] == "text")
            self.lost = False
        elif body["type"] == "message-abandoned":
            self.settled[body["message"]] = None

    def stream(self, frame, at):
        if frame["message"] in self.settled or self.lost:
            return
        if frame["type"] == "part":
            self.texts[at], self.kinds[at] = "", frame["kind"]
            return
        have = len(self.texts.get(at, "").encode("utf-16-le")) // 2
        if at not in self.texts or frame["offset"] > have:
            self.lost = True
            return
        beyond = frame["text"].encode("utf-16-le")[2 * (have - frame["offset"]):]
        self.texts[at] += beyond.decode("utf-16-le")

    def streamed(self, message):
        """The text that came as parts and deltas of a message."""
        parts = sorted(at for at in self.texts if at[0] == message and self.kinds[at] == "text")
        return "".join(self.texts[at] for at in parts)

    def until(self, test, patience=PATIENCE):
        """Reads on until an entry passes the test; returns it."""
        deadline = time.monotonic() + patience
        looked = 0
        while True:
            for frame in list(self.client.inbox):
                self.take(frame)
            for entry in self.entries[looked:]:
                if test(entry["event"]):
                    return entry["event"]
            looked = len(self.entries)
            self.client.pump(deadline)

    def until_live(self):
        deadline = time.monotonic() + PATIENCE
        while True:
            for frame in list(self.client.inbox):
                self.take(frame)
            if self.is_live:
                return
            self.client.pump(deadline)

    def types(self):
        return [entry["event"]["type"] for entry in self.entries]


def key():
    return secrets.token_hex(8)


def script(*steps):
    return json.dumps({"script": list(steps)})


def finished(run):
    return lambda event: event["type"] == "run-finished" and event["run"] == run


def started(input_id):
    return lambda event: event["type"] == "run-started" and event["input"] == input_id


if __name__ == "__main__":
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    import checks

    sys.exit(checks.run(sys.argv[1]))
