# SPDX-License-Identifier: Apache-2.0
"""Drive a store through store_cat; servers for it to talk to."""
import os
import pathlib
import random
import signal
import subprocess
import zlib

from serving import wait_listening

STORE_CAT = os.environ.get("STORE_CAT", "build/test/store/store_cat")
SIZE = 8 << 20
DATA = random.Random(1).randbytes(SIZE)


def crc(data):
    return str(zlib.crc32(data))


class Store:
    """A store that is open; ask() it lines of store_cat."""

    def __init__(self, address, *flags):
        self.p = subprocess.Popen([STORE_CAT, *flags, address], text=True,
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        opened = self.ask("size")       # when that is answered, it is open
        assert opened.startswith("ok"), opened

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        self.p.stdin.close()
        if kind:
            self.p.kill()
        code = self.p.wait(20)
        self.p.stdout.close()
        assert kind or code == 0, f"store_cat ended with {code}"

    def send(self, line):
        self.p.stdin.write(line + "\n")
        self.p.stdin.flush()

    def answer(self):
        line = self.p.stdout.readline()
        assert line, f"store_cat has ended: {self.p.wait(5)}"
        return line.strip()

    def ask(self, line):
        self.send(line)
        return self.answer()

    def read(self, offset, length, pieces=1, data=DATA):
        """See that a read gives the right bytes."""
        want = "ok " + crc(data[offset:offset + length])
        assert self.ask(f"read {offset} {length} {pieces}") == want

    def many(self, offset, length, count, stride, more=""):
        """See that many reads at once give the right bytes; return their ms."""
        words = self.ask(
            f"many {offset} {length} {count} {stride} {more}").split()
        want = crc(b"".join(DATA[offset + i * stride:][:length]
                            for i in range(count)))
        assert words[:2] == ["ok", want], words
        return int(words[2])


def refused(address, *flags):
    """What an address that cannot be opened is answered with."""
    p = subprocess.run([STORE_CAT, *flags, address], text=True,
                       stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                       timeout=60)
    assert p.returncode == 1
    return p.stdout.strip()


class Nbdkit:
    """nbdkit on a unix socket; it can be killed and started again."""

    def __init__(self, tmp, *args):
        self.sock = pathlib.Path(tmp) / "nbd.sock"
        self.args = args
        self.p = None

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.kill()

    def url(self, export="", **options):
        query = "&".join(f"{k}={v}" for k, v in options.items())
        return f"nbd+unix:///{export}?socket={self.sock}&{query}".rstrip("&")

    def start(self):
        self.sock.unlink(missing_ok=True)
        self.p = subprocess.Popen(["nbdkit", "-f", "-U", self.sock, *self.args],
                                  stderr=subprocess.DEVNULL)
        wait_listening(self.sock, self.p)

    def kill(self):
        if self.p:
            self.p.send_signal(signal.SIGCONT)
            self.p.kill()
            self.p.wait()
            self.p = None
