"""What a server can do wrong: one word a fault, with numbers behind colons.

A *way* is how one request is answered. It begins as right as can be (a strong
ETag, a Last-Modified from last year, a length, ranges, If-Range) and each word
changes it. Words are joined by "+": "close+etag:none+drop:1000". Where a word
is a status ("503", "503:2"), that is the answer.
"""


class Way:
    def __init__(self):
        self.status = None          # instead of a file
        self.retry_after = None
        self.version = 0            # of what is offered
        self.other = None           # bytes of that version, whatever is said
        self.size = None            # instead of the one asked for
        self.flip = None            # one wrong bit, in this byte
        self.etag, self.tag = "strong", None
        self.modified = "old"
        self.date = True
        self.ranges = True
        self.part, self.part_by = "right", 0
        self.if_range = "right"
        self.framing, self.framing_by = "length", 0
        self.encoding = None
        self.fields = []            # more of the header
        self.raw = []               # lines of it, as they are
        self.interim = 0
        self.line = None            # instead of the status line
        self.trouble = None         # with the header as a whole
        self.head_stop = None       # bytes of the header that are sent
        self.body_stop = None       # bytes of the body that are sent
        self.stop = "fin"
        self.head_stall = self.body_stall = None
        self.slow = None            # bytes, milliseconds
        self.keep = None            # how, seed, percent
        self.digest = []            # header, right
        self.redirect = None        # where, status
        self.login = None           # 401 or 407 for who brings nothing
        self.head_size = None       # what HEAD says of the size
        self.early = None           # status, before the body was read
        self.store = "all"          # of what is put
        self.take = None            # bytes of it that are read
        self.lost = False           # stored, and nobody hears of it
        self.words = ""


WORDS = {}


def word(f):
    WORDS[f.__name__.strip("_").replace("_", "-")] = f
    return f


def setter(name, **values):
    def change(way):
        for key, value in values.items():
            setattr(way, key, value)
    WORDS[name] = change


setter("ok")

# ---- the connection ----


@word
def drop(w, after=0):
    """The connection ends, as it should, behind so many bytes of the body."""
    w.body_stop, w.stop = int(after), "fin"


@word
def reset(w, after=0):
    """It is reset there; they have arrived."""
    w.body_stop, w.stop = int(after), "rst"


@word
def drop_head(w, after=0):
    w.head_stop, w.stop = int(after), "fin"


@word
def reset_head(w, after=0):
    w.head_stop, w.stop = int(after), "rst"


@word
def stall(w, after=0):
    """Nothing more comes behind so many bytes, until /!release."""
    w.body_stall = int(after)


@word
def stall_head(w, after=0):
    w.head_stall = int(after)


@word
def slow(w, piece=100, pause=1):
    """So many bytes, so many milliseconds of nothing."""
    w.slow = int(piece), int(pause)


@word
def keep(w, how, seed=1, percent=30):
    """By chance, but always the same one: the connection is closed behind the
    answer (fin, rst), or when the next request has come (next)."""
    w.keep = how, int(seed), int(percent)


# ---- what it is: bytes, validators ----


@word
def version(w, n):
    """It has changed: other bytes, another ETag, a later Last-Modified."""
    w.version = int(n)


@word
def bytes_(w, n):
    """Other bytes, and nothing says so (mirrors that disagree)."""
    w.other = int(n)


@word
def tag(w, n):
    """The same bytes, and another ETag."""
    w.tag = int(n)


@word
def size(w, n):
    w.size = int(n)


@word
def flip(w, at):
    w.flip = int(at)


@word
def etag(w, kind):
    """strong, weak, none, fixed (whatever it is), unquoted, garbage, long"""
    w.etag = kind


@word
def modified(w, kind):
    """old, new (as young as the answer), none, garbage, future"""
    w.modified = kind


setter("bare", etag="none", modified="none")  # no validators
setter("no-date", date=False)


@word
def digest(w, right="right"):
    """Repr-Digest"""
    w.digest.append(("Repr-Digest", right == "right"))


