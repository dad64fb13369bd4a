"""Uploads in parts, as an S3 server keeps them."""
import hashlib
import time
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from signatures import Bad


def metas(r):
    return {k.lower(): v for k, v in r.headers
            if k.lower().startswith("x-amz-meta-")}


class Uploads:
    def begin_upload(self, r, bucket, key):
        if not self.set["parts"]:
            raise Bad(501, "NotImplemented")
        if bucket not in self.buckets:
            raise Bad(404, "NoSuchBucket")
        if self.set["parts_keep"]:
            self.keep(r, bucket, key, b"")
        self.number += 1
        name = f"up/{self.number}+=&"  # with what must be escaped in it
        self.uploads[name] = (bucket, key, {})
        self.begun[name] = time.time() - self.set["age"]
        self.metas[name] = metas(r)
        shown = "" if r.fault == "no id" else \
            f"<UploadId>{escape(name)}</UploadId>"
        return 200, (f"<InitiateMultipartUploadResult><Key>{escape(key)}</Key>"
                     f"{shown}</InitiateMultipartUploadResult>").encode(), []

    def upload(self, q, bucket, key):
        found = self.uploads.get(q["uploadId"])
        if found is None or found[:2] != (bucket, key):
            raise Bad(404, "NoSuchUpload")
        return found[2]

    def tag(self, body):
        """Of a part, or an object that is sealed: no digest of its bytes."""
        if self.set["sealed"]:
            body = b"sealed" + body
        return f'"{hashlib.md5(body).hexdigest()}"'

    def seal(self):
        return [("x-amz-server-side-encryption", "aws:kms")] \
            if self.set["sealed"] else []

    def list_parts(self, q, bucket, key):
        parts = self.upload(q, bucket, key)
        after = int(q.get("part-number-marker", "0"))
        most = min(int(q.get("max-parts", "1000")), self.set["page_parts"])
        left = [n for n in sorted(parts) if n > after]
        page = left[:most]
        text = ("<ListPartsResult><IsTruncated>"
                f"{'true' if len(page) < len(left) else 'false'}"
                "</IsTruncated>")
        if page:
            text += f"<NextPartNumberMarker>{page[-1]}</NextPartNumberMarker>"
        for n in page:
            text += (f"<Part><PartNumber>{n}</PartNumber>"
                     f"<ETag>{escape(self.tag(parts[n]))}</ETag>"
                     f"<Size>{len(parts[n])}</Size></Part>")
        return (text + "</ListPartsResult>").encode()

    def put_part(self, r, q, bucket, key):
        body = r.body
        if r.fault == "store half":
            body = body[:len(body) // 2]
        self.upload(q, bucket, key)[int(q["partNumber"])] = body
        tag = self.tag(body)
        if r.fault == "no etag":
            return 200, b"", []
        if r.fault == "other etag":
            tag = '"' + "0" * 32 + '"'
        return 200, b"", [("ETag", tag)] + self.seal()

    def end_upload(self, r, q, bucket, key):
        parts = self.upload(q, bucket, key)
        if r.fault == "late error":
            return 200, b"<Error><Code>InternalError</Code></Error>", []
        want = [(int(e.find("PartNumber").text), e.find("ETag").text)
                for e in ElementTree.fromstring(r.body).findall("Part")]
        have = [(n, self.tag(b)) for n, b in sorted(parts.items())]
        if want != have:
            raise Bad(400, "InvalidPart")
        if any(len(b) < self.set["least"] for _, b in sorted(parts.items())[:-1]):
            raise Bad(400, "EntityTooSmall")
        bodies = [parts[n] for n, _ in want]
        if r.fault == "shuffle":
            bodies.reverse()
        sums = b"".join(hashlib.md5(b).digest() for b in bodies)
        tag = f'"{hashlib.md5(sums).hexdigest()}-{len(bodies)}"'
        if self.set["sealed"]:
            tag = f'"{hashlib.md5(tag.encode()).hexdigest()}-{len(bodies)}"'
        del self.uploads[q["uploadId"]]
        self.meta[bucket, key] = self.metas[q["uploadId"]]
        self.objects[bucket, key] = b"".join(bodies)
        self.etags[bucket, key] = tag
        if r.fault == "drop":
            del self.objects[bucket, key]
        return 200, (f"<CompleteMultipartUploadResult><ETag>{escape(tag)}"
                     "</ETag></CompleteMultipartUploadResult>").encode(), []

    def list_uploads(self, q, bucket):
        if not self.set["list_uploads"]:
            raise Bad(403, "AccessDenied")
        text = "<ListMultipartUploadsResult><IsTruncated>false</IsTruncated>"
        for name, (b, key, _) in self.uploads.items():
            if b == bucket and key.startswith(q.get("prefix", "")):
                text += (f"<Upload><Key>{escape(key)}</Key>"
                         f"<UploadId>{escape(name)}</UploadId><Initiated>"
                         + time.strftime("%Y-%m-%dT%H:%M:%S.000Z",
                                         time.gmtime(self.begun[name]))
                         + "</Initiated></Upload>")
        return (text + "</ListMultipartUploadsResult>").encode()
