# SPDX-License-Identifier: Apache-2.0
"""A slow shared store, hosts that boot from it, and guests that read."""
import json
import os
import pathlib
import random
import signal
import socket
import subprocess
import time

import nbd

from serving import wait_listening

_build = pathlib.Path(__file__).resolve().parents[2] / "build"
BLKD = os.environ.get("ROOST_BLKD", _build / "src/prog/roost-blkd")
EXTRA = os.environ.get("ROOST_BLKD_EXTRA", "").split()
IMAGE_SIZE = 48 << 20
# What a guest of ours reads at each boot: 8 MiB in pieces of 4 to 64 KiB,
# all over the image.
_random = random.Random(5)
BOOT_READS = [(i * 37 % 192 * (256 << 10), _random.choice([4, 16, 64]) << 10)
              for i in range(192)]
BOOT_BYTES = sum(length for _, length in BOOT_READS)


def until(what, seconds=20):
    """Wait until what() is true."""
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.01)


class Store:
    """nbdkit over a directory; each of its files is an export."""

    def __init__(self, folder, delay_ms=1, more=()):
        self.folder = pathlib.Path(folder)
        self.socket = self.folder.parent / "store.sock"
        self.log = self.folder.parent / "store.log"
        self.delay_ms = delay_ms
        self.filters = [word for word in more if word.startswith("--")]
        self.settings = [word for word in more if not word.startswith("--")]
        self.p = None
        self.start()

    def start(self):
        self.socket.unlink(missing_ok=True)
        self.p = subprocess.Popen(
            ["nbdkit", "-f", "-U", self.socket, "--filter=log",
             *self.filters, "--filter=delay", "file", f"dir={self.folder}",
             f"rdelay={self.delay_ms}ms", f"logfile={self.log}",
             "logappend=true", *self.settings], stdin=subprocess.DEVNULL)
        wait_listening(self.socket, self.p)

    def stop(self):
        self.p.send_signal(signal.SIGCONT)
        self.p.kill()
        self.p.wait()

    def reads(self):
        """Reads that were asked of it so far, and their bytes."""
        counts = [int(line.split("count=")[1].split()[0], 16)
                  for line in self.log.read_text().splitlines()
                  if " Read id=" in line and line.endswith("...")]
        return len(counts), sum(counts)

    def address(self, name="image"):
        return f"nbd+unix:///{name}?socket={self.socket}"


class Host:
    """A host: a roost-blkd with an empty cache."""

    def __init__(self, tmp, store, *args, options="", boot=None, image="image"):
        self.folder = pathlib.Path(tmp)
        self.folder.mkdir(exist_ok=True)
        self.socket = self.folder / "nbd.sock"
        self.control = self.folder / "control.sock"
        self.log = self.folder / "log"
        self.args = [
            BLKD, "--foreground", *EXTRA, "--listen", f"unix:{self.socket}",
            "--control", self.control, "--disk",
            f"disk={store.address(image)},ro,boot={boot or store.folder}"
            + options, *args]
        self.start()

    def start(self):
        self.socket.unlink(missing_ok=True)
        self.control.unlink(missing_ok=True)
        with open(self.log, "a") as log:
            self.p = subprocess.Popen(self.args, stdin=subprocess.DEVNULL,
                                      stderr=log)
        until(lambda: self.control.exists() and self.socket.exists()
              or self.p.poll() is not None)
        assert self.p.poll() is None, self.log.read_text()

    def guest(self):
        h = nbd.NBD()
        h.connect_uri(f"nbd+unix:///disk?socket={self.socket}")
        return h

    def ask(self, op, **more):
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(20)
            s.connect(str(self.control))
            s.sendall(json.dumps({"op": op, **more}).encode() + b"\n")
            answer = s.makefile().readline()
        answer = json.loads(answer)
        assert answer.get("ok"), answer
        return answer

    def image(self):
        return self.ask("boot-ls")["images"][0]

    def booted(self):
        """Say that the boot is over; wait until its segment is written."""
        self.ask("boot-mark-done", name="disk")
        until(lambda: not self.image()["is_saving"])

    def prefetched(self):
        """Wait until the image is open, and its segment has come, if it has
        one that can be used."""
        until(lambda: self.ask("boot-ls")["images"]
              and self.image()["handles"] > 0
              and not self.image()["is_prefetching"])

    def stop(self):
        """A clean end."""
        self.p.terminate()
        assert self.p.wait(30) == 0, self.log.read_text()

    def kill(self):
        self.p.kill()
        self.p.wait()


def boot(guest, data, reads=None):
    """What a guest reads at its start; every byte is looked at."""
    for offset, length in reads or BOOT_READS:
        assert guest.pread(length, offset) == data[offset:offset + length]


def pair(folder):
    """The names of map and segments in a folder, and of leftovers."""
    names = sorted(p.name for p in pathlib.Path(folder).iterdir())
    return ([n for n in names if n.endswith(".bootmap")],
            [n for n in names if ".bootseg-" in n and not n.endswith(".tmp")],
            [n for n in names if n.endswith(".tmp")])
