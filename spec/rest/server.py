"""A REST server for restic that errs to order: what rest-server does (protocol
versions 1 and 2, users, append-only, a hash that is verified), in memory, and
what a plan says to requests that fit.

    python3 spec/rest/server.py     prints its port, serves until its input ends

Not of the protocol: POST /!plan (a JSON list of faults), GET /!log (what was
asked), GET /!clear, PUT /!file/PATH, GET /!file/PATH, POST /!set (settings),
POST /!make (the path of a repository).
"""
import base64
import hashlib
import json
import os
import sys
import threading
import urllib.parse

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "http"))
from server import Cut, State, run  # noqa: E402

KINDS = ("keys", "locks", "snapshots", "index", "data")
USER, PASSWORD = "me", "pass/canary@1"
V1, V2 = ("application/vnd.x.restic.rest.v1",
          "application/vnd.x.restic.rest.v2")


def chunks(c):
    """A body that says as it goes how long it is, as restic's are."""
    body = b""
    while True:
        size = int(c.file.readline(100).split(b";")[0], 16)
        if size == 0:
            break
        part = c.file.read(size + 2)
        if len(part) < size + 2:
            raise Cut
        body += part[:-2]
    while c.file.readline(1000).strip():
        pass
    return body


class Rest:
    def __init__(self):
        self.lock = threading.RLock()
        self.reset()

    def reset(self):
        self.files = {}  # "repo/data/ab…"
        self.made, self.plan, self.log = set(), [], []
        self.set = {"append_only": False, "auth": False, "version": 2,
                    "verify": True, "ranges": True, "server": "",
                    "overwrite": False, "missing": True}

    # ---- what it can do; each returns (status, body, fields) ----

    def allowed(self, r):
        if not self.set["auth"]:
            return True
        want = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        return r.get("authorization") == "Basic " + want

    def listing(self, repo, kind, r):
        prefix = "/".join(repo + [kind]) + "/"
        names = sorted(k for k in self.files if k.startswith(prefix))
        if not names and self.set["missing"] and \
                "/".join(repo) not in self.made:
            return 404, b"Not Found\n", []
        if self.set["version"] == 1 or r.get("accept") != V2:
            body = [k[len(prefix):] for k in names]
            return 200, json.dumps(body).encode(), [("Content-Type", V1)]
        body = [{"name": k[len(prefix):], "size": len(self.files[k])}
                for k in names]
        return 200, json.dumps(body).encode(), [("Content-Type", V2)]

    def get(self, key, r):
        if key not in self.files:
            return 404, b"Not Found\n", []
        body, asked = self.files[key], r.get("range")
        if not asked or not self.set["ranges"]:
            return 200, body, []
        first, _, last = asked[len("bytes="):].partition("-")
        first = int(first)
        last = min(int(last) if last else len(body), len(body) - 1)
        if first >= len(body):
            return 416, b"", [("Content-Range", f"bytes */{len(body)}")]
        shift = 1 if r.fault == "shift" else 0
        return 206, body[first:last + 1], [
            ("Content-Range",
             f"bytes {first + shift}-{last + shift}/{len(body)}")]

    def save(self, key, name, r):
        if key in self.files and not self.set["overwrite"]:
            return 403, b"Forbidden\n", []
        body = r.body
        if r.fault == "store half":
            body = body[:len(body) // 2]
        elif r.fault == "store nothing":
            return 200, b"", []
        elif name is not None and self.set["verify"] and \
                hashlib.sha256(body).hexdigest() != name:
            return 400, b"Bad Request\n", []
        self.files[key] = body
        return 200, b"", []

    def remove(self, key, kind):
        if self.set["append_only"] and kind != "locks":
            return 403, b"Forbidden\n", []
        self.files.pop(key, None)
        return 200, b"", []

    def perform(self, r, path, query):
        parts = [p for p in path.split("/") if p]
        if not self.allowed(r):
            return 401, b"Unauthorized\n", [
                ("WWW-Authenticate", 'Basic realm="Restricted"')]
        if r.method == "POST" and query == "create=true":
            self.made.add("/".join(parts))
            return 200, b"", []
        if len(parts) >= 2 and parts[-2] in KINDS:
            kind, name, repo = parts[-2], parts[-1], parts[:-2]
        elif parts and parts[-1] == "config":
            kind, name, repo = "config", None, parts[:-1]
        elif parts and parts[-1] in KINDS and r.method == "GET":
            return self.listing(parts[:-1], parts[-1], r)
        else:
            return 405, b"Method Not Allowed\n", []
        key = "/".join(repo + [kind] + ([name] if name else []))
        if r.method in ("GET", "HEAD"):
            return self.get(key, r)
        if r.method == "POST":
            return self.save(key, name, r)
        if r.method == "DELETE":
            return self.remove(key, kind)
        return 405, b"", []

    # ---- faults ----

    def fault_for(self, r):
        for f in self.plan:
            if f.get("times", 1) > 0 and \
                    f.get("method", r.method) == r.method \
                    and f.get("match", "") in r.target:
                if f.get("skip", 0) > 0:
                    f["skip"] -= 1
                    return {}
                f["times"] = f.get("times", 1) - 1
                return f
        return {}

    def control(self, c, r):
        what = r.path[0]
        with self.lock:
            if what == "!plan":
                self.plan = json.loads(r.body)
            elif what == "!set":
                self.set.update(json.loads(r.body))
            elif what == "!make":
                self.made.add(r.body.decode())
            elif what == "!clear":
                self.reset()
            elif what == "!file":
                key = "/".join(r.path[1:])
                if r.method == "PUT":
                    self.files[key] = r.body
                else:
                    return c.answer(200, self.files.get(key, b"nothing"))
            elif what == "!log":
                text = "\n".join(self.log)
                self.log = []
                return c.answer(200, text.encode())
        return c.answer(200)

    def serve(self, c, r):
        if (r.get("transfer-encoding") or "").lower() == "chunked":
            r.body = chunks(c)
        if r.target.startswith("/!"):
            c.read_body(r)
            return self.control(c, r)
        path, _, query = r.target.partition("?")
        with self.lock:
            f = self.fault_for(r)
        r.fault = f.get("fault", "")
        if r.fault == "reset":
            c.reset()
        if r.fault == "stall":
            c.file.read()
            raise Cut
        if r.body is None:
            c.read_body(r)
        with self.lock:
            if r.fault == "status":
                status, body, fields = f["status"], b"no\n", []
                if "after" in f:
                    fields.append(("Retry-After", str(f["after"])))
                if "to" in f:
                    fields.append(("Location", f["to"]))
            else:
                status, body, fields = self.perform(
                    r, urllib.parse.unquote(path), query)
            if self.set["server"]:
                fields = fields + [("Server", self.set["server"])]
            who = "user" if r.get("authorization") else "nobody"
            self.log.append(f"{r.method} {r.target} {status} {who}")
        if r.fault == "lost":  # carried out, and nobody is told
            c.reset()
        if r.fault == "html":
            status, body = 200, b"<html><body><p>Welcome!</body></html>"
        if r.fault == "body":
            status, body = 200, f["body"].encode()
        if r.fault == "half":
            c.send(b"HTTP/1.1 %d x\r\nContent-Length: %d\r\n\r\n" %
                   (status, len(body)) + body[:len(body) // 2])
            raise Cut
        if r.fault == "unending":
            c.send(b"HTTP/1.1 %d x\r\n\r\n" % status + body)
            raise Cut
        if r.fault == "long":
            c.send(b"HTTP/1.1 %d x\r\nContent-Length: %d\r\n\r\n" %
                   (status, len(body)) + body + b"and more")
            raise Cut
        c.answer(status, body, fields, r.method == "HEAD")


if __name__ == "__main__":
    run(Rest().serve, State())
