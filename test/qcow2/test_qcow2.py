# SPDX-License-Identifier: Apache-2.0
"""Overlays against QEMU's own tools, and against kills while they are written.

QCOW2_KILLS: how often the daemon's work is killed (40).
"""
import os
import random
import resource
import signal
import subprocess
import time
import zlib

import pytest

DRIVE = os.environ.get("QCOW2_DRIVE", "build/test/qcow2/qcow2_drive")
KILLS = int(os.environ.get("QCOW2_KILLS", "40"))
WRITE, FLUSH, DISCARD, ZERO = 1, 2, 3, 4
SUB = 4096
MIB = 1 << 20


def tool(*args, ok=True):
    p = subprocess.run([str(a) for a in args], text=True,
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if ok:
        assert p.returncode == 0, p.stdout
    return p


def check(path, *args):
    p = tool("qemu-img", "check", *args, path, ok=False)
    # What a killed one had given to the kernel goes on for a little while,
    # and so does its lock.
    for _ in range(500):
        if "lock" not in p.stdout:
            break
        time.sleep(0.01)
        p = tool("qemu-img", "check", *args, path, ok=False)
    assert p.returncode == 0 and "No errors were found" in p.stdout, p.stdout


def content(path, tmp):
    """What QEMU reads, all of it."""
    out = tmp / "content.raw"
    tool("qemu-img", "convert", "-O", "raw", path, out)
    return out.read_bytes()


class Disk:
    """An overlay that is open in qcow2_drive; obeys lines."""

    def __init__(self, path, *flags, **kw):
        self.p = subprocess.Popen([DRIVE, "run", *flags, path], text=True,
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                  **kw)
        self.opened = self.p.stdout.readline().strip()

    def __enter__(self):
        assert self.opened.startswith("ok"), self.opened
        return self

    def __exit__(self, kind, *_):
        if kind:
            self.p.kill()
        self.p.stdin.close()
        code = self.p.wait(30)
        self.p.stdout.close()
        assert kind or code in (0, -signal.SIGKILL), code

    def ask(self, line):
        self.p.stdin.write(line + "\n")
        self.p.stdin.flush()
        return self.p.stdout.readline().strip()

    def do(self, line):
        answer = self.ask(line)
        assert answer.startswith("ok"), f"{line}: {answer}"
        return answer[3:]

    def reads(self, offset, want):
        assert self.do(f"read {offset} {len(want)}") == str(zlib.crc32(want))

    def kill(self):
        self.p.kill()
        self.p.wait()


@pytest.fixture
def base(tmp_path):
    path = tmp_path / "base.raw"
    path.write_bytes(random.Random(5).randbytes(6 * MIB + 512))
    return path


@pytest.fixture
def overlay(tmp_path, base):
    path = tmp_path / "vm.qcow2"
    tool(DRIVE, "create", path, 8 * MIB, base)
    return path


def model_of(base, size=8 * MIB):
    data = bytearray(base.read_bytes())
    return data[:size] + bytes(size - len(data))


def test_qemu_finds_no_fault_and_reads_the_same(tmp_path, base, overlay):
    check(overlay)
    info = tool("qemu-img", "info", overlay).stdout
    for text in ("8 MiB (8388608 bytes)", "extended l2: true",
                 "backing file format: raw", str(base)):
        assert text in info
    assert content(overlay, tmp_path) == model_of(base)
    model = model_of(base)
    rng = random.Random(1)
    with Disk(overlay) as disk:
        for i in range(300):
            n = rng.randrange(1, 40000)
            at = rng.randrange(0, len(model) - n)
            op = rng.choice(("write", "write", "fua", "zero"))
            fill = 0 if op == "zero" else rng.randrange(256)
            disk.do(f"{op} {at} {n} {fill}")
            model[at:at + n] = bytes([fill]) * n
            if i % 50 == 0:
                disk.do("flush")
        disk.reads(0, bytes(model))
        check(overlay, "-U")
    check(overlay)
    assert not os.path.exists(f"{overlay}.dirty")
    assert content(overlay, tmp_path) == model
    raw = tmp_path / "model.raw"
    raw.write_bytes(model)
    tool("qemu-img", "compare", "-F", "raw", overlay, raw)


def test_discarded_and_zeroed_do_not_show_the_base(tmp_path, base, overlay):
    model = model_of(base)
    with Disk(overlay) as disk:
        disk.do(f"discard 0 {MIB}")
        disk.do(f"zero {2 * MIB + 100} 100000")
        assert disk.do(f"status 0 {2 * MIB}").split()[0] == f"{MIB}:7"
    model[:MIB] = bytes(MIB)
    model[2 * MIB + 100:2 * MIB + 100100] = bytes(100000)
    assert content(overlay, tmp_path) == model
    with Disk(overlay) as disk:
        disk.reads(0, bytes(model))


def test_a_kill_takes_nothing_back(tmp_path, base, overlay):
    model = model_of(base)
    with Disk(overlay) as disk:
        disk.do("write 5000 70000 1")
        model[5000:75000] = b"\1" * 70000
        disk.kill()
    check(overlay)
    # A second one is killed too, before it did anything.
    with Disk(overlay) as disk:
        disk.reads(0, bytes(model))
        disk.kill()
    check(overlay)
    assert content(overlay, tmp_path) == model


def test_what_was_flushed_needs_no_dirty_file(tmp_path, base, overlay):
    model = model_of(base)
    with Disk(overlay) as disk:
        disk.do("write 4096 8192 1")
        disk.do("flush")
        disk.do("fua 1000000 5000 2")
        disk.do("write 2000000 4096 3")
        disk.kill()
    # As after a power loss: that write was not flushed, and is not there.
    os.unlink(f"{overlay}.dirty")
    model[4096:12288] = b"\1" * 8192
    model[1000000:1005000] = b"\2" * 5000
    check(overlay)
    assert content(overlay, tmp_path) == model
    with Disk(overlay) as disk:
        disk.reads(0, bytes(model))


def test_a_dirty_file_of_another_boot_or_image_is_ignored(tmp_path, base,
                                                          overlay):
    for at in 16, 40:  # the image's id; the boot's
        with Disk(overlay) as disk:
            disk.do("write 0 4096 9")
            disk.kill()
        dirty = bytearray(open(f"{overlay}.dirty", "rb").read())
        dirty[at] ^= 1
        open(f"{overlay}.dirty", "wb").write(dirty)
        with Disk(overlay) as disk:
            disk.reads(0, bytes(model_of(base)))


def test_a_dirty_file_is_void_when_qemu_has_written_since(tmp_path, base,
                                                          overlay):
    model = model_of(base)
    with Disk(overlay) as disk:
        disk.do("write 0 4096 9")
        disk.kill()
    tool("qemu-io", "-c", "write -P 7 8192 4096", overlay)
    model[8192:12288] = b"\7" * 4096
    with Disk(overlay) as disk:
        disk.reads(0, bytes(model))
        disk.do("write 0 4096 8")
        disk.kill()
    model[:4096] = b"\x08" * 4096
    with Disk(overlay) as disk:
        disk.reads(0, bytes(model))


def test_what_qemu_writes_is_read_here(tmp_path, base, overlay):
    model = model_of(base)
    rng = random.Random(2)
    for _ in range(3):
        args = []
        for _ in range(30):
            n = rng.randrange(1, 40) * 512
            at = rng.randrange(0, (len(model) - n) // 512) * 512
            fill = rng.randrange(1, 256)
            zero = rng.random() < 0.2
            args += ["-c", f"write {'-z' if zero else f'-P {fill}'} {at} {n}"]
            model[at:at + n] = bytes([0 if zero else fill]) * n
        tool("qemu-io", *args, overlay)
        check(overlay)
        with Disk(overlay) as disk:
            disk.reads(0, bytes(model))
            at, n = rng.randrange(0, 7 * MIB), 50001
            disk.do(f"write {at} {n} 77")
            model[at:at + n] = b"\x4d" * n
        assert content(overlay, tmp_path) == model


def test_what_it_cannot_write_to_is_refused_with_advice(tmp_path, base,
                                                        overlay):
    def refused(path, text):
        disk = Disk(path)
        disk.p.stdin.close()
        disk.p.wait()
        assert disk.opened.startswith("error") and text in disk.opened, \
            disk.opened

    other = tmp_path / "other.qcow2"
    tool("qemu-img", "create", "-q", "-f", "qcow2", other, "8M")
    refused(other, "qemu-img convert")
    tool("qemu-img", "create", "-q", "-f", "qcow2", "-o",
         "extended_l2=on,cluster_size=128k,preallocation=metadata", other, "8M")
    refused(other, "not made by roost")
    refused(base, "not a qcow2 image")
    tool("qemu-io", "-c", "discard 0 128k", "-c", "discard 1M 128k",
         "-c", "write 1M 4k", overlay)
    check(overlay)
    refused(overlay, "moved data")
    for n in range(2):
        path = tmp_path / f"s{n}.qcow2"
        tool(DRIVE, "create", path, 8 * MIB, base)
        if n == 0:
            tool("qemu-img", "bitmap", "--add", path, "b0")
            refused(path, "bitmap --remove")
        else:
            tool("qemu-img", "resize", path, "3G")
            refused(path, "resized")


def test_one_writer_at_a_time(overlay):
    with Disk(overlay) as disk:
        p = tool("qemu-io", "-c", "write 0 4k", overlay, ok=False)
        assert p.returncode and "lock" in p.stdout
        second = Disk(overlay)
        assert second.opened.startswith("error EBUSY")
        second.p.stdin.close()
        second.p.wait()
        p = tool(DRIVE, "grow", overlay, 9 * MIB, ok=False)
        assert p.returncode and "EBUSY" in p.stdout
        disk.do("write 0 4096 1")


def test_grows_and_what_is_added_is_zeroes(tmp_path, base):
    path = tmp_path / "g.qcow2"
    model = model_of(base)[:MIB]
    tool(DRIVE, "create", path, MIB, base)
    with Disk(path) as disk:
        disk.do("write 10000 5000 1")
        disk.kill()
    model[10000:15000] = b"\1" * 5000
    for size in 5 * MIB, 3072 * MIB, 300 << 30:
        tool(DRIVE, "grow", path, size)
        check(path)
        with Disk(path) as disk:
            disk.reads(0, bytes(model) + bytes(4 * MIB))
            disk.do(f"write {size - 4096} 4096 4")
            disk.reads(size - 4096, b"\4" * 4096)
            disk.do(f"zero {size - 4096} 4096")
        check(path)
    tool("qemu-io", "-c", f"read -P 0 {MIB} 8M",
         "-c", f"read -P 0 {(300 << 30) - MIB} 1M", path)


def test_ephemeral_leaves_nothing(tmp_path, overlay):
    with Disk(overlay, "-e") as disk:
        disk.do("write 0 4096 1")
        disk.do("fua 10000 4096 1")
        disk.do("flush")
        assert disk.do("stats") == "1 1 0"  # nothing was flushed
        disk.kill()
    with Disk(overlay, "-e") as disk:
        disk.reads(0, b"\1" * 4096)
        disk.do("discard 0 8388608")
    assert not list(tmp_path.glob("vm.qcow2*"))


def test_direct_works_too(tmp_path, base, overlay):
    model = model_of(base)
    with Disk(overlay, "-d") as disk:
        disk.do("write 4096 65536 3")
        disk.do("write 100 50 4")
        disk.kill()
    model[4096:4096 + 65536] = b"\3" * 65536
    model[100:150] = b"\4" * 50
    with Disk(overlay, "-d") as disk:
        disk.reads(0, bytes(model))
    check(overlay)
    assert content(overlay, tmp_path) == model


def test_a_full_disk_is_an_error_and_nothing_else(tmp_path, base):
    """Full as by a limit of the file's size: a write past it fails."""
    path = tmp_path / "full.qcow2"
    tool(DRIVE, "create", path, 8 * MIB, base)
    model = model_of(base)
    limit = 5 * 131072 + 131072 * 3 + 4 * MIB  # metadata, then half the data

    def limits():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit * 1000))

    with Disk(path, preexec_fn=limits) as disk:
        disk.do("write 1000 9000 1")
        model[1000:10000] = b"\1" * 9000
        assert disk.ask(f"write {6 * MIB} 20000 2").startswith("error")
        disk.do("flush")
        disk.reads(0, bytes(model))
        resource.prlimit(disk.p.pid, resource.RLIMIT_FSIZE,
                         (limit * 1000, limit * 1000))
        disk.do(f"write {6 * MIB} 20000 2")
        model[6 * MIB:6 * MIB + 20000] = b"\2" * 20000
        disk.reads(0, bytes(model))
    check(path)
    assert content(path, tmp_path) == model


