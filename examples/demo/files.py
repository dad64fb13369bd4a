"""A small web server with files that are made up: /1 to /N, each of SIZE
bytes, and /sums for `sha256sum -c`. Says its port, serves until its input ends.

    python3 files.py N SIZE
"""
import hashlib
import os
import random
import re
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COUNT, SIZE = int(sys.argv[1]), int(sys.argv[2])
sent = 0


def content(name):
    if name == "sums":
        return "".join(f"{hashlib.sha256(content(str(i))).hexdigest()}  {i}\n"
                       for i in range(1, COUNT + 1)).encode()
    if name == "sent":
        return b"%d\n" % sent
    if name.isdigit() and 1 <= int(name) <= COUNT:
        return random.Random(int(name)).randbytes(SIZE)
    return None


class Files(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        global sent
        name = self.path[1:]
        data = content(name)
        if data is None:
            return self.send_error(404)
        first, tag = 0, f'"{name}-{len(data)}"'
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if asked and self.headers.get("If-Range", tag) == tag:
            first = min(int(asked[1]), len(data) - 1)
        self.send_response(206 if first else 200)
        self.send_header("Content-Length", str(len(data) - first))
        if first:
            self.send_header("Content-Range",
                             f"bytes {first}-{len(data) - 1}/{len(data)}")
        self.send_header("ETag", tag)
        self.end_headers()
        for at in range(first, len(data), 4096):
            self.wfile.write(data[at:at + 4096])
            if name.isdigit():
                sent += len(data[at:at + 4096])

    def log_message(self, *arguments):
        pass

    def handle(self):
        try:
            super().handle()
        except ConnectionError:
            pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Files)
threading.Thread(target=server.serve_forever, daemon=True).start()
print(server.server_port, flush=True)
sys.stdin.read()
os._exit(0)
