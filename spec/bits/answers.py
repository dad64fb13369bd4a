"""From a way (faults.py) to the bytes of an answer."""
import base64
import functools
import gzip
import hashlib
import threading
import time

REASONS = {200: "OK", 206: "Partial Content", 404: "Not Found",
           416: "Range Not Satisfiable", 503: "Service Unavailable"}
OLD = 1700000000


@functools.lru_cache(maxsize=64)
def large(name, size, version):
    return hashlib.shake_256(f"{name}:{size}:{version}".encode()).digest(size)


def content(name, size, version=0):
    """What is behind a name: SHAKE-256 of "name:size:version", so long as it
    is. Nothing repeats, and another size is another file."""
    if size > 65536:
        return large(name, size, version)
    return hashlib.shake_256(f"{name}:{size}:{version}".encode()).digest(size)


DAYS = "Mon Tue Wed Thu Fri Sat Sun".split()
MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()


@functools.lru_cache(maxsize=256)
def date(seconds):
    t = time.gmtime(seconds)
    return (f"{DAYS[t.tm_wday]}, {t.tm_mday:02} {MONTHS[t.tm_mon - 1]} "
            f"{t.tm_year} {t.tm_hour:02}:{t.tm_min:02}:{t.tm_sec:02} GMT")


def entity_tag(way, name, size):
    n = way.version if way.tag is None else way.tag
    text = f"{name}-{size}-{n}"
    return {"strong": f'"{text}"', "weak": f'W/"{text}"', "unquoted": text,
            "garbage": f'"{text}', "long": f'"{text}{"x" * 5000}"',
            "fixed": '"fixed"', "none": None}[way.etag]


def last_modified(way):
    now = int(time.time())
    return {"old": date(OLD + way.version), "new": date(now),
            "future": date(now + 86400), "garbage": "some time last week",
            "none": None}[way.modified]


def asked_range(text, total):
    """None: none that counts. False: not satisfiable."""
    if not text.startswith("bytes=") or "," in text:
        return None
    first, dash, last = text[6:].partition("-")
    if not dash or not (first + last).isdigit():
        return None
    if not first:
        return (max(0, total - int(last)), total - 1) if total else False
    first, last = int(first), int(last) if last else total - 1
    if first >= total:
        return False
    return (first, min(last, total - 1)) if first <= last else None


def wrong_part(way, first, last, total):
    """The lines of Content-Range, and which bytes are sent."""
    by, f, l, t = way.part_by, first, last, total
    says = None
    if way.part == "shift":       # honestly another part
        f, l = min(f + by, t - 1), min(l + by, t - 1)
    elif way.part == "lie":       # it says what was asked for
        says, f = [f"bytes {f}-{l}/{t}"], min(f + by, t - 1)
        l = f + (last - first)
    elif way.part == "earlier":
        f = max(0, f - by)
    elif way.part == "short":
        l = min(l, f + by - 1)
    elif way.part == "thin":      # less than it says
        says, l = [f"bytes {f}-{l}/{t}"], max(f, l - by)
    elif way.part == "long":
        says = [f"bytes {f}-{t - 1 + by}/{t + by}"]
    elif way.part == "none":
        says = []
    elif way.part == "garbage":
        says = ["bytes all of it"]
    elif way.part == "items":
        says = [f"items {f}-{l}/{t}"]
    elif way.part == "backward":
        says = [f"bytes {l}-{f}/{t}"]
    elif way.part == "total":     # it says that it is so much longer
        says = [f"bytes {f}-{l}/{t + by}"]
    elif way.part == "little":    # 4 KiB, of nobody knows how much
        l = min(l, f + 4095)
        says = [f"bytes {f}-{l}/*"]
    elif way.part == "star":
        says = [f"bytes {f}-{l}/*"]
    elif way.part == "bad-total":
        says = [f"bytes {f}-{l}/{l}"]
    elif way.part == "two":
        says = [f"bytes {f}-{l}/{t}", f"bytes {f + by}-{l}/{t}"]
    elif way.part == "empty":
        says = [f"bytes {f}-{f - 1}/{t}"]
        l = f - 1
    if says is None:
        says = [f"bytes {f}-{l}/{t}"]
    return [("Content-Range", text) for text in says], f, l


class Answer:
    """The header's lines, the body, and how that is framed."""

    def __init__(self, status, fields, body, bodiless=False):
        self.status, self.fields, self.body = status, fields, body
        self.bodiless = bodiless


def of_file(way, r, name, size):
    data = content(name, size, way.version if way.other is None else way.other)
    fields = []
    if way.encoding == "gzip":
        data = gzip.compress(bytes(data), mtime=0)
        fields.append(("Content-Encoding", "gzip"))
    for header, right in way.digest:
        fields.append(digest_field(header, right, data))
    if way.flip is not None and way.flip < size:
        data = bytearray(data)
        data[way.flip] ^= 1
    return of_bytes(way, r, data, fields, entity_tag(way, name, size))


