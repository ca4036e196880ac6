# SPDX-License-Identifier: Apache-2.0
"""A slow shared store: nbdkit over a directory, every request counted.

Its files are its exports, by name. The files themselves are in the page
cache, so that what a request costs is the delay or the rate set here.
"""
import re
import shlex

CONNECT = re.compile(r' connection=(\d+) Connect export=("[^"]*"|\S*)')
BEGIN = re.compile(r"^(\S+ \S+) connection=(\d+) (Read|Cache) id=(\d+) "
                   r"offset=0x([0-9a-f]+) count=0x([0-9a-f]+) .*\.\.\.$")


class Store:
    """delay_ms: added to each read. mbit: a link that all share."""

    def __init__(self, lab, directory, delay_ms=0, mbit=0):
        self.dir = directory
        self.sock = lab.path("slow.sock")
        self.log = lab.path("origin.log")
        args = ["nbdkit", "-f", "-U", self.sock, "--filter=log"]
        more = [f"logfile={self.log}"]
        if mbit:
            args.append("--filter=rate")
            # By default the first two seconds' worth come for nothing, and
            # that is a whole boot.
            more += [f"rate={mbit}M", "burstiness=0.1"]
        if delay_ms:
            args.append("--filter=delay")
            more.append(f"rdelay={delay_ms}ms")
        # Locked down as a golden image is: no client may write.
        args += ["-r", "file", f"dir={directory}"]
        self.process = lab.start("store", *args, *more)
        self.process.wait_socket(self.sock)
        self.mark = (0, 0)

    def uri(self, name):
        return f"nbd+unix:///{name}?socket={self.sock}"

    def counts(self):
        """Per export: [requests, bytes] read since the start."""
        names = {}
        counts = {}
        for line in self.log.read_text().splitlines():
            if m := CONNECT.search(line):
                names[m[1]] = shlex.split(m[2])[0] if m[2] else ""
            elif m := BEGIN.match(line):
                c = counts.setdefault(names.get(m[2], ""), [0, 0])
                c[0] += 1
                c[1] += int(m[6], 16)
        return counts

    def total(self):
        """Requests and bytes since the last reset()."""
        c = self.counts().values()
        return (sum(x[0] for x in c) - self.mark[0],
                sum(x[1] for x in c) - self.mark[1])

    def reset(self):
        self.mark = (0, 0)
        self.mark = self.total()

    def stop(self):
        self.process.stop()
