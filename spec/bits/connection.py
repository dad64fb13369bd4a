"""A request and the connection that it came over, and what was seen of all."""
import fcntl
import select
import socket
import ssl
import struct
import threading
import time
import urllib.parse

import answers
import faults

SIOCOUTQ = 0x5411


class Cut(Exception):
    """The connection is over."""


class Request:
    def __init__(self, line, lines):
        self.method, self.target, _ = line.split(" ", 2)
        if self.target.startswith("http://"):   # we are its proxy
            self.target = "/" + self.target[7:].partition("/")[2]
        self.path, _, query = self.target.partition("?")
        self.query = dict(p.partition("=")[::2] for p in query.split("&"))
        self.headers = {}
        for text in lines:
            name, _, value = text.partition(":")
            self.headers[name.strip().lower()] = value.strip()

    def get(self, name, default=None):
        return self.headers.get(name, default)

    def number(self, name, default=0):
        return int(self.query.get(name, default))


class State:
    """What was asked, and what is to happen next."""

    def __init__(self):
        self.lock = threading.Condition()
        self.connections = 0
        self.stalled, self.released = [], 0
        self.ports = []
        self.plans = {}
        self.forget()

    def forget(self):
        with self.lock:
            self.log, self.counts, self.stored = [], {}, {}
            answers.forget_chances()

    def way(self, r):
        """The way of this request, by how many there have been."""
        plan = r.query.get("head" if r.method == "HEAD" else "plan", "")
        key = (r.method == "HEAD", r.target)
        with self.lock:
            n = self.counts[key] = self.counts.get(key, 0) + 1
        steps = self.plans.get(plan)
        if steps is None:
            steps = self.plans[plan] = plan.split(",")
        words = steps[min(n, len(steps)) - 1]
        every = r.query.get("all")
        if every:
            words = every + "+" + words
        return faults.add(faults.Way(), words)

    def note(self, c, r, way):
        entry = {"port": c.port, "connection": c.number, "method": r.method,
                 "path": r.target, "headers": r.headers, "words": way.words,
                 "got": 0}
        with self.lock:
            entry["n"] = len(self.log) + 1
            self.log.append(entry)
        return entry

    def of(self, r):
        text = urllib.parse.unquote(r.query.get("of", ""))
        method = r.query.get("method", "")
        with self.lock:
            return [e for e in self.log if text in e["path"] and
                    method in ("", e["method"])]