def of_bytes(way, r, data, fields, etag):
    total, changed = len(data), last_modified(way)
    if etag:
        fields.append(("ETag", etag))
    if changed:
        fields.append(("Last-Modified", changed))
    text = r.get("range")
    part = asked_range(text, total) if text and r.method == "GET" else None
    condition = r.get("if-range")
    if condition and way.if_range != "ignored" and (
            way.if_range == "refused" or condition.startswith("W/") or
            condition not in (etag, changed)):
        part = None
    if way.part == "unasked":
        part = part or (0, total - 1)
    elif not way.ranges:
        part = None
    if way.ranges:
        fields.append(("Accept-Ranges", "bytes"))
    if way.part == "cached":      # somebody has kept a part of it for all
        half = ("Content-Range", f"bytes 0-{total // 2 - 1}/{total}")
        return Answer(200, fields + [half], data[:total // 2])
    if part is None:
        return Answer(200, fields, data)
    if part is False:
        return Answer(416, [("Content-Range", f"bytes */{total}")], b"")
    if way.part == "multipart":
        return multipart(fields, data, part)
    lines, first, last = wrong_part(way, *part, total)
    return Answer(206, fields + lines, memoryview(data)[first:last + 1])


def multipart(fields, data, part):
    first, last = part
    body = (b"--saros\r\nContent-Type: application/octet-stream\r\n"
            b"Content-Range: bytes %d-%d/%d\r\n\r\n" % (first, last, len(data)))
    body += data[first:last + 1] + b"\r\n--saros--\r\n"
    kind = ("Content-Type", "multipart/byteranges; boundary=saros")
    return Answer(206, fields + [kind], body)


def digest_field(header, right, data):
    kind = hashlib.md5 if header == "Content-MD5" else hashlib.sha256
    text = base64.b64encode(
        kind(bytes(data) if right else b"something else").digest()).decode()
    return header, {"Repr-Digest": f"sha-256=:{text}:",
                    "Content-Digest": f"sha-256=:{text}:",
                    "Digest": f"SHA-256={text}"}.get(header, text)


def of_status(way, total):
    fields = []
    after = {"date": date(int(time.time()) + 2), "past": date(OLD),
             "garbage": "soon", "negative": "-5", "huge": "9" * 30,
             "year": "31536000"}.get(way.retry_after, way.retry_after)
    if way.status == 416:         # here the number is the total that it claims
        if way.retry_after != "none":
            fields.append(("Content-Range", f"bytes */{after or total}"))
    elif after is not None:
        fields.append(("Retry-After", after))
    if way.status == 401:
        fields.append(("WWW-Authenticate", 'Basic realm="saros"'))
    if way.status == 407:
        fields.append(("Proxy-Authenticate", 'Basic realm="saros"'))
    if way.status in (204, 304) or way.status < 200:
        return Answer(way.status, fields, b"", True)
    fields.append(("Content-Type", "text/plain"))
    return Answer(way.status, fields, b"this is no file: %d\n" % way.status)


# ---- framing ----


def chunks(how, data):
    out = []
    middle = len(data) // 2
    for i in range(0, len(data), 16384):
        piece = bytes(data[i:i + 16384])
        size = b"%x" % len(piece)
        if how == "extension":
            size += b";name=\"value\""
        if i <= middle < i + 16384:
            if how == "bad":
                size = b"xyzzy"
            elif how == "negative":
                size = b"-" + size
            elif how == "huge":
                size = b"f" * 17
            elif how == "long":   # more is said than comes
                size = b"%x" % (len(piece) + 100)
        out += [size, b"\r\n", piece, b"\r\n"]
    if how != "cut":
        out.append(b"0\r\n")
        if how == "trailer":
            out.append(b"X-Trailer: 1\r\n")
        out.append(b"\r\n")
    return b"".join(out)


def frame(way, a):
    """Lines for the header; the body as it goes; whether the connection can
    serve on behind it."""
    n = len(a.body)
    kind, _, how = way.framing.partition("-")
    if a.bodiless:
        return [], a.body, True
    if kind == "close":
        return [b"Connection: close"], a.body, False
    if kind == "chunked":
        return ([b"Transfer-Encoding: chunked"], chunks(how, a.body),
                how in ("right", "trailer", "extension"))
    said = {"": [n], "by": [n + way.framing_by], "double": [n, n],
            "conflict": [n, n + 1], "list": [f"{n}, {n}"],
            "negative": [-n - 1], "plus": [f"+{n}"], "overflow": [2**64 + n],
            "garbage": ["many"], "chunked": [n]}[how]
    lines = [b"Content-Length: %s" % str(text).encode() for text in said]
    if how == "chunked":
        return lines + [b"Transfer-Encoding: chunked"], chunks("", a.body), False
    return lines, a.body, how in ("", "double")


def head(way, a, lines):
    reason = REASONS.get(a.status, "x")
    text = [way.line or b"HTTP/1.1 %d %s" % (a.status, reason.encode())]
    if way.date:
        text.append(b"Date: " + date(int(time.time())).encode())
    text += [f"{k}: {v}".encode("latin-1") for k, v in a.fields + way.fields]
    return b"\r\n".join(text + way.raw + lines) + b"\r\n\r\n"


# ---- chance ----

_lock, _counts = threading.Lock(), {}


def chance(seed, percent):
    """The n-th answer to this question is always the same."""
    with _lock:
        n = _counts[seed] = _counts.get(seed, 0) + 1
    text = hashlib.sha256(f"{seed}:{n}".encode()).digest()
    return int.from_bytes(text[:4], "little") % 100 < percent


def forget_chances():
    with _lock:
        _counts.clear()