@word
def content_digest(w, right="right"):
    """Content-Digest"""
    w.digest.append(("Content-Digest", right == "right"))


@word
def s3_digest(w, right="right"):
    """What S3 says of objects that it has checked."""
    w.digest.append(("x-amz-checksum-sha256", right == "right"))


@word
def old_digest(w, right="right"):
    """Digest"""
    w.digest.append(("Digest", right == "right"))


@word
def md5(w, right="right"):
    """Content-MD5, of what is sent"""
    w.digest.append(("Content-MD5", right == "right"))


# ---- ranges ----

setter("no-range", ranges=False)


@word
def range_(w, how, by=1):
    """shift, lie, earlier, short, thin, long, none, garbage, items, backward,
    total, star, bad-total, two, unasked, multipart, empty, cached, little: see
    answers.py"""
    w.part, w.part_by = how, int(by)


@word
def if_range(w, how):
    """ignored (always a part), refused (never one)"""
    w.if_range = how


# ---- lengths and encodings ----


@word
def length(w, how, by=0):
    """by (so many more than there are), double, conflict, list, negative, plus,
    overflow, garbage, chunked (both)"""
    w.framing, w.framing_by = "length-" + how, int(by)


@word
def close(w):
    """No length: it ends where the connection does."""
    w.framing = "close"


@word
def chunked(w, how="right", by=0):
    """right, trailer, extension, cut, bad, negative, huge, long"""
    w.framing, w.framing_by = "chunked-" + how, int(by)


@word
def gzip(w):
    w.encoding = "gzip"


@word
def encoding(w, name):
    """Only said, not done."""
    w.fields.append(("Content-Encoding", name))


# ---- the header ----


@word
def huge(w, n=200000):
    """One line of it is so long."""
    w.fields.append(("X-Huge", "h" * int(n)))


@word
def many(w, n=1000):
    w.fields += [(f"X-Many-{i}", str(i)) for i in range(int(n))]


@word
def flood(w, n=1000):
    """Interim answers."""
    w.interim = int(n)


@word
def head(w, how):
    """endless (lines), endless-line, open (no empty line, then the end), nul,
    control, folded, no-colon, status, old (HTTP/0.9), other (no HTTP at all)"""
    if how in ("nul", "control", "folded", "no-colon"):
        w.raw.append({"nul": b"X-Nul: a\0b", "control": b"X-Control: a\x01\x1b[1mb",
                      "folded": b"X-Folded: a\r\n b",
                      "no-colon": b"this is no field"}[how])
    elif how in ("status", "other"):
        w.line = {"status": b"HTTP/1.1 2000 OK", "other": b"SSH-2.0-x"}[how]
    else:
        w.trouble = how


# ---- other answers ----


@word
def redirect(w, where="here", status=302):
    """here, away (the second port), http, https, file, ftp, none (no Location),
    two, user, garbage, space (one that nobody has escaped)"""
    w.redirect = where, int(status)


@word
def login(w, status=401):
    """For who brings no Authorization (or Proxy-Authorization, 407)."""
    w.login = int(status)


@word
def head_size(w, n):
    """What HEAD says of the size."""
    w.head_size = int(n)


# ---- uploads ----


@word
def early(w, status, then="close"):
    """The answer comes before the body was read; then: close, read, stay."""
    w.early = int(status), then


@word
def store(w, how):
    """all, half, nothing, other (bytes), etag (all, and a wrong one), none (all,
    and no ETag)"""
    w.store = how


@word
def take(w, n, how="fin"):
    """The connection ends when so many bytes of the body have come."""
    w.take, w.stop = int(n), how


setter("lost", lost=True)


def add(way, words):
    way.words = words
    for text in words.split("+"):
        name, *numbers = text.split(":")
        if name.isdigit():
            way.status = int(name)
            way.retry_after = numbers[0] if numbers else None
        elif name:
            WORDS[name](way, *numbers)
    return way
