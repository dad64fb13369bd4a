"""Signatures of S3, verified by the book: by Python's hmac, not by the code that
is tested."""
import base64
import calendar
import hashlib
import hmac
import time
import urllib.parse
from xml.sax.saxutils import escape

ACCESS, SECRET, TOKEN = "AKTEST", "sEcReT/canary+key", "tOkEn/canary=="


def mac(key, text):
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


class Bad(Exception):
    """Answered with a status and a code."""

    def __init__(self, status, code, more="", fields=()):
        super().__init__(code)
        self.status, self.code = status, code
        self.more, self.fields = more, list(fields)


class Signatures:
    def verify(self, r, host, path, query):
        auth = r.get("authorization", "")
        if not auth.startswith("AWS4-HMAC-SHA256 "):
            raise Bad(403, "AccessDenied")
        parts = dict(p.strip().split("=", 1)
                     for p in auth[len("AWS4-HMAC-SHA256 "):].split(","))
        access, day, region, service, _ = parts["Credential"].split("/")
        if access != ACCESS:
            raise Bad(403, "InvalidAccessKeyId")
        if region != self.set["region"]:
            raise Bad(400, "AuthorizationHeaderMalformed",
                      f"<Region>{self.set['region']}</Region>")
        date = r.get("x-amz-date")
        then = calendar.timegm(time.strptime(date, "%Y%m%dT%H%M%SZ"))
        if abs(time.time() - then) > 900:
            raise Bad(403, "RequestTimeTooSkewed", fields=[
                ("Date", time.strftime("%a, %d %b %Y %H:%M:%S GMT",
                                       time.gmtime()))])
        if self.set["token"] and r.get("x-amz-security-token") != TOKEN:
            raise Bad(403, "InvalidToken")
        signed = parts["SignedHeaders"].split(";")
        need = {"host", "x-amz-date", "x-amz-content-sha256"}
        need |= {k.lower() for k, _ in r.headers
                 if k.lower().startswith("x-amz-")}
        if not need <= set(signed) or signed != sorted(signed):
            raise Bad(403, "AccessDenied", "<Message>unsigned</Message>")
        pairs = [q.partition("=") for q in query.split("&")] if query else []
        pairs = sorted((urllib.parse.quote(urllib.parse.unquote(k), safe="-_.~"),
                        urllib.parse.quote(urllib.parse.unquote(v), safe="-_.~"))
                       for k, _, v in pairs)
        canonical = "\n".join([
            r.method,
            urllib.parse.quote(urllib.parse.unquote_to_bytes(path),
                               safe="/-_.~"),
            "&".join(f"{k}={v}" for k, v in pairs),
            "".join(f"{k}:{' '.join(r.get(k).split())}\n" for k in signed),
            ";".join(signed), r.get("x-amz-content-sha256")])
        scope = f"{day}/{region}/{service}/aws4_request"
        text = "\n".join(["AWS4-HMAC-SHA256", date, scope,
                          hashlib.sha256(canonical.encode()).hexdigest()])
        key = mac(mac(mac(mac(("AWS4" + SECRET).encode(), day), region),
                      service), "aws4_request")
        want = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
        if want != parts["Signature"] or r.get("host") != host:
            # As real ones do, it tells what it was sent.
            raise Bad(403, "SignatureDoesNotMatch",
                      "<Message>The signature we calculated is another one"
                      "</Message><StringToSign>" + escape(text) +
                      "</StringToSign>")
        payload = r.get("x-amz-content-sha256")
        if payload == "STREAMING-AWS4-HMAC-SHA256-PAYLOAD":
            r.body = self.pieces(r, key, date, scope, want)
        elif payload == "UNSIGNED-PAYLOAD" and (self.tls or not r.body):
            pass
        elif hashlib.sha256(r.body).hexdigest() != payload:
            raise Bad(400, "XAmzContentSHA256Mismatch")
        if r.get("content-md5"):
            have = base64.b64encode(hashlib.md5(r.body).digest()).decode()
            if have != r.get("content-md5"):
                raise Bad(400, "BadDigest")

    def pieces(self, r, key, date, scope, before):
        """What is in a body of pieces, each signed with the one before."""
        rest, whole = r.body, b""
        while True:
            head, _, rest = rest.partition(b"\r\n")
            size, _, signature = head.decode().partition(";chunk-signature=")
            piece, rest = rest[:int(size, 16)], rest[int(size, 16) + 2:]
            text = "\n".join(["AWS4-HMAC-SHA256-PAYLOAD", date, scope, before,
                              hashlib.sha256(b"").hexdigest(),
                              hashlib.sha256(piece).hexdigest()])
            before = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
            if signature != before:
                raise Bad(403, "SignatureDoesNotMatch")
            whole += piece
            if not piece:
                break
        if len(whole) != int(r.get("x-amz-decoded-content-length")):
            raise Bad(400, "IncompleteBody")
        return whole
