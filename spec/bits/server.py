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
import gzip
import hashlib
import json
import os
import socket
import sys
import threading
import time
import urllib.parse

sys.dont_write_bytecode = True
import answers  # noqa: E402
import certificates  # noqa: E402
import faults  # noqa: E402
from connection import Connection, Cut, State  # noqa: E402


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
