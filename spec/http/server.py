"""An HTTP server that does everything wrong that a server can do wrong, by the
first part of the path; what is behind it is a number, or a token that counts
apart. Prints its port, serves until its input ends.

    python3 spec/http/server.py [--tls DIR [--name HOST]]

With --tls it makes a certificate of its own for HOST, DIR/ca.pem.
"""
import hashlib
import socket
import ssl
import struct
import subprocess
import sys
import threading
import urllib.parse


def pattern(n, start=0):
    return bytes((i * 7 + 3) % 251 for i in range(start, start + n))


class State:
    """What was seen, by token."""

    def __init__(self):
        self.lock = threading.Condition()
        self.seen = {}
        self.inside = {}
        self.most = {}
        self.open = set()
        self.connections = 0

    def note(self, token, text):
        with self.lock:
            self.seen.setdefault(token, []).append(text)
            return len(self.seen[token])


class Cut(Exception):
    """The connection is over."""


class Request:
    def __init__(self, method, target, headers, connection):
        self.method, self.target, self.headers = method, target, headers
        self.connection = connection
        self.path = target.split("?")[0].strip("/").split("/")
        self.body = None

    def get(self, name, default=None):
        for k, v in self.headers:
            if k.lower() == name.lower():
                return v
        return default


class Connection:
    def __init__(self, sock, state):
        self.sock, self.state = sock, state
        self.file = sock.makefile("rb")
        self.requests = 0
        with state.lock:
            state.connections += 1
            self.number = state.connections

    def send(self, data):
        try:
            self.sock.sendall(data)
        except OSError as e:
            raise Cut from e

    def reset(self):
        """The other side is told that there never was anybody."""
        self.sock.setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raise Cut

    def answer(self, status, body=b"", fields=(), head=False):
        text = f"HTTP/1.1 {status} x\r\nContent-Length: {len(body)}\r\n"
        text += "".join(f"{k}: {v}\r\n" for k, v in fields) + "\r\n"
        self.send(text.encode("latin-1") + (b"" if head else body))

    def read_request(self):
        line = self.file.readline(65536)
        if not line:
            raise Cut
        method, target, _ = line.decode("latin-1").split(" ", 2)
        headers = []
        while True:
            line = self.file.readline(65536)
            if not line:
                raise Cut
            line = line.decode("latin-1").rstrip("\r\n")
            if not line:
                break
            k, _, v = line.partition(":")
            headers.append((k, v.strip()))
        self.requests += 1
        return Request(method, target, headers, self)

    def read_body(self, r):
        if (r.get("expect") or "").lower() == "100-continue":
            self.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        n = int(r.get("content-length", "0"))
        r.body = self.file.read(n) if n else b""
        if len(r.body) < n:
            raise Cut


