#!/usr/bin/env python3
"""A writer in Python: holds a SQLite database while a shadow copy is taken.

    writer.py DIRECTORY DATABASE    (of the sockets: /run/saros/writers)
What goes over the socket is described in csrc/vss/PROTOCOL.md."""
import json, os, socketserver, sqlite3, sys, threading
ID = "3f0d1a52-8f43-4c0c-9a51-6f2c1f6f8f10"  # of this kind of writer: uuidgen
WINDOW = 60  # seconds that it may be held; then it lets go by itself
directory, database = sys.argv[1], os.path.abspath(sys.argv[2])
one_at_a_time = threading.Lock()

class Requester(socketserver.StreamRequestHandler):
    held = None  # the SQLite connection that has the lock
    def say(self, **message):
        self.wfile.write(json.dumps(message).encode() + b"\n")
    def handle(self):
        try:
            self.say(saros="writer", version=1, id=ID, name="sqlite")
            for line in self.rfile:
                message = json.loads(line)
                if "event" in message:  # else its hello, or a cancel
                    self.answer(message)
        except (OSError, ValueError, LookupError):
            pass  # it died, or it did not thaw in time, or it talks nonsense
        finally:
            self.thaw()  # whatever ends the connection lets go
    def answer(self, message):
        try:
            does = {"identify": self.identify, "freeze": self.freeze,
                    "thaw": self.thaw, "abort": self.thaw}
            more = does.get(message["event"], dict)()  # else: consent
            self.say(n=message["n"], ok=True, **(more or {}))
        except sqlite3.Error as e:
            self.say(n=message["n"], ok=False, message=f"{database}: {e}",
                     code="VSS_E_WRITERERROR_RETRYABLE")
    def identify(self):
        return {"metadata": {"name": "sqlite", "freeze_timeout": WINDOW,
            "guard": "connection", "components": [{"type": "database",
            "name": os.path.basename(database), "files": [database]}]}}
    def freeze(self):
        db = sqlite3.connect(database, timeout=10, isolation_level=None)
        if not one_at_a_time.acquire(blocking=False):
            raise sqlite3.OperationalError("another session holds it")
        self.held = db
        db.execute("BEGIN IMMEDIATE")  # readers go on, writers wait
        self.connection.settimeout(WINDOW)
    def thaw(self):
        if self.held:
            self.held.close()  # and what it had begun is rolled back
            self.held = None
            one_at_a_time.release()
            self.connection.settimeout(None)

os.umask(0o177)  # only we, and root, may connect
path, aside = [os.path.join(directory, n) for n in (ID + ".sock", "." + ID)]
if os.path.exists(aside): os.unlink(aside)  # of one that was killed
with socketserver.ThreadingUnixStreamServer(aside, Requester) as server:
    os.rename(aside, path)  # it listens from the moment that it can be seen
    print("listening", flush=True)
    server.serve_forever()
