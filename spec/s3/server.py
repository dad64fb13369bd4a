"""An S3 server that errs to order. It keeps objects in memory, verifies every
signature by the book (and by Python's hmac, not by the code that is tested),
and does what a plan says to requests that fit.

    python3 spec/s3/server.py [--tls DIR]
        prints its port, serves until its input ends; --tls: over https, with a
        certificate of DIR/ca.pem

Bodies may come signed piece by piece, as restic sends them.

Not of S3: POST /!plan (a JSON list of faults), GET /!log (what was asked),
GET /!clear, PUT /!object/KEY, POST /!set (settings as JSON), GET /!kept (by
object lock), /!uploads (that are not ended), /!meta/BUCKET/KEY,
/!sha256/BUCKET/KEY, POST /!bucket/BUCKET, /!fill/BUCKET/KEY/SIZE (an object),
/!begin/BUCKET/KEY (an upload of somebody else's), /!lose/N, /!give/N (a part of
all uploads), /!abandon (all of them). A request that the plan holds waits:
/!held (/!held/SECONDS) answers when there is one, /!release lets all go on; /!quiet
answers when nothing is being done. What is answered in spaces is held behind each.
"""
import calendar
import hashlib
import json
import os
import sys
import threading
import time
import urllib.parse
from xml.etree import ElementTree
from xml.sax.saxutils import escape

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "http"))
from server import Cut, State, certificate, run  # noqa: E402
from signatures import Bad, Signatures  # noqa: E402
from uploads import Uploads, metas  # noqa: E402