class Faults:
    """One method a fault. The name is the first part of the path."""

    def __init__(self, state):
        self.state = state

    # ---- what is right ----

    def ok(self, c, r):
        n = int(r.path[1])
        asked = r.get("range")
        if not asked:
            return c.answer(200, pattern(n), [("ETag", '"e"')],
                            r.method == "HEAD")
        first, _, last = asked[len("bytes="):].partition("-")
        first, last = int(first), int(last) if last else n - 1
        if first >= n:
            return c.answer(416, b"", [("Content-Range", f"bytes */{n}")])
        last = min(last, n - 1)
        return c.answer(206, pattern(last - first + 1, first),
                        [("Content-Range", f"bytes {first}-{last}/{n}")])

    def chunked(self, c, r):
        data = pattern(int(r.path[1]))
        c.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for i in range(0, len(data), 1000):
            part = data[i:i + 1000]
            c.send(b"%x\r\n%s\r\n" % (len(part), part))
        c.send(b"0\r\nX-Trailer: 1\r\n\r\n")

    def unending(self, c, r):
        c.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" +
               pattern(int(r.path[1])))
        raise Cut

    def headers(self, c, r):
        lines = "".join(f"{k}: {v}\n" for k, v in r.headers)
        self.state.note(r.path[1] if len(r.path) > 1 else "", lines)
        c.answer(200, f"{r.method} {r.target}\n{lines}".encode("latin-1"))

    def inbox(self, c, r):
        """/inbox/TOKEN: /seen/TOKEN has what was sent, a line for each."""
        self.state.note(r.path[1], r.body.decode("latin-1"))
        c.answer(200)

    def echo(self, c, r):
        c.answer(200, f"{r.method} {len(r.body)} "
                 f"{hashlib.md5(r.body).hexdigest()}".encode())

    def status(self, c, r):
        c.answer(int(r.path[1]), b"nothing\n", [("Retry-After", "7")],
                 int(r.path[1]) in (204, 304))

    def interim(self, c, r):
        c.send(b"HTTP/1.1 100 Continue\r\n\r\n"
               b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
        c.answer(200, b"late")

    def connection(self, c, r):
        c.answer(200, str(c.number).encode())

    # ---- lengths ----

    def short(self, c, r):
        n = int(r.path[1])
        c.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % n +
               pattern(n // 2))
        raise Cut

    def long(self, c, r):
        n = int(r.path[1])
        c.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % n +
               pattern(n + 100))
        raise Cut

    def raw(self, c, r, text):
        c.send(text)
        raise Cut

    RAW = {
        "twolengths": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n"
                      b"Content-Length: 3\r\n\r\nabcde",
        "samelengths": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n"
                       b"Content-Length: 5\r\n\r\nabcde",
        "negative": b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nabcde",
        "overflow": b"HTTP/1.1 200 OK\r\n"
                    b"Content-Length: 99999999999999999999\r\n\r\nabcde",
        "words": b"HTTP/1.1 200 OK\r\nContent-Length: 5 or so\r\n\r\nabcde",
        "both": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n"
                b"Transfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n0\r\n\r\n",
        "tegzip": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n"
                  b"\r\n5\r\nabcde\r\n0\r\n\r\n",
        "badchunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                    b"zz\r\nabcde\r\n0\r\n\r\n",
        "cutchunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                    b"5\r\nabcde\r\n",
        "cuthead": b"HTTP/1.1 200 OK\r\nContent-Le",
        "nohead": b"HTTP/1.1 200 OK\r\nServer: x\r\n",
        "garbage": b"\x00\x01\x02 nothing of the kind\r\n\r\n",
        "old": b"abcde",
        "nul": b"HTTP/1.1 200 OK\r\nX-A: a\x00b\r\nContent-Length: 2\r\n\r\nab",
        "return": b"HTTP/1.1 200 OK\r\nX-A: a\rX-B: b\r\n"
                  b"Content-Length: 2\r\n\r\nab",
        "folded": b"HTTP/1.1 200 OK\r\nX-A: a\r\n b\r\nContent-Length: 2\r\n"
                  b"\r\nab",
        "colonless": b"HTTP/1.1 200 OK\r\nnothing\r\nContent-Length: 2\r\n\r\nab",
        "badstatus": b"HTTP/1.1 2x0 OK\r\nContent-Length: 2\r\n\r\nab",
        "bigline": b"HTTP/1.1 200 OK\r\nX-A: " + b"a" * 300000 +
                   b"\r\nContent-Length: 2\r\n\r\nab",
        "manylines": b"HTTP/1.1 200 OK\r\n" +
                     b"".join(b"X-%d: a\r\n" % i for i in range(3000)) +
                     b"Content-Length: 2\r\n\r\nab",
        "gzip": b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n"
                b"Content-Length: 5\r\n\r\n\x1f\x8b\x08ab",
        "manyinterim": b"HTTP/1.1 103 Hints\r\n\r\n" * 500 +
                       b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab",
        "unasked": b"HTTP/1.1 206 Part\r\nContent-Range: bytes 0-4/10\r\n"
                   b"Content-Length: 5\r\n\r\nabcde",
        # These are asked for bytes 10 to 19.
        "shifted": b"HTTP/1.1 206 Part\r\nContent-Range: bytes 11-20/100\r\n"
                   b"Content-Length: 10\r\n\r\n0123456789",
        "earlier": b"HTTP/1.1 206 Part\r\nContent-Range: bytes 8-19/100\r\n"
                   b"Content-Length: 12\r\n\r\n0123456789ab",
        "more": b"HTTP/1.1 206 Part\r\nContent-Range: bytes 10-29/100\r\n"
                b"Content-Length: 20\r\n\r\n01234567890123456789",
        "less": b"HTTP/1.1 206 Part\r\nContent-Range: bytes 10-14/100\r\n"
                b"Content-Length: 5\r\n\r\n01234",
        "unsaid": b"HTTP/1.1 206 Part\r\nContent-Length: 10\r\n\r\n0123456789",
        "backwards": b"HTTP/1.1 206 Part\r\nContent-Range: bytes 19-10/100\r\n"
                     b"Content-Length: 10\r\n\r\n0123456789",
        "beyond": b"HTTP/1.1 206 Part\r\nContent-Range: bytes 10-19/15\r\n"
                  b"Content-Length: 10\r\n\r\n0123456789",
        "rangelength": b"HTTP/1.1 206 Part\r\nContent-Range: bytes 10-19/100\r\n"
                       b"Content-Length: 7\r\n\r\n0123456",
        "rangeclose": b"HTTP/1.1 206 Part\r\n"
                      b"Content-Range: bytes 10-19/100\r\n\r\n01234",
        "multipart": b"HTTP/1.1 206 Part\r\n"
                     b"Content-Type: multipart/byteranges; boundary=x\r\n"
                     b"Content-Length: 5\r\n\r\n--x--",
    }

    def endlesshead(self, c, r):
        c.send(b"HTTP/1.1 200 OK\r\n")
        while True:
            c.send(b"X-Again: and again\r\n" * 100)

    def endlessbody(self, c, r):
        c.send(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            c.send(b"and again " * 1000)

    # ---- time ----

    def stall(self, c, r):
        with self.state.lock:
            self.state.open.add(r.path[1])
            self.state.lock.notify_all()
        c.file.read(1)
        raise Cut

    def stallbody(self, c, r):
        c.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" +
               pattern(100))
        c.file.read(1)
        raise Cut

    def drip(self, c, r):
        n = int(r.path[1])
        c.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % n)
        for b in pattern(n):
            c.send(bytes([b]))
            threading.Event().wait(0.02)

    def hold(self, c, r):
        """Answers once /release/TOKEN was asked for; counts how many wait."""
        token, s = r.path[1], self.state
        with s.lock:
            s.inside[token] = s.inside.get(token, 0) + 1
            s.most[token] = max(s.most.get(token, 0), s.inside[token])
            s.lock.notify_all()
            while token not in s.open:
                s.lock.wait(60)
            s.inside[token] -= 1
        c.answer(200, b"held")

    def release(self, c, r):
        with self.state.lock:
            self.state.open.add(r.path[1])
            self.state.lock.notify_all()
        c.answer(200)

    def held(self, c, r):
        """/held/TOKEN/N: answers when N are inside; says how many ever were."""
        token, s = r.path[1], self.state
        with s.lock:
            s.lock.wait_for(
                lambda: s.inside.get(token, 0) >= int(r.path[2]), 60)
            c.answer(200, str(s.most.get(token, 0)).encode())

    def opened(self, c, r):
        """/opened/TOKEN: answers when a /stall/TOKEN is there."""
        s = self.state
        with s.lock:
            s.lock.wait_for(lambda: r.path[1] in s.open, 60)
        c.answer(200)

    # ---- connections ----

    def diesidle(self, c, r):
        """The first on a connection is answered, the next is not even read."""
        if c.requests > 1:
            c.reset()
        c.answer(200, str(c.number).encode())

    def givesup(self, c, r):
        """By token: of the first request the body is read and nothing said, of
        the second not even that is read, and /opened/TOKEN answers when its
        connection is gone; the third is echoed."""
        turn = self.state.note(r.path[1], "")
        if turn != 2:
            c.read_body(r)
        if turn > 2:
            return self.echo(c, r)
        c.sock.setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        c.file.close()
        c.sock.close()
        if turn == 2:
            with self.state.lock:
                self.state.open.add(r.path[1])
                self.state.lock.notify_all()
        raise Cut

    def dies(self, c, r):
        c.reset()

    def early(self, c, r):
        """Answers before the body has come, and takes none of it."""
        c.send(b"HTTP/1.1 %s x\r\nContent-Length: 2\r\n\r\nno" %
               r.path[1].encode())
        if r.path[1] == "200":
            raise Cut
        try:
            while c.sock.recv(65536):
                pass
        except OSError:
            pass
        raise Cut

    def redirect(self, c, r):
        """/redirect/CODE?where"""
        where = urllib.parse.unquote(r.target.partition("?")[2])
        c.answer(int(r.path[1]), b"elsewhere", [("Location", where)])

    def round(self, c, r):
        n = int(r.path[1])
        c.answer(302, b"", [("Location", f"/round/{n + 1}")])

    def seen(self, c, r):
        with self.state.lock:
            text = "\n".join(self.state.seen.get(r.path[1], []))
        c.answer(200, text.encode("latin-1"))

    def lead(self, c, r):
        """A tunnel; with whose login is noted as "tunnels"."""
        self.state.note("tunnels", r.get("proxy-authorization", "nobody"))
        there = socket.create_connection(("127.0.0.1",
                                          int(r.target.split(":")[1])))
        c.send(b"HTTP/1.1 200 x\r\n\r\n")
        threading.Thread(target=pump, daemon=True,
                         args=(there, c.sock)).start()
        pump(c.sock, there)
        raise Cut

    NO_BODY = ("early", "givesup")

    def serve(self, c, r):
        if r.method == "CONNECT" and r.target.startswith("127.0.0.1:"):
            self.lead(c, r)
        if r.method == "CONNECT":  # we lead nobody else anywhere
            status = 502 if r.target.startswith("down.") else 407
            return c.answer(status, b"", [("Proxy-Authenticate", "Basic")])
        if r.target.startswith("http://"):
            lines = "".join(f"{k}: {v}\n" for k, v in r.headers)
            return c.answer(200, f"proxied {r.target}\n{lines}".encode())
        name = r.path[0]
        if name not in self.NO_BODY:
            c.read_body(r)
        if name in self.RAW:
            return self.raw(c, r, self.RAW[name])
        return getattr(self, name)(c, r)


