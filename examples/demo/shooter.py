#!/usr/bin/env python3
"""Kills a program in the very moment in which it has frozen a file system.

    shooter.py FILE RECORDS COMMAND ARGUMENT…

A child writes to FILE again and again and tells each beat through a pipe. When
no beat comes, the child sleeps in the kernel, and a guard's record says that
something is frozen, COMMAND gets SIGKILL; else COMMAND is started anew. Prints
how often it was started, how long nobody could write before the shot, and how
long after it, in milliseconds."""
import os
import select
import signal
import struct
import subprocess
import sys
import time

path, records, command = sys.argv[1], sys.argv[2], sys.argv[3:]
SILENCE = 0.004  # seconds; a beat takes far less
TRIES = 60


def beat(pipe):
    """In a process of its own, which freezes with the file system."""
    parent = os.getppid()
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    while os.getppid() == parent:
        os.pwrite(file, b"beat", 0)
        os.write(pipe, struct.pack("d", time.monotonic()))
        time.sleep(0.0005)


def sleeps_in_kernel(pid):
    with open(f"/proc/{pid}/stat", encoding="utf-8") as stat:
        return stat.read().rpartition(")")[2].split()[0] == "D"


def next_beat(pipe, seconds):
    """When it was, or None."""
    if not select.select([pipe], [], [], seconds)[0]:
        return None
    return struct.unpack("d", os.read(pipe, 8))[0]


def shoot(heart, pipe):
    """One victim: what there is to tell, or None if it got away."""
    victim = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    last = time.monotonic()
    try:
        while victim.poll() is None:
            at = next_beat(pipe, SILENCE)
            if at is not None:
                last = at
            elif sleeps_in_kernel(heart) and os.listdir(records):
                shot = time.monotonic()
                victim.send_signal(signal.SIGKILL)
                at = next_beat(pipe, 30)
                if at is None:
                    sys.exit("it stayed frozen for 30 seconds")
                if victim.wait() == -signal.SIGKILL and at > shot:
                    return (shot - last) * 1000, (at - shot) * 1000
        if victim.returncode not in (0, -signal.SIGKILL):
            sys.exit(f"the program failed with {victim.returncode}")
    finally:
        if victim.poll() is None:
            victim.kill()
            victim.wait()
    return None


mine, its = os.pipe()
child = os.fork()
if child == 0:
    os.close(mine)
    beat(its)
    os._exit(0)
os.close(its)
try:
    for attempt in range(1, TRIES + 1):
        hit = shoot(child, mine)
        if hit:
            print(attempt, "%.1f %.1f" % hit)
            break
    else:
        sys.exit(f"{TRIES} times it was too quick to be hit")
finally:
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
