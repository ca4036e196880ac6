# SPDX-License-Identifier: Apache-2.0
"""nbd_serve in a process of its own, and a client that can send anything."""
import os
import signal
import socket
import struct
import subprocess
import time

from serving import wait_listening

SERVE = os.environ["NBD_SERVE"]
# Under AddressSanitizer, freed memory is kept for a while: not much of it.
os.environ["ASAN_OPTIONS"] = "quarantine_size_mb=16"

OPTION_MAGIC = b"IHAVEOPT"
ACK, SERVER, INFO, META = 1, 2, 3, 4
UNSUP, POLICY, INVALID, TLS_REQD, UNKNOWN, TOO_BIG = (
    0x80000000 + n for n in (1, 2, 3, 5, 6, 9))
EXPORT_NAME, ABORT, LIST, STARTTLS, OPT_INFO, GO, STRUCTURED, LIST_META, \
    SET_META = 1, 2, 3, 5, 6, 7, 8, 9, 10
READ, WRITE, DISC, FLUSH, TRIM, CACHE, ZERO, STATUS = range(8)
FUA, NO_HOLE, DF, REQ_ONE, FAST_ZERO = 1, 2, 4, 8, 16
EPERM, EIO, EINVAL, ENOSPC, ENOTSUP = 1, 5, 22, 28, 95
MIB = 1 << 20


class Serve:
    """with Serve(tmp_path, "a=mem:1048576", args=["-c", "2"]) as door: ..."""

    def __init__(self, tmp, *exports, args=(), wrapper=()):
        self.sock = str(tmp / "door.sock")
        self.popen = subprocess.Popen(
            [*wrapper, SERVE, "-u", self.sock, *args, *exports],
            stdout=subprocess.PIPE, text=True)

    def __enter__(self):
        wait_listening(self.sock, self.popen)
        time.sleep(0.02)  # it has noticed that we only looked
        return self

    def __exit__(self, kind, value, trace):
        if kind:
            self.popen.kill()
            self.popen.wait()
        elif self.popen.poll() is None:
            self.stop()

    def stop(self):
        """In order. Return: its statistics."""
        self.popen.send_signal(signal.SIGTERM)
        out, _ = self.popen.communicate(timeout=20)
        assert self.popen.returncode == 0
        last = out.splitlines()[-1].split()
        assert last[0] == "stopped"
        return {k: int(v) for k, v in (w.split("=") for w in last[1:])}

    def uri(self, name="", scheme="nbd+unix", user="", more=""):
        return f"{scheme}://{user}/{name}?socket={self.sock}{more}"

    def rss(self):
        """Bytes of memory it has."""
        with open(f"/proc/{self.popen.pid}/statm") as f:
            return int(f.read().split()[1]) * 4096

    def nfds(self):
        return len(os.listdir(f"/proc/{self.popen.pid}/fd"))

    def settles(self, what, want, seconds=10):
        """Wait until what() == want."""
        end = time.monotonic() + seconds
        while what() != want:
            assert time.monotonic() < end, f"{what()} is not {want}"
            time.sleep(0.01)


class Closed(Exception):
    """The server hung up."""


class Client:
    """A connection to door, byte by byte. Nothing is sent but what is asked."""

    def __init__(self, door, timeout=10):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(timeout)
        self.sock.connect(door.sock)
        self.cookie = 0
        self.structured = False

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()

    def send(self, data):
        self.sock.sendall(data)

    def get(self, n):
        data = bytearray()
        while len(data) < n:
            try:
                more = self.sock.recv(min(n - len(data), MIB))
            except ConnectionError:
                more = b""
            if not more:
                raise Closed
            data += more
        return bytes(data)

    def is_closed(self):
        try:
            while self.sock.recv(MIB):
                pass
        except ConnectionError:
            pass
        return True

    def hello(self, flags=3):
        assert self.get(16) == b"NBDMAGIC" + OPTION_MAGIC
        assert struct.unpack(">H", self.get(2)) == (3,)
        self.send(struct.pack(">I", flags))
        return self

    def put_option(self, option, data=b"", length=None):
        n = len(data) if length is None else length
        self.send(OPTION_MAGIC + struct.pack(">II", option, n) + data)

    def replies(self, option):
        """All replies to it: [(type, data)], the last an ACK or an error."""
        found = []
        while True:
            magic, opt, kind, n = struct.unpack(">QIII", self.get(20))
            assert (magic, opt) == (0x3e889045565a9, option)
            found.append((kind, self.get(n)))
            if kind == ACK or kind & 0x80000000:
                return found

    def option(self, option, data=b"", length=None):
        self.put_option(option, data, length)
        return self.replies(option)

    @staticmethod
    def info(name, *wants):
        name = name.encode()
        return struct.pack(f">I{len(name)}sH{len(wants)}H", len(name), name,
                           len(wants), *wants)

    @staticmethod
    def meta(name, *queries):
        name = name.encode()
        data = struct.pack(f">I{len(name)}sI", len(name), name, len(queries))
        for query in queries:
            data += struct.pack(">I", len(query)) + query.encode()
        return data

    def go(self, name="", structured=False, contexts=()):
        """From the very start to the transmission phase."""
        self.hello()
        if structured:
            assert self.option(STRUCTURED) == [(ACK, b"")]
            self.structured = True
        if contexts:
            got = self.option(SET_META, self.meta(name, *contexts))
            assert len(got) == len(contexts) + 1
        got = self.option(GO, self.info(name))
        assert got[-1] == (ACK, b"")
        kind, self.size, self.flags = struct.unpack(">HQH", got[0][1])
        assert kind == 0
        return self

    def put(self, command, offset=0, length=0, flags=0, data=b""):
        """Send a request. Return: its cookie."""
        self.cookie += 1
        self.send(struct.pack(">IHHQQI", 0x25609513, flags, command,
                              self.cookie, offset, length) + data)
        return self.cookie

    def take(self, payload=0):
        """The next simple reply. Return: (cookie, error, data)."""
        magic, error, cookie = struct.unpack(">IIQ", self.get(16))
        assert magic == 0x67446698
        return cookie, error, b"" if error else self.get(payload)

    def take_chunk(self):
        """Return: (cookie, flags, type, data)."""
        magic, flags, kind, cookie, n = struct.unpack(">IHHQI", self.get(20))
        assert magic == 0x668e33ef
        return cookie, flags, kind, self.get(n)

    def ask(self, command, offset=0, length=0, flags=0, data=b""):
        """A request and its answer. Return: data of a read, or its error."""
        cookie = self.put(command, offset, length, flags, data)
        if self.structured and command in (READ, STATUS):
            got, flags, kind, data = self.take_chunk()
            assert got == cookie and flags & 1
            if kind == 0x8001:
                return struct.unpack(">I", data[:4])[0]
            assert kind in (0, 1)
            return data[8:]
        got, error, data = self.take(length if command == READ else 0)
        assert got == cookie
        return error if error or command != READ else data
