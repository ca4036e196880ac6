# SPDX-License-Identifier: Apache-2.0
"""The vhost-user-blk door under a real QEMU with a real guest."""
import hashlib
import os
import pathlib
import random
import signal
import subprocess
import threading
import time

import pytest

HERE = pathlib.Path(__file__).parent
SERVE = os.environ.get("VHOST_SERVE", "build/test/vhost/vhost_serve")
GUEST = pathlib.Path(os.environ.get("VHOST_GUEST", "build/test/vhost/guest"))
SIZE = 32 << 20
BLOCK = 64 << 10


@pytest.fixture(scope="session")
def guest():
    p = subprocess.run([HERE / "make_guest.sh", GUEST], text=True,
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if p.returncode == 77:
        pytest.skip(p.stdout.strip())
    assert p.returncode == 0, p.stdout
    return ["-kernel", GUEST / "vmlinuz", "-initrd", GUEST / "initramfs.gz"]


running = []


@pytest.fixture(autouse=True)
def nothing_runs_on():
    """A test that fails leaves no process behind."""
    yield
    for p in running:
        if p.poll() is None:
            p.kill()
            p.wait()
    running.clear()


class Server:
    def __init__(self, tmp, *args):
        self.sock = tmp / "vhost.sock"
        self.args = args
        self.log = ""
        self.start()

    def start(self):
        self.p = subprocess.Popen([SERVE, self.sock, *self.args], text=True,
                                  stderr=subprocess.PIPE)
        running.append(self.p)
        end = time.time() + 10
        while not self.sock.exists() and time.time() < end:
            time.sleep(0.01)

    def kill(self):
        """kill -9, and the socket goes, as when a host's daemon crashes."""
        self.p.kill()
        self.log += self.p.communicate()[1]
        self.sock.unlink()

    def stop(self):
        self.p.send_signal(signal.SIGTERM)
        _, err = self.p.communicate(timeout=20)
        assert self.p.returncode == 0, err
        return err


class Vm:
    """A QEMU on the server's disk; its console's lines as they come."""

    def __init__(self, server, *args, queues=2, timeout=240):
        self.lines = []
        self.p = subprocess.Popen([
            "qemu-system-x86_64", "-M", "q35,memory-backend=mem",
            "-accel", "tcg", "-cpu", "qemu64", "-smp", "2", "-m", "192",
            "-nodefaults", "-display", "none", "-no-reboot",
            "-serial", "stdio",
            "-object", "memory-backend-memfd,id=mem,size=192M,share=on",
            "-chardev", f"socket,id=disk,path={server.sock},reconnect=1",
            "-device", "vhost-user-blk-pci,chardev=disk,bootindex=1,"
            f"num-queues={queues}", *map(str, args)], text=True,
            errors="replace", stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        running.append(self.p)
        self.timer = threading.Timer(timeout, self.p.kill)
        self.timer.daemon = True
        self.timer.start()

    def __iter__(self):
        for line in self.p.stdout:
            self.lines.append(line.rstrip())
            yield self.lines[-1]

    def finish(self):
        """Read to the end; {key: [values]} of the lines "KEY value"."""
        for _ in self:
            pass
        code = self.p.wait(20)
        self.timer.cancel()
        said = {}
        for line in self.lines:
            key, _, value = line.partition(" ")
            said.setdefault(key, []).append(value)
        return code, said


def linux(guest, todo):
    return *guest, "-append", f"console=ttyS0 quiet panic=-1 todo={todo}"


def fill(n, round_):
    line = f"block {n} round {round_}\n".encode()
    return (line * (BLOCK // len(line) + 1))[:BLOCK]


def md5(data):
    return hashlib.md5(data).hexdigest()


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "image"
    path.write_bytes(random.Random(7).randbytes(SIZE))
    return path


def test_a_guest_uses_the_disk(tmp_path, guest, image):
    want = bytearray(image.read_bytes())
    server = Server(tmp_path, image)
    vm = Vm(server, *linux(guest, "use"))
    code, said = vm.finish()
    assert code == 0 and said["GUEST"] == ["up", "done"], vm.lines
    assert said["SIZE"] == [str(SIZE // 512)]
    assert said["SERIAL"] == ["roost-test"]
    assert said["RO"] == ["0"] and said["QUEUES"] == ["2"]
    assert said["BLOCK"] == ["512 4096"]
    assert all(int(n) >= 1 << 20 for n in said["LIMITS"][0].split())
    assert said["CACHE"] == ["write back", "write through"]
    assert said["READ"] == [md5(want[:4 << 20])]

    data = b"".join(fill(n, 1) for n in range(4))
    assert said["WROTE"] == said["BACK"] == [md5(data) + "  -"]
    assert said["DISCARD"] == ["0"]
    want[64 * BLOCK:68 * BLOCK] = data
    want[10001 * 512:10004 * 512] = data[:3 * 512]
    want[65 * BLOCK:66 * BLOCK] = bytes(BLOCK)
    if said["ZERO"] == ["0"]:
        want[66 * BLOCK:67 * BLOCK] = bytes(BLOCK)
    want[80 * BLOCK:81 * BLOCK] = fill(9, 9)
    log = server.stop()
    assert " 0 broken" in log, log
    assert image.read_bytes() == want


def test_a_guest_cannot_write_to_a_read_only_disk(tmp_path, guest, image):
    before = image.read_bytes()
    server = Server(tmp_path, "ro", image)
    code, said = Vm(server, *linux(guest, "write_denied")).finish()
    assert code == 0 and said["RO"] == ["1"] and said["WRITE"] != ["0"]
    server.stop()
    assert image.read_bytes() == before


def test_nothing_is_lost_when_the_server_is_killed(tmp_path, guest, image):
    """kill -9 with requests in flight, again and again; QEMU reconnects."""
    server = Server(tmp_path, "slow=40", image)
    vm = Vm(server, *linux(guest, "write_load"), queues=2)
    kills = 0
    for line in vm:
        # Each writer's first rounds end at different times: a kill at most
        # of them finds the others' requests in flight.
        if line.startswith("ROUND") and kills < 8:
            kills += 1
            time.sleep(0.02)
            server.kill()
            server.start()
    code, said = vm.finish()
    assert code == 0 and said["GUEST"] == ["up", "done"], vm.lines
    assert "ERROR" not in said and kills == 8
    assert len(said["ROUND"]) == 24
    want = b"".join(fill(n, 6) for n in range(32))
    assert said["BACK"] == [md5(want) + "  -"]
    server.stop()
    assert image.read_bytes()[:len(want)] == want
    assert "done again" in server.log


def test_a_server_that_stops_in_order_is_replaced(tmp_path, guest, image):
    server = Server(tmp_path, "slow=5", image)
    vm = Vm(server, *linux(guest, "write_load"))
    stops = 0
    for line in vm:
        if line.startswith("ROUND") and stops < 4:
            stops += 1
            server.stop()
            server.sock.unlink()
            server.start()
    code, said = vm.finish()
    assert code == 0 and "ERROR" not in said and stops == 4, vm.lines
    server.stop()
    want = b"".join(fill(n, 6) for n in range(32))
    assert image.read_bytes()[:len(want)] == want


def test_a_bios_boots_from_it(tmp_path):
    run = subprocess.run
    run(["as", "--32", HERE / "bootsector.s", "-o", tmp_path / "boot.o"],
        check=True)
    run(["ld", "-m", "elf_i386", "-Ttext", "0x7c00", "--oformat", "binary",
         "-o", tmp_path / "boot.raw", tmp_path / "boot.o"], check=True)
    disk = bytearray((tmp_path / "boot.raw").read_bytes())
    assert len(disk) == 512
    disk += b"BOOTED from the disk\r\n\0".ljust((1 << 20) - 512, b"\0")
    image = tmp_path / "image"
    image.write_bytes(disk)
    server = Server(tmp_path, "ro", image)
    vm = Vm(server, "-device", "isa-debug-exit,iobase=0xf4", timeout=60)
    code, said = vm.finish()
    assert code == 1 and said.get("BOOTED") == ["from the disk"], vm.lines
    server.stop()


def test_many_guests_come_and_go(tmp_path, image):
    """QEMU killed while its firmware reads: the server takes the next one."""
    server = Server(tmp_path, "slow=1", "ro", image)
    for i in range(12):
        vm = Vm(server, timeout=60)
        time.sleep(0.3 + 0.05 * i)
        vm.p.kill()
        vm.finish()
    log = server.stop()
    assert log.count("has come") == 12, log
