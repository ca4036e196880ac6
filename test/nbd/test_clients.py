# SPDX-License-Identifier: Apache-2.0
"""The NBD door with the clients that people use."""
import json
import os
import random
import subprocess

import nbd as libnbd
import pytest

from door import MIB, SERVE, Serve

SIZE = 32 * MIB


def run(*args, code=0):
    p = subprocess.run([str(a) for a in args], text=True, timeout=120,
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert p.returncode == code, p.stdout
    return p.stdout


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    """Data, a hole, data."""
    path = tmp_path_factory.mktemp("image") / "image"
    data = random.Random(3).randbytes(4 * MIB)
    with open(path, "wb") as f:
        f.write(data)
        f.seek(16 * MIB)
        f.write(data)
        f.truncate(SIZE)
    return path


@pytest.fixture
def door(tmp_path, image):
    disk = tmp_path / "disk"
    disk.touch()
    os.truncate(disk, SIZE)
    with Serve(tmp_path, f"image={image},ro", f"disk={disk}") as door:
        door.disk = disk
        yield door


def same(a, b):
    with open(a, "rb") as fa, open(b, "rb") as fb:
        return fa.read() == fb.read()


def test_nbdinfo(door):
    info = json.loads(run("nbdinfo", "--json", "--list", door.uri()))
    assert [e["export-name"] for e in info["exports"]] == ["image", "disk"]
    image, disk = info["exports"]
    assert info["structured"] and info["protocol"] == "newstyle-fixed"
    for e in image, disk:
        assert e["export-size"] == SIZE
        assert e["contexts"] == ["base:allocation", "roost:cached"]
        assert e["block_size_minimum"] == 1
        assert e["block_size_maximum"] == 64 * MIB
        assert e["can_df"] and e["can_multi_conn"]
    assert image["is_read_only"] and not disk["is_read_only"]
    assert all(disk["can_" + c] for c in ("cache", "fast_zero", "flush", "fua",
                                          "trim", "zero"))
    extents = json.loads(run("nbdinfo", "--json", "--map", door.uri("image")))
    assert [(e["offset"], e["length"], e["type"]) for e in extents] == [
        (0, 4 * MIB, 0), (4 * MIB, 12 * MIB, 3),
        (16 * MIB, 4 * MIB, 0), (20 * MIB, 12 * MIB, 3)]
    cached = run("nbdinfo", "--map=roost:cached", door.uri("image"))
    assert cached.split()[:2] == ["0", str(SIZE)]


def test_nbdcopy_both_ways(door, image, tmp_path):
    run("nbdcopy", door.uri("image"), tmp_path / "out")
    assert same(tmp_path / "out", image)
    run("nbdcopy", "--connections=4", "--flush", image, door.uri("disk"))
    assert same(door.disk, image)
    run("nbdcopy", "--synchronous", door.uri("image"), door.uri("disk"))
    assert same(door.disk, image)


def test_qemu_img(door, image, tmp_path):
    info = json.loads(run("qemu-img", "info", "--output=json", door.uri("image")))
    assert info["virtual-size"] == SIZE
    run("qemu-img", "convert", "-n", "-f", "raw", "-O", "raw", image,
        door.uri("disk"))
    run("qemu-img", "compare", "-f", "raw", "-F", "raw", image, door.uri("disk"))
    out = tmp_path / "out.qcow2"
    run("qemu-img", "convert", "-W", "-f", "raw", "-O", "qcow2",
        door.uri("image"), out)
    run("qemu-img", "compare", "-f", "raw", "-F", "qcow2", image, out)
    extents = json.loads(run("qemu-img", "map", "--output=json",
                             door.uri("image")))
    assert [(e["start"], e["length"], e["zero"]) for e in extents] == [
        (0, 4 * MIB, False), (4 * MIB, 12 * MIB, True),
        (16 * MIB, 4 * MIB, False), (20 * MIB, 12 * MIB, True)]


def test_qcow2_inside(door):
    """qemu-img creates an image on it, fills it, checks it."""
    uri = door.uri("disk")
    run("qemu-img", "create", "-q", "-f", "qcow2", uri, "16M")
    run("qemu-io", "-f", "qcow2", "-c", "write -P 7 1M 5M", "-c", "flush", uri)
    run("qemu-io", "-f", "qcow2", "-c", "read -P 7 1M 5M", uri)
    run("qemu-img", "check", "-f", "qcow2", uri)


def test_qemu_io(door):
    out = run("qemu-io", "-f", "raw",
              "-c", "write -P 1 0 1M", "-c", "write -f -P 2 1M 1M",
              "-c", "write -z 256k 64k", "-c", "write -z -u 512k 64k",
              "-c", "discard 2M 1M", "-c", "flush",
              "-c", "aio_write -P 3 5M 2M", "-c", "aio_read 0 8M",
              "-c", "aio_flush",
              "-c", "read -P 1 0 256k", "-c", "read -P 0 256k 64k",
              "-c", "read -P 0 512k 64k", "-c", "read -P 2 1M 1M",
              "-c", "read -P 3 5M 2M", "-c", "read -P 3 5300001 7",
              door.uri("disk"))
    assert "failed" not in out and "verification" not in out
    out = run("qemu-io", "-r", "-f", "raw", "-c", "write 0 512",
              door.uri("image"), code=1)
    assert "read-only" in out


def test_nbdkit_in_between(door, image, tmp_path):
    out = tmp_path / "out"
    run("nbdkit", "-U", "-", "nbd", f"socket={door.sock}", "export=image",
        "--run", f"nbdcopy $uri {out}")
    assert same(out, image)
    run("nbdkit", "-U", "-", "nbd", f"socket={door.sock}", "export=disk",
        "shared=true", "--run", f"nbdcopy {image} $uri")
    assert same(door.disk, image)


@pytest.mark.parametrize("structured", [False, True])
def test_libnbd(door, structured):
    h = libnbd.NBD()
    h.set_request_structured_replies(structured)
    h.add_meta_context("base:allocation")
    h.add_meta_context("roost:cached")
    h.set_strict_mode(0)
    h.connect_uri(door.uri("disk"))
    h.pwrite(b"x" * 70000, 1000, libnbd.CMD_FLAG_FUA)
    assert h.pread(70002, 999) == b"\0" + b"x" * 70000 + b"\0"
    h.zero(1000, 1000, libnbd.CMD_FLAG_NO_HOLE)
    h.zero(1 * MIB, 4096, libnbd.CMD_FLAG_FAST_ZERO)
    h.trim(64 * 1024, 2 * MIB)
    h.cache(MIB, 0)
    h.flush()
    assert h.pread(2, 1999) == b"\0x"
    if structured:
        assert h.pread(10, 0, libnbd.CMD_FLAG_DF) == bytes(10)
        found = {}

        def extent(context, offset, entries, error):
            found[context] = entries
        h.block_status(SIZE, 0, extent)
        assert sum(found["base:allocation"][::2]) == SIZE
        assert found["roost:cached"] == [SIZE, 0]
    with pytest.raises(libnbd.Error) as e:
        h.pread(512, SIZE)
    assert e.value.errno == "EINVAL"
    with pytest.raises(libnbd.Error) as e:
        h.pwrite(bytes(512), SIZE)
    assert e.value.errno == "ENOSPC"
    assert h.pread(1, SIZE - 1) == b"\0"
    h.shutdown()


def test_flush_of_one_connection_covers_another(door):
    one, two = libnbd.NBD(), libnbd.NBD()
    for h in one, two:
        h.connect_uri(door.uri("disk"))
    assert one.can_multi_conn()
    one.pwrite(b"12345678", 0)
    two.flush()
    assert two.pread(8, 0) == b"12345678"


def test_fio(door, tmp_path):
    if "nbd" not in run("fio", "--enghelp"):
        pytest.skip("fio has no nbd engine")
    run("fio", "--name=t", "--ioengine=nbd", "--rw=randrw", "--bs=4k-64k",
        f"--uri={door.uri('disk')}", "--size=16m", "--io_size=32m",
        "--iodepth=16", "--verify=crc32c", "--verify_fatal=1",
        f"--directory={tmp_path}", "--randrepeat=1")


def test_socket_activation(image, tmp_path):
    out = tmp_path / "out"
    run("nbdcopy", "--", "[", SERVE, "-a", f"image={image},ro", "]", out)
    assert same(out, image)


def test_stdio(image):
    h = libnbd.NBD()
    h.connect_command([SERVE, "-s", f"image={image},ro"])
    with open(image, "rb") as f:
        assert h.pread(4 * MIB, 14 * MIB) == f.read()[14 * MIB:18 * MIB]
    h.shutdown()


def test_stdio_over_pipes(image, tmp_path):
    """Not a socket but two pipes, as at the far end of ssh."""
    relay = tmp_path / "relay.py"
    relay.write_text(RELAY)
    h = libnbd.NBD()
    h.connect_command(["/usr/bin/python3", str(relay), SERVE, "-s",
                       f"image={image}"])
    with open(image, "rb") as f:
        want = f.read()
    assert h.pread(4 * MIB, 14 * MIB) == want[14 * MIB:18 * MIB]
    h.pwrite(want[:MIB + 1], 20 * MIB)
    assert h.pread(MIB + 2, 20 * MIB) == want[:MIB + 1] + b"\0"
    h.trim(MIB + 1, 20 * MIB)
    h.shutdown()


RELAY = """
import os, socket, subprocess, sys, threading
peer = socket.socket(fileno=0)
child = subprocess.Popen(sys.argv[1:], stdin=subprocess.PIPE,
                         stdout=subprocess.PIPE)
def down():
    while data := peer.recv(1 << 16):
        child.stdin.write(data)
        child.stdin.flush()
    child.stdin.close()
threading.Thread(target=down, daemon=True).start()
while data := os.read(child.stdout.fileno(), 1 << 16):
    peer.sendall(data)
sys.exit(child.wait())
"""
