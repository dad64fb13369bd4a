#!/usr/bin/env python3
"""A program that knows nothing of shadow copies.

    bank.py write DATABASE [LEDGER]
        commits row after row, and says the number of each on a line when it is
        committed; in the ledger with the time
    bank.py check DATABASE
        says whether all is well with it, and how many there are"""
import sqlite3
import sys
import time

what, path = sys.argv[1:3]
db = sqlite3.connect(path, timeout=30, isolation_level=None)

if what == "check":
    (word,) = db.execute("PRAGMA integrity_check").fetchone()
    count, last = db.execute("SELECT count(*), max(n) FROM row").fetchone()
    (wrong,) = db.execute("SELECT count(*) FROM row WHERE who <> "
                          "'customer ' || (n * 7919 % 997)").fetchone()
    # Row n exists only if row n - 1 was committed before.
    if count != (last or 0):
        word = "rows are missing"
    elif wrong:
        word = "rows are not what they were"
    print(word, count)
    sys.exit()

db.execute("CREATE TABLE IF NOT EXISTS row(n INTEGER PRIMARY KEY, who TEXT)")
db.execute("CREATE INDEX IF NOT EXISTS row_who ON row(who)")
(n,) = db.execute("SELECT ifnull(max(n), 0) FROM row").fetchone()
ledger = None
if len(sys.argv) > 3:
    ledger = open(sys.argv[3], "w", encoding="ascii")
while True:
    n += 1
    db.execute("INSERT INTO row VALUES (?, ?)", (n, f"customer {n * 7919 % 997}"))
    print(f"{n} {time.monotonic()}" if ledger else n, file=ledger, flush=True)
    time.sleep(0.001)  # SQLite's lock knows no queue: others have to find it
