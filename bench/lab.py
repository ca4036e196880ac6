# SPDX-License-Identifier: Apache-2.0
"""The laboratory: a working directory, and processes that end with us.

Everything of one measurement lives in a Lab; leaving the `with` ends its
processes, the youngest first, and removes its files.
"""
import contextlib
import ctypes
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import time

TOP = pathlib.Path(__file__).resolve().parent.parent
CACHE = pathlib.Path(os.environ.get("ROOST_CACHE", TOP / ".cache"))
BUILD = pathlib.Path(os.environ.get("ROOST_BUILD", TOP / "build"))
TICKS = os.sysconf("SC_CLK_TCK")
PR_SET_PDEATHSIG = 1
libc = ctypes.CDLL(None)


class Failed(Exception):
    """A message for people: what failed, and the end of its output."""


def dies_with_us():
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Process:
    """A server or a guest; its output is kept for when it fails.

    Start these on the main thread only: the kernel ends a process when the
    thread that started it ends.
    """

    def __init__(self, lab, name, args, **kw):
        self.name = name
        self.out = lab.dir / f"{name}.out"
        self.started = time.monotonic()
        with open(self.out, "w") as out:
            self.popen = subprocess.Popen(
                [str(a) for a in args], stdin=subprocess.DEVNULL, stdout=out,
                stderr=out, preexec_fn=dies_with_us, **kw)

    def failed(self, what):
        tail = self.out.read_text(errors="replace").strip().splitlines()[-10:]
        return Failed("\n".join([f"{self.name}: {what}", *tail]))

    def wait_socket(self, path, timeout=30):
        """Until it accepts connections at the unix socket @path."""
        end = time.monotonic() + timeout
        while True:
            with contextlib.suppress(OSError), \
                    socket.socket(socket.AF_UNIX) as s:
                s.connect(str(path))
                return
            if self.popen.poll() is not None:
                raise self.failed(f"ended with {self.popen.returncode}")
            if time.monotonic() > end:
                raise self.failed(f"not serving after {timeout} s")
            time.sleep(0.005)

    def wait_file(self, path, timeout=30):
        """Until @path exists, for those that a connection would disturb."""
        end = time.monotonic() + timeout
        while not path.exists():
            if self.popen.poll() is not None:
                raise self.failed(f"ended with {self.popen.returncode}")
            if time.monotonic() > end:
                raise self.failed(f"not there after {timeout} s: {path}")
            time.sleep(0.005)

    def cpu(self):
        """Seconds of CPU that it has used up to now."""
        with contextlib.suppress(OSError):
            stat = pathlib.Path(f"/proc/{self.popen.pid}/stat").read_text()
            fields = stat.rpartition(")")[2].split()
            return (int(fields[11]) + int(fields[12])) / TICKS
        return 0.0

    def memory(self):
        """Bytes that are its own: resident, neither of a file nor shared."""
        path = pathlib.Path(f"/proc/{self.popen.pid}/status")
        for line in path.read_text().splitlines():
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) * 1024
        return 0

    def stop(self, timeout=30):
        if self.popen.poll() is None:
            self.popen.terminate()
        try:
            self.popen.wait(timeout)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.popen.wait()
            raise self.failed(f"had to be killed after {timeout} s") from None
        return self.popen.returncode


class Lab:
    def __init__(self, parent=None):
        # Not below a long path: a unix socket's is at most 107 bytes.
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="roost-", dir=parent))
        self.processes = []
        self.count = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for p in reversed(self.processes):
            with contextlib.suppress(Failed):
                p.stop(5)
        shutil.rmtree(self.dir, ignore_errors=True)

    def start(self, name, *args, **kw):
        self.count += 1
        p = Process(self, f"{name}-{self.count}", args, **kw)
        self.processes.append(p)
        return p

    def path(self, name):
        """A fresh name in the working directory."""
        self.count += 1
        return self.dir / f"{self.count}-{name}"


def run(*args, **kw):
    """Run to its end, quietly; its output."""
    p = subprocess.run([str(a) for a in args], text=True, check=False,
                       stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                       stderr=subprocess.PIPE, **kw)
    if p.returncode:
        tail = (p.stdout + p.stderr).strip().splitlines()[-10:]
        raise Failed("\n".join([f"{args[0]}: ended with {p.returncode}", *tail]))
    return p.stdout


def make_guest():
    """The directory of the demo's guest; made first if it is not there."""
    p = subprocess.run([TOP / "tools" / "make-guest.sh"], text=True,
                       stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    if p.returncode:
        raise Failed("the guest could not be made (see above)")
    return pathlib.Path(p.stdout.strip())
