"""A file server with every fault that a server can have, chosen by the URL and
by how often it was asked for before: nothing here happens by chance that does
not happen again.

    python3 spec/bits/server.py [--hosts] [--tls DIR]

Prints its ports in one line, serves until its input ends. Two of them are http
(the second: another origin); with --tls four more are https: 127.0.0.1 with a
certificate of DIR/ca.pem, another name's, one that is over, one of nobody. With
--hosts the first port is at all of 127.0.0.0/8: as many hosts as one likes.

    /f/NAME?size=N&plan=drop:1000,503:2,ok     the first request for this URL
        (its query, too) gets the first way, and so on; the last is for all
        that follow. `all=` is added to each of them, `head=` is the plan of
        HEAD. Words and what they do: faults.py. What is in it: answers.py,
        content. Ports count together. PUT and POST are stored.
    /to/3/f/…  /to/away/f/…    a redirect, each time (words: redirect)
    /u/NAME?…                  what was stored there, with the MD5 as its ETag

    /!log[?of=TEXT&method=GET] what was asked, if that is in its URL: a JSON
        list of { n, port, connection, method, path, headers, words, got }
    /!count[?…]                how many that are
    /!range[?…]                what the last of them asked for: "4904-", "none"
    /!words[?…]                one line for each of them
    /!connections              how many connections there have been
    /!stalled?count=N[&of=PREFIX]    waits until N requests are stalled (120 s)
    /!release                  lets all go that are stalled now
    /!reset                    forgets what was asked, counted and stored
    /!sha256/NAME?size=N&version=V[&gzip]    of what ought to come
    /!body/NAME?…              that itself
    /!stored/NAME              "size sha256" of what was stored, or 404
"""
import fcntl
import gzip
import hashlib
import json
import os
import select
import socket
import ssl
import struct
import sys
import threading
import time
import urllib.parse

sys.dont_write_bytecode = True
import answers  # noqa: E402
import certificates  # noqa: E402
import faults  # noqa: E402

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


