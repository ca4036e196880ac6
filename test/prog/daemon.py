"""A roost-blkd to try things on, and what to try them with."""
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import time

BLKD = os.environ.get("ROOST_BLKD", "build/src/prog/roost-blkd")
ROOST = os.environ.get("ROOST", "build/src/prog/roost")
MIB = 1 << 20


class Daemon:
    """roost-blkd in the foreground, with its sockets in @dir."""

    def __init__(self, dir, *args, control=True, state=False, listen=True,
                 env=None):
        self.dir = pathlib.Path(dir)
        self.nbd = self.dir / "nbd.sock"
        self.control = self.dir / "control.sock"
        self.log = self.dir / "log"
        command = [BLKD, "--foreground", "--log-level", "debug"]
        if listen:
            command += ["--listen", f"unix:{self.nbd}"]
        if control:
            command += ["--control", str(self.control)]
        if state:
            (self.dir / "overlays").mkdir(exist_ok=True)
            (self.dir / "boot").mkdir(exist_ok=True)
            command += ["--state", str(self.dir / "state.json"),
                        "--overlays", str(self.dir / "overlays"),
                        "--boot", str(self.dir / "boot")]
        self.process = subprocess.Popen(
            [*command, *map(str, args)], stderr=open(self.log, "w"),
            stdin=subprocess.DEVNULL, env=dict(os.environ, **(env or {})))
        self.wait_for("serving ")

    def text(self):
        return self.log.read_text()

    def wait_for(self, text, timeout=20):
        end = time.time() + timeout
        while text not in self.text():
            if self.process.poll() is not None:
                raise AssertionError(f"roost-blkd ended: {self.text()}")
            assert time.time() < end, f"no '{text}' in: {self.text()}"
            time.sleep(0.01)

    def uri(self, disk=""):
        return f"nbd+unix:///{disk}?socket={self.nbd}"

    def ask(self, **request):
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(str(self.control))
            s.sendall(json.dumps(request).encode() + b"\n")
            return json.loads(s.makefile().readline())

    def disk(self, name):
        return next((d for d in self.ask(op="disk-ls")["disks"]
                     if d["name"] == name), None)

    def roost(self, *args, code=0, **kw):
        p = subprocess.run([ROOST, *map(str, args)], text=True,
                           stdin=subprocess.DEVNULL, capture_output=True,
                           env=dict(os.environ,
                                    ROOST_CONTROL=str(self.control)), **kw)
        assert p.returncode == code, (p.returncode, p.stdout, p.stderr)
        return p.stdout + p.stderr

    def stop(self, sig=signal.SIGTERM):
        if self.process.poll() is None:
            self.process.send_signal(sig)
        return self.process.wait(30)

    def __enter__(self):
        return self

    def __exit__(self, *what):
        if what[0] is None:
            assert self.stop() == 0, self.text()
        else:
            self.process.kill()
            self.process.wait()


def needs(*programs):
    missing = [p for p in programs if not shutil.which(p)]
    return missing and f"no {missing[0]} here"


def image(path, size=4 * MIB, seed=1):
    """A file of @size bytes that differ from place to place."""
    import random
    path.write_bytes(random.Random(seed).randbytes(size))
    return path
