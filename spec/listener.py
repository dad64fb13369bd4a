#!/usr/bin/env python3
"""Listens on a datagram socket as the journal and systemd do, and says in one
line of JSON each what came. Bytes are shown as Latin-1.

    listener.py PATH [journal]      PATH begins with @: the abstract space
"""
import array, fcntl, json, os, socket, struct, sys

path = sys.argv[1]
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind("\0" + path[1:] if path[0] == "@" else path)
print("listening", flush=True)


def fields(data):
    """The journal's own form; each value in a list, as a name may come twice."""
    found = {}
    while data:
        line, _, rest = data.partition(b"\n")
        name, equals, text = line.partition(b"=")
        if not equals:
            size, = struct.unpack("<Q", rest[:8])
            text, data = rest[8:8 + size], rest[8 + size:]
            assert data[:1] == b"\n", "a value without its end"
            data = data[1:]
        else:
            data = rest
        found.setdefault(name.decode("ascii"), []).append(text.decode("latin-1"))
    return found


while True:
    data, control, _, _ = s.recvmsg(1 << 20, socket.CMSG_SPACE(4))
    way = "datagram"
    for level, kind, content in control:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fd, = array.array("i", content[:4])
            way = "file"
            seals = fcntl.fcntl(fd, 1034)  # F_GET_SEALS
            assert seals & 15 == 15, "it may still be changed"
            data = os.pread(fd, os.fstat(fd).st_size, 0)
            os.close(fd)
    if len(sys.argv) > 2:
        print(json.dumps({"way": way, "size": len(data), "fields": fields(data)}),
              flush=True)
    else:
        print(json.dumps({"way": way, "text": data.decode("latin-1")}), flush=True)