class S3(Signatures, Uploads):
    def __init__(self, tls=False):
        self.tls = tls
        self.lock = threading.RLock()
        self.gate, self.held, self.turn = threading.Condition(), 0, 0
        self.busy = 0
        self.reset()
        if tls:  # nobody can tell it anything
            self.set["least"] = 1

    def reset(self):
        self.buckets = {"secure"} if self.tls else set()
        self.objects = {}
        self.locked, self.kept = set(), {}  # buckets; (bucket, key): until
        self.uploads, self.etags, self.number = {}, {}, 0
        self.begun, self.metas, self.meta = {}, {}, {}
        self.plan, self.log = [], []
        self.set = {"region": "us-east-1", "conditions": "412", "page": 1000,
                    "token": False, "ranges": True, "encode": True,
                    "etag": "md5", "parts": True, "refuse": False,
                    "parts_keep": True, "least": 5 << 20,
                    "page_parts": 1000, "list_uploads": True,
                    "sealed": False, "age": 0}

    # ---- what a bucket can do ----

    def listing(self, bucket, query):
        q = dict(urllib.parse.parse_qsl(query, keep_blank_values=True))
        if q.get("list-type") != "2":
            raise Bad(501, "NotImplemented")
        keys = sorted(k for b, k in self.objects if b == bucket
                      and k.startswith(q.get("prefix", "")))
        start = int(q.get("continuation-token", "t0+/=")[1:].split("+")[0])
        page = keys[start:start + self.set["page"]]
        more = start + len(page) < len(keys)
        encoded = q.get("encoding-type") == "url" and self.set["encode"]
        text = ('<?xml version="1.0" encoding="UTF-8"?>\n'
                '<ListBucketResult xmlns="http://s3.amazonaws.com/doc/">'
                f"<Name>{bucket}</Name>"
                f"<IsTruncated>{'true' if more else 'false'}</IsTruncated>")
        if encoded:
            text += "<EncodingType>url</EncodingType>"
        for k in page:
            shown = urllib.parse.quote(k, safe="/") if encoded else escape(k)
            text += (f"<Contents><Key>{shown}</Key>"
                     f"<Size>{len(self.objects[bucket, k])}</Size>"
                     "<LastModified>2020-01-02T03:04:05.000Z</LastModified>"
                     "<ETag>&quot;x&quot;</ETag>"
                     "<Owner><ID>someone</ID></Owner></Contents>")
        if more:
            # A token with what must be escaped in it.
            text += ("<NextContinuationToken>"
                     f"t{start + len(page)}+/=</NextContinuationToken>")
        return (text + "</ListBucketResult>").encode()

    def etag(self, body):
        if self.set["etag"] == "md5":
            return f'"{hashlib.md5(body).hexdigest()}"'
        return '"' + "0" * 32 + '-1"'

    # ---- object lock ----

    def keep(self, r, bucket, key, body):
        """What is to be kept has a hash, or is not taken."""
        mode = r.get("x-amz-object-lock-mode")
        until = r.get("x-amz-object-lock-retain-until-date")
        if not mode and not until:
            return
        if bucket not in self.locked:
            raise Bad(400, "InvalidRequest", "<Message>Bucket is missing "
                      "Object Lock Configuration</Message>")
        if body and not r.get("content-md5"):
            raise Bad(400, "InvalidRequest", "<Message>Content-MD5 is "
                      "required</Message>")
        then = calendar.timegm(time.strptime(until, "%Y-%m-%dT%H:%M:%SZ"))
        if mode not in ("GOVERNANCE", "COMPLIANCE") or then <= time.time():
            raise Bad(400, "InvalidArgument")
        self.kept[bucket, key] = (mode, until)

    def retention(self, bucket, key):
        if (bucket, key) not in self.kept:
            return []
        mode, until = self.kept[bucket, key]
        return [("x-amz-object-lock-mode", mode),
                ("x-amz-object-lock-retain-until-date", until)]

    def put_retention(self, r, bucket, key):
        if (bucket, key) not in self.objects:
            raise Bad(404, "NoSuchKey")
        if bucket not in self.locked or not r.get("content-md5"):
            raise Bad(400, "InvalidRequest")
        texts = {e.tag.rpartition("}")[2]: e.text
                 for e in ElementTree.fromstring(r.body)}
        self.kept[bucket, key] = (texts["Mode"], texts["RetainUntilDate"])
        return 200, b"", []

    def put(self, r, bucket, key):
        if bucket not in self.buckets:
            raise Bad(404, "NoSuchBucket")
        if r.get("if-none-match") == "*":
            how = self.set["conditions"]
            if how == "501":
                raise Bad(501, "NotImplemented")
            if how == "412" and (bucket, key) in self.objects:
                raise Bad(412, "PreconditionFailed")
        body = r.body
        if r.fault == "store half":
            body = body[:len(body) // 2]
        self.keep(r, bucket, key, body)
        self.objects[bucket, key] = body
        self.meta[bucket, key] = metas(r)
        self.etags.pop((bucket, key), None)
        tag = self.etag(body)
        if r.fault == "other etag":
            tag = '"' + "0" * 32 + '"'
        return 200, b"", [("ETag", tag)]

    def get(self, r, bucket, key):
        if (bucket, key) not in self.objects:
            raise Bad(404, "NoSuchKey")
        body = self.objects[bucket, key]
        fields = [("ETag", self.etags.get((bucket, key), self.etag(body)))]
        fields += [("Last-Modified", "Thu, 02 Jan 2020 03:04:05 GMT")]
        fields += self.retention(bucket, key) + self.seal()
        fields += self.meta.get((bucket, key), {}).items()
        asked = r.get("range")
        if not asked or not self.set["ranges"]:
            return 200, body, fields
        first, _, last = asked[len("bytes="):].partition("-")
        first, last = int(first), int(last) if last else len(body) - 1
        if first >= len(body):
            raise Bad(416, "InvalidRange")
        last = min(last, len(body) - 1)
        shift = 1 if r.fault == "shift" else 0
        return 206, body[first:last + 1], fields + [
            ("Content-Range", f"bytes {first + shift}-{last + shift}/{len(body)}")]

    def perform(self, r, bucket, key, query):
        q = dict(urllib.parse.parse_qsl(query, keep_blank_values=True))
        if not key and "uploads" in q and r.method == "GET":
            return 200, self.list_uploads(q, bucket), []
        if key and "uploads" in q and r.method == "POST":
            return self.begin_upload(r, bucket, key)
        if key and "retention" in q and r.method == "PUT":
            return self.put_retention(r, bucket, key)
        if key and "uploadId" in q:
            if r.method == "GET":
                return 200, self.list_parts(q, bucket, key), []
            if r.method == "PUT":
                return self.put_part(r, q, bucket, key)
            if r.method == "POST":
                return self.end_upload(r, q, bucket, key)
            if r.method == "DELETE":
                self.upload(q, bucket, key)
                del self.uploads[q["uploadId"]]
                return 204, b"", []
        if not key:
            if r.method == "PUT":
                if bucket in self.buckets:
                    raise Bad(409, "BucketAlreadyOwnedByYou")
                self.buckets.add(bucket)
                if r.get("x-amz-bucket-object-lock-enabled") == "true":
                    self.locked.add(bucket)
                return 200, b"", []
            if bucket not in self.buckets:
                raise Bad(404, "NoSuchBucket")
            if query.startswith("location"):
                return 200, (b'<?xml version="1.0" encoding="UTF-8"?>'
                             b"<LocationConstraint/>"), []
            return 200, (self.listing(bucket, query)
                         if r.method == "GET" else b""), []
        if r.method == "PUT":
            return self.put(r, bucket, key)
        if r.method in ("GET", "HEAD"):
            return self.get(r, bucket, key)
        if r.method == "DELETE":
            if self.set["refuse"] and (bucket, key) in self.kept and \
                    (bucket, key) in self.objects:
                raise Bad(403, "AccessDenied")
            self.objects.pop((bucket, key), None)
            return 204, b"", []
        raise Bad(405, "MethodNotAllowed")

    # ---- faults ----

    def fault_for(self, r):
        for f in self.plan:
            if f.get("times", 1) > 0 and f.get("method", r.method) == r.method \
                    and f.get("match", "") in r.target:
                if f.get("skip", 0) > 0:
                    f["skip"] -= 1
                    return {}
                f["times"] = f.get("times", 1) - 1
                return f
        return {}

    def hold(self):
        with self.gate:
            turn = self.turn
            self.held += 1
            self.gate.notify_all()
            self.gate.wait_for(lambda: self.turn != turn)

    def gates(self, c, r, what):
        with self.gate:
            if what == "!held":
                seconds = int(r.path[1]) if r.path[1:] else 60
                there = self.gate.wait_for(lambda: self.held > 0, seconds)
                return c.answer(200, b"1" if there else b"0")
            if what == "!quiet":
                self.gate.wait_for(lambda: self.busy == 0, 60)
                return c.answer(200)
            self.turn += 1
            self.held = 0
            self.gate.notify_all()
        c.answer(200)

    def control(self, c, r):
        what = r.path[0]
        if what in ("!held", "!release", "!quiet"):
            return self.gates(c, r, what)
        with self.lock:
            if what == "!plan":
                self.plan = json.loads(r.body)
            elif what == "!set":
                self.set.update(json.loads(r.body))
            elif what == "!clear":
                self.reset()
            elif what == "!uploads":
                text = "\n".join(self.uploads)
                return c.answer(200, text.encode())
            elif what == "!bucket":
                self.buckets.add(r.path[1])
            elif what == "!lose":  # a part of each upload
                for _, _, parts in self.uploads.values():
                    parts.pop(int(r.path[1]), None)
            elif what == "!give":  # each has this part
                for _, _, parts in self.uploads.values():
                    parts[int(r.path[1])] = b"theirs"
            elif what == "!abandon":
                self.uploads = {}
            elif what == "!fill":
                self.objects[r.path[1], r.path[2]] = b"x" * int(r.path[3])
            elif what == "!begin":
                self.number += 1
                name = f"other/{self.number}"
                key = urllib.parse.unquote("/".join(r.path[2:]))
                self.uploads[name] = (r.path[1], key, {})
                self.begun[name] = time.time() - self.set["age"]
                self.metas[name] = {}
            elif what == "!meta":
                key = urllib.parse.unquote("/".join(r.path[2:]))
                text = json.dumps(self.meta.get((r.path[1], key), {}))
                return c.answer(200, text.encode())
            elif what == "!sha256":
                key = urllib.parse.unquote("/".join(r.path[2:]))
                body = self.objects.get((r.path[1], key), b"")
                return c.answer(200,
                                hashlib.sha256(body).hexdigest().encode())
            elif what == "!kept":
                text = "\n".join(f"{k} {m} {u}" for (_, k), (m, u)
                                 in sorted(self.kept.items()))
                return c.answer(200, text.encode())
            elif what == "!forget":
                self.kept = {}
            elif what == "!object":
                key = urllib.parse.unquote("/".join(r.path[2:]))
                if r.method == "PUT":
                    self.objects[r.path[1], key] = r.body
                else:
                    return c.answer(200, self.objects.get((r.path[1], key),
                                                          b"nothing"))
            elif what == "!log":
                text = "\n".join(self.log)
                self.log = []
                return c.answer(200, text.encode())
        return c.answer(200)

    def serve(self, c, r):
        if r.target.startswith("/!"):
            c.read_body(r)
            return self.control(c, r)
        with self.gate:
            self.busy += 1
        try:
            return self.carry(c, r)
        finally:
            with self.gate:
                self.busy -= 1
                self.gate.notify_all()

    def carry(self, c, r):
        target, host = r.target, r.get("host")
        if target.startswith("http://"):  # we are the proxy of a bucket's host
            host, _, rest = target[len("http://"):].partition("/")
            target = "/" + rest
        path, _, query = target.partition("?")
        with self.lock:
            f = self.fault_for(r)
        r.fault = f.get("fault", "")
        if r.fault == "reset":
            c.reset()
        if r.fault == "stall":
            c.file.read()
            raise Cut
        c.read_body(r)
        if r.fault == "hold":
            self.hold()
        parts = urllib.parse.unquote(path).lstrip("/").split("/", 1)
        if host and host.startswith("inhost."):
            parts = ["inhost", urllib.parse.unquote(path).lstrip("/")]
        bucket, key = parts[0], parts[1] if len(parts) > 1 else ""
        try:
            with self.lock:
                if r.fault == "status":
                    more = f.get("more", "")
                    fields = []
                    if "after" in f:
                        fields.append(("Retry-After", str(f["after"])))
                    fields += f.get("fields", {}).items()
                    raise Bad(f["status"], f.get("code", ""), more, fields)
                self.verify(r, host, path, query)
                status, body, fields = self.perform(r, bucket, key, query)
        except Bad as e:
            status, fields = e.status, e.fields
            body = (f"<Error><Code>{e.code}</Code>{e.more}</Error>".encode()
                    if e.code else b"")
        with self.lock:
            self.log.append(f"{r.method} {r.target} {status}")
        if r.fault == "hold answer":  # carried out, and not yet told
            self.hold()
        if r.fault == "lost":  # carried out, and nobody is told
            c.reset()
        if r.fault == "html":
            status, body = 200, b"<html><body><p>Welcome!</body></html>"
        if r.fault == "half":
            c.send(b"HTTP/1.1 %d x\r\nContent-Length: %d\r\n\r\n" %
                   (status, len(body)) + body[:len(body) // 2])
            raise Cut
        if r.fault == "unending":
            c.send(b"HTTP/1.1 %d x\r\n\r\n" % status + body)
            raise Cut
        if r.fault == "spaces":  # 200, long before it is known
            c.send(b"HTTP/1.1 200 x\r\nTransfer-Encoding: chunked\r\n\r\n")
            for _ in range(3):
                c.send(b"1\r\n \r\n")
                self.hold()
            return c.send(b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body))
        if r.fault == "same page":
            body = body.replace(b"<NextContinuationToken>t",
                                b"<NextContinuationToken>t0+/=</"
                                b"NextContinuationToken><A>")
            body = body.replace(b"+/=</NextContinuationToken></ListB",
                                b"+/=</A></ListB")
        if r.method == "HEAD":
            length = len(body)
            text = f"HTTP/1.1 {status} x\r\nContent-Length: {length}\r\n"
            text += "".join(f"{k}: {v}\r\n" for k, v in fields)
            return c.send((text + "\r\n").encode())
        if status == 204:
            return c.send(b"HTTP/1.1 204 x\r\n\r\n")
        return c.answer(status, body, fields)


if __name__ == "__main__":
    tls = sys.argv[2] if sys.argv[1:2] == ["--tls"] else None
    run(S3(tls is not None).serve, State(),
        certificate(tls, "IP:127.0.0.1") if tls else None)