class Server:
    def __init__(self, state):
        self.state = state

    def serve(self, c, r):
        if r.path.startswith("/!"):
            c.body(r)
            name, _, rest = r.path[2:].partition("/")
            return getattr(self, "do_" + name)(c, r, rest)
        if r.path.startswith("/to/"):
            _, _, where, rest = r.target.split("/", 3)
            way = faults.Way()
            self.state.note(c, r, way)
            way.redirect = where, 307
            if where.isdigit():
                n = int(where) - 1
                rest, way.redirect = f"to/{n}/{rest}" if n else rest, ("here", 307)
            c.body(r)
            return c.answer(way, r, self.redirect(way, "/" + rest))
        way = self.state.way(r)
        entry = self.state.note(c, r, way)
        if way.early:
            return self.early(c, r, way)
        if way.take is not None:
            c.body(r, way.take)
            c.end_unread(way.stop)
        data = c.body(r)
        entry["got"] = len(data)
        a = self.special(r, way)
        if a is None and r.method in ("PUT", "POST"):
            a = self.put(c, r, way, data)
        if a is None:
            a = self.get(r, way)
        c.answer(way, r, a)

    # ---- answers ----

    def special(self, r, way):
        needed = {401: "authorization", 407: "proxy-authorization"}
        if way.login and not r.get(needed[way.login]):
            way.status = way.login
        if way.redirect:
            return self.redirect(way, r.target)
        if way.status:
            return answers.of_status(way, way.size or r.number("size"))
        return None

    def redirect(self, way, path):
        where, status = way.redirect
        plain, away, *tls = self.state.ports
        port = {"away": away, "https": (tls or [0])[0]}.get(where, plain)
        to = {"https": f"https://127.0.0.1:{port}{path}",
              "http": f"http://127.0.0.1:{port}{path}",
              "away": f"http://127.0.0.1:{port}{path}",
              "file": "file:///etc/hostname", "ftp": f"ftp://127.0.0.1{path}",
              "user": f"http://user:password@127.0.0.1:{port}{path}",
              "space": f"http://127.0.0.1:{port}{path}&of=a b\u00e9",
              "garbage": "http://[::1/%zz", "two": path}.get(where, path)
        fields = [] if where == "none" else [("Location", to)]
        if where == "two":
            fields.append(("Location", path + "&second"))
        return answers.Answer(status, fields, b"elsewhere\n")

    def get(self, r, way):
        name = r.path[3:]
        if r.method == "HEAD" and way.head_size is not None:
            data = answers.Answer(200, [], bytes(way.head_size))
        elif r.path.startswith("/u/"):
            with self.state.lock:
                data = self.state.stored.get(name)
            if data is None:
                way.status = 404
                return answers.of_status(way, 0)
            tag = f'"{hashlib.md5(data).hexdigest()}"'
            data = answers.of_bytes(way, r, data, [], tag)
        else:
            size = r.number("size") if way.size is None else way.size
            data = answers.of_file(way, r, name, size)
        return data

    def put(self, c, r, way, data):
        tag = hashlib.md5(data).hexdigest()
        kept = {"half": data[:len(data) // 2], "nothing": None,
                "other": bytes(b ^ 1 for b in data)}.get(way.store, data)
        if kept is not None:
            with self.state.lock:
                self.state.stored[r.path[3:]] = kept
        if way.lost:
            c.end("fin")
        if way.store == "etag":
            tag = hashlib.md5(b"something else").hexdigest()
        fields = [] if way.store == "none" else [("ETag", f'"{tag}"')]
        return answers.Answer(201, fields, b"")

    def early(self, c, r, way):
        way.status, then = way.early
        c.answer(way, r, answers.of_status(way, 0))
        if then == "read":
            return c.body(r)
        if then == "stay":
            c.stall()
        c.end_unread("fin")

    # ---- what tests ask ----

    def do_log(self, c, r, rest):
        c.say(json.dumps(self.state.of(r)))

    def do_count(self, c, r, rest):
        c.say(str(len(self.state.of(r))))

    def do_range(self, c, r, rest):
        last = ([{"headers": {}}] + self.state.of(r))[-1]["headers"]
        c.say(last.get("range", "none").replace("bytes=", ""))

    def do_words(self, c, r, rest):
        c.say("".join(f"    {e['connection']} {e['method']} {e['words']} "
                      f"{e['headers'].get('range', '')}\n"
                      for e in self.state.of(r)))

    def do_connections(self, c, r, rest):
        c.say(str(self.state.connections))

    def do_stalled(self, c, r, rest):
        limit = time.monotonic() + 120
        state = self.state
        prefix = urllib.parse.unquote(r.query.get("of", ""))
        with state.lock:
            while True:
                count = sum(p.startswith(prefix) for p in state.stalled)
                if count >= r.number("count") or time.monotonic() > limit:
                    break
                state.lock.wait(1)
        c.say(str(count))

    def do_release(self, c, r, rest):
        with self.state.lock:
            self.state.released += 1
            self.state.stalled.clear()
            self.state.lock.notify_all()
        c.say("")

    def do_reset(self, c, r, rest):
        self.state.forget()
        c.say("")

    def do_body(self, c, r, rest):
        c.say(answers.content(rest, r.number("size"), r.number("version")))

    def do_sha256(self, c, r, rest):
        data = answers.content(rest, r.number("size"), r.number("version"))
        if "gzip" in r.query:
            data = gzip.compress(data, mtime=0)
        c.say(hashlib.sha256(data).hexdigest())

    def do_stored(self, c, r, rest):
        with self.state.lock:
            data = self.state.stored.get(rest)
        if data is None:
            return c.say("", 404)
        c.say(f"{len(data)} {hashlib.sha256(data).hexdigest()}")


def carry(sock, port, server, context):
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if context is not None:
            sock = context.wrap_socket(sock, server_side=True)
        c = Connection(sock, port, server.state)
        while True:
            server.serve(c, c.request())
    except (Cut, OSError):
        pass
    except Exception as e:   # a word that is none: the test is wrong
        print(f"spec/bits/server.py: {e!r}", file=sys.stderr)
    finally:
        sock.close()


def listen(server, number, context=None, hosts=False):
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if hosts:
        listener.setsockopt(socket.SOL_SOCKET, 25, b"lo\0")  # BINDTODEVICE
    listener.bind(("0.0.0.0" if hosts else "127.0.0.1", 0))
    listener.listen(512)

    def accept():
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:          # too many open files: later
                time.sleep(0.01)
                continue
            threading.Thread(target=carry, daemon=True,
                             args=(sock, number, server, context)).start()

    threading.Thread(target=accept, daemon=True).start()
    return listener.getsockname()[1]


def main():
    state, contexts = State(), []
    if "--tls" in sys.argv:
        contexts = certificates.make(sys.argv[sys.argv.index("--tls") + 1])
    server = Server(state)
    state.ports = [listen(server, 0, hosts="--hosts" in sys.argv),
                   listen(server, 1)]
    state.ports += [listen(server, 2 + i, c) for i, c in enumerate(contexts)]
    print(*state.ports, flush=True)
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    main()
