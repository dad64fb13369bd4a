"""A file server that goes away and comes back, at the same port: first it stops
in the middle of the file; SIGUSR1 ends it with all its connections, SIGUSR2
starts it anew. Prints its port, "down", "up", and what parts it is asked for.
"""
import re
import signal
import socket
import struct
import threading

BODY = (bytes(range(256)) * 391)[:100000]
HALF = 50000
TURNS = {signal.SIGUSR1, signal.SIGUSR2}


def bound(port):
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    s.bind(("127.0.0.1", port))
    return s


def answer(connection, whole):
    asked = b""
    while b"\r\n\r\n" not in asked:
        more = connection.recv(4096)
        if not more:
            return
        asked += more
    part = re.search(rb"range: bytes=(\d+)-", asked, re.I)
    start = int(part[1]) if part else 0
    head = "HTTP/1.1 %s\r\nETag: \"one\"\r\nContent-Length: %d\r\n" % (
        "206 Partial Content" if part else "200 OK", len(BODY) - start)
    if part:
        print("from %d" % start)
        head += "Content-Range: bytes %d-%d/%d\r\n" % (
            start, len(BODY) - 1, len(BODY))
    head += "Connection: close\r\n\r\n"
    connection.sendall(head.encode() + (BODY if whole else BODY[:HALF])[start:])
    if whole:
        connection.close()


def serve(listener, connections, whole):
    while True:
        try:
            connection = listener.accept()[0]
        except OSError:
            return
        connections.append(connection)
        answer(connection, whole)


signal.pthread_sigmask(signal.SIG_BLOCK, TURNS)
keeper = bound(0)  # does not listen: nobody else gets the port meanwhile
port = keeper.getsockname()[1]
whole = False
while True:
    listener, connections = bound(port), []
    listener.listen(16)
    thread = threading.Thread(target=serve, daemon=True,
                              args=(listener, connections, whole))
    thread.start()
    print("up" if whole else port)
    signal.sigwait({signal.SIGUSR1})
    listener.shutdown(socket.SHUT_RDWR)
    thread.join()
    listener.close()
    for connection in connections:
        if connection.fileno() >= 0:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                                  struct.pack("ii", 1, 0))
            connection.close()
    print("down")
    signal.sigwait({signal.SIGUSR2})
    whole = True