class Connection:
    def __init__(self, sock, port, state):
        self.sock, self.port, self.state, self.input = sock, port, state, b""
        with state.lock:
            state.connections += 1
            self.number = state.connections

    # ---- reading ----

    def more(self):
        self.input += self.sock.recv(65536) or self.end("fin")

    def request(self):
        while b"\r\n\r\n" not in self.input:
            self.more()
            if self.input[0] == 0x16:  # TLS, to a port that knows none
                self.send(b"HTTP/1.1 400 x\r\nContent-Length: 0\r\n\r\n")
                self.end("fin")
        text, _, self.input = self.input.partition(b"\r\n\r\n")
        first, *lines = text.decode("latin-1").split("\r\n")
        r = Request(first, lines)
        self.path = r.path
        return r

    def body(self, r, most=None):
        """What of it comes; only `most` are read."""
        if r.get("expect", "").lower() == "100-continue" and most != 0:
            self.sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        parts = []
        if r.get("transfer-encoding") == "chunked":
            while True:
                while b"\r\n" not in self.input:
                    self.more()
                line, _, self.input = self.input.partition(b"\r\n")
                size = int(line, 16)
                parts.append(self.exactly(size))
                self.exactly(2)
                if size == 0:
                    return b"".join(parts)
        size = int(r.get("content-length", "0"))
        return self.exactly(size if most is None else min(size, most))

    def exactly(self, size):
        parts, have = [self.input[:size]], min(size, len(self.input))
        self.input = self.input[size:]
        while have < size:
            data = self.sock.recv(min(size - have, 1 << 20))
            if not data:
                raise Cut
            parts.append(data)
            have += len(data)
        return b"".join(parts)

    # ---- ending ----

    def end(self, how):
        """Everything that was sent has arrived before the end does."""
        if how == "rst":
            limit = time.monotonic() + 30
            while time.monotonic() < limit:
                left = struct.unpack("i", fcntl.ioctl(
                    self.sock.fileno(), SIOCOUTQ, b"\0\0\0\0"))[0]
                if left == 0:
                    break
                time.sleep(0.0005)
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                                 struct.pack("ii", 1, 0))
        raise Cut

    def end_unread(self, how):
        """The end, and not a reset, although not all was read."""
        if how == "fin":
            self.sock.shutdown(socket.SHUT_WR)
            self.sock.settimeout(60)
            while self.sock.recv(65536):
                pass
        self.end(how)

    def stall(self):
        """Until it is released, or nobody waits any more."""
        state = self.state
        with state.lock:
            state.stalled.append(self.path)
            ticket = state.released
            state.lock.notify_all()
        try:
            while True:
                with state.lock:
                    if state.released != ticket:
                        return
                    state.lock.wait(0.05)
                ready, _, _ = select.select([self.sock], [], [], 0)
                if ready and not isinstance(self.sock, ssl.SSLSocket) and \
                        not self.sock.recv(1, socket.MSG_PEEK):
                    raise Cut
        finally:
            with state.lock:
                if state.released == ticket:  # release has forgotten it else
                    state.stalled.remove(self.path)

    # ---- sending ----

    def send(self, data):
        self.sock.sendall(data)

    def send_piece(self, way, data, stop, stall):
        """Data with a hole in time and an end before its end."""
        data = memoryview(data)[:stop]
        if stall is not None:
            self.send(data[:stall])
            data = data[stall:]
            self.stall()
        if way.slow:
            for i in range(0, len(data), way.slow[0]):
                self.send(data[i:i + way.slow[0]])
                time.sleep(way.slow[1] / 1000)
        elif data:
            self.send(data)
        if stop is not None:
            self.end(way.stop)

    def answer(self, way, r, a):
        if way.interim:
            self.send(b"HTTP/1.1 103 x\r\nLink: </x>\r\n\r\n" * way.interim)
        lines, body, lives = answers.frame(way, a)
        head = answers.head(way, a, lines)
        if way.trouble:
            self.troubled(way.trouble, head)
        if r.method == "HEAD":
            body, way.body_stop = b"", None
        # Drawn before they have the answer, and may ask for other things.
        ends = way.keep and answers.chance(*way.keep[1:])
        plain = (way.head_stop is way.head_stall is way.body_stop is
                 way.body_stall is way.slow is None)
        if plain and len(body) < 65536:
            self.send(head + bytes(body))
        else:
            self.send_piece(way, head, way.head_stop, way.head_stall)
            self.send_piece(way, body, way.body_stop, way.body_stall)
        if not lives or r.get("connection", "").lower() == "close":
            self.end("fin")
        if ends:
            if way.keep[0] == "next":
                self.request()
            self.end("rst" if way.keep[0] == "rst" else "fin")

    def troubled(self, how, head):
        if how == "open":
            self.send(head[:-2])
            self.end("fin")
        if how == "old":
            self.send(b"this is a body without a header\n" * 4)
            self.end("fin")
        line = head[:head.index(b"\r\n") + 2]
        self.send(line + (b"X-Endless: " if how == "endless-line" else b""))
        piece = b"e" * 4096 if how == "endless-line" else b"X-Endless: e\r\n"
        for _ in range(1 << 16):     # until they hang up
            self.send(piece)
        self.end("fin")

    def say(self, text, status=200):
        data = text if isinstance(text, bytes) else text.encode()
        self.send(b"HTTP/1.1 %d x\r\nContent-Length: %d\r\n\r\n" %
                  (status, len(data)) + data)
