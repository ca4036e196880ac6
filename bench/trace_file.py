#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A boot as its reads: made from the log of the store, kept as a text file.

A line is a read: its index, when it was issued and how long it took, offset and
length, the read it depends on, and the guest's think time; times in us. It
depends on the read that completed last before it was issued (-1: on none), and
the think time is what passed since: a replayer that keeps to it meets a slower
or faster disk as the guest would.

As a program: trace_file.py LOG TRACE  converts the log of nbdkit's log filter.
"""
import collections
import datetime
import gzip
import re
import sys

Read = collections.namedtuple("Read", "offset length dep think")
LINE = re.compile(r"^(\S+ \S+) connection=(\d+) (\.*)Read id=(\d+)"
                  r"(?: offset=0x([0-9a-f]+) count=0x([0-9a-f]+))?")


def load(path):
    with gzip.open(path, "rt") as f:
        return [Read(int(x[3]), int(x[4]), int(x[5]), int(x[6]))
                for x in map(str.split, f) if x[0] != "#"]


def text(path):
    """As the replayer reads it."""
    with gzip.open(path) as f:
        return f.read()


def us(stamp):
    t = datetime.datetime.fromisoformat(stamp + "+00:00")
    return round(t.timestamp() * 1e6)


def convert(log):
    """Lines of a log -> rows of a trace; of the connection that read most."""
    by_connection = {}
    for line in log:
        if m := LINE.match(line):
            by_connection.setdefault(m[2], []).append(m)
    rows = []
    index = {}
    last = (-1, 0)  # the read that completed last, and when
    start = None
    for m in max(by_connection.values(), key=len, default=[]):
        now = us(m[1])
        if m[3]:
            i = index.pop(m[4])
            rows[i][2] = now - start - rows[i][1]
            last = (i, now)
            continue
        start = start or now
        index[m[4]] = len(rows)
        rows.append([len(rows), now - start, 0, int(m[5], 16), int(m[6], 16),
                     last[0], now - (last[1] or start)])
    # Reads that never ended are at the end: the trace stops before them.
    return rows[:min(index.values(), default=len(rows))]


def save(rows, path):
    with gzip.GzipFile(path, "wb", mtime=0) as f:
        f.write(b"# idx t_issue_us lat_us offset length dep think_us\n")
        for r in rows:
            f.write((" ".join(map(str, r)) + "\n").encode())


if __name__ == "__main__":
    with open(sys.argv[1]) as source:
        save(convert(source), sys.argv[2])