def replay(log, model):
    """Apply what has ended; return the ranges of what had only begun."""
    begun = {}
    for line in log:
        words = line.split()
        if words[0] == "b" and len(words) == 6:
            begun[words[1]] = [int(w) for w in words[2:]]
        elif words[0] == "e" and len(words) == 3:
            op, at, n, fill = begun.pop(words[1])
            assert words[2] == "0", line
            if op == DISCARD:
                # Edges inside a block stay as they were.
                end = (at + n) // SUB * SUB if at + n < len(model) else at + n
                at = (at + SUB - 1) // SUB * SUB
                n = max(0, end - at)
            if op in (WRITE, ZERO, DISCARD):
                model[at:at + n] = bytes([fill if op == WRITE else 0]) * n
    return [b for b in begun.values() if b[0] != FLUSH]


def test_kills_in_a_loop_lose_nothing(tmp_path, base, overlay):
    model = model_of(base)
    rng = random.Random(3)
    ended = 0
    for n in range(KILLS):
        log = tmp_path / "log"
        with open(log, "w") as out:
            p = subprocess.Popen([DRIVE, "hammer", overlay, str(n)], stdout=out)
            time.sleep(0.03 + rng.random() * 0.2)
            p.send_signal(signal.SIGKILL)
            assert p.wait() == -signal.SIGKILL
        check(overlay)
        lines = log.read_text().splitlines()
        ended += sum(line.startswith("e") for line in lines)
        unsure = replay(lines, model)
        with Disk(overlay) as disk:
            if n % 3 == 0:
                disk.kill()  # killed again when it has just recovered
        if n % 3 == 0:
            check(overlay)
            with Disk(overlay):
                pass
        check(overlay)
        now = bytearray(content(overlay, tmp_path))
        assert len(now) == len(model)
        for op, at, size, fill in unsure:
            # Each byte of it is as before, or as it was to be.
            want = fill if op == WRITE else 0
            for i in range(at, at + size):
                assert now[i] == model[i] or now[i] == want, (n, op, at, i)
            model[at:at + size] = now[at:at + size]
        if now != model:
            i = next(i for i in range(len(now)) if now[i] != model[i])
            raise AssertionError(f"round {n}: byte {i} is {now[i]}, "
                                 f"not {model[i]}")
    assert ended > KILLS * 10