def pump(one, other):
    try:
        while data := one.recv(65536):
            other.sendall(data)
        other.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def carry(sock, state, serve, context):
    try:
        if context is not None:
            sock = context.wrap_socket(sock, server_side=True)
        elif sock.recv(1, socket.MSG_PEEK) == b"\x16":
            return  # TLS: a line of it may never end
        c = Connection(sock, state)
        while True:
            serve(c, c.read_request())
    except (Cut, OSError, ValueError, ssl.SSLError):
        pass
    finally:
        sock.close()


def certificate(folder, name):
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
         "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=saros test", "-addext", f"subjectAltName={name}",
         "-keyout", f"{folder}/key.pem", "-out", f"{folder}/ca.pem"],
        check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(f"{folder}/ca.pem", f"{folder}/key.pem")
    return context


def run(serve, state, context=None):
    listener = socket.create_server(("127.0.0.1", 0), backlog=128)
    print(listener.getsockname()[1], flush=True)

    def accept():
        while True:
            sock, _ = listener.accept()
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=carry, daemon=True,
                             args=(sock, state, serve, context)).start()

    threading.Thread(target=accept, daemon=True).start()
    sys.stdin.read()


def main():
    state, context, args = State(), None, sys.argv[1:]
    if "--tls" in args:
        name = "IP:127.0.0.1"
        if "--name" in args:
            name = "DNS:" + args[args.index("--name") + 1]
        context = certificate(args[args.index("--tls") + 1], name)
    run(Faults(state).serve, state, context)


if __name__ == "__main__":
    main()
