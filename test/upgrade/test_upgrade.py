# SPDX-License-Identifier: Apache-2.0
"""The daemon goes on as another process: no disk, no request and nothing that
is cached is lost; and after a kill no write that was acknowledged."""
import os
import pathlib
import random
import signal
import socket
import subprocess
import sys
import threading
import time

import nbd
import pytest

HERE = pathlib.Path(__file__).parent
sys.path[:0] = [str(HERE.parent / "boot"), str(HERE.parent / "prog")]

from conftest import Lab                                       # noqa: E402
from daemon import BLKD, EXTRA, MIB, Daemon, image, needs       # noqa: E402
from host import BOOT_BYTES, BOOT_READS, boot, until            # noqa: E402
from serving import free_port                                  # noqa: E402

QEMU = ("qemu-img", "qemu-io", "qemu-storage-daemon")


@pytest.fixture
def lab(tmp_path):
    lab = Lab(tmp_path)
    yield lab
    lab.end()


def upgrade(daemon):
    """Upgrade a Daemon, and wait until its successor serves."""
    count = daemon.text().count("serving ")
    daemon.process.send_signal(signal.SIGUSR2)
    until(lambda: daemon.text().count("serving ") > count
          or daemon.process.poll() is not None)
    assert daemon.process.poll() is None, daemon.text()


def upgrade_host(host):
    count = host.log.read_text().count("serving ")
    host.p.send_signal(signal.SIGUSR2)
    until(lambda: host.log.read_text().count("serving ") > count
          or host.p.poll() is not None)
    assert host.p.poll() is None, host.log.read_text()


def listening(pid):
    """Its descriptors that are sockets or memory; for leaks."""
    folder = pathlib.Path(f"/proc/{pid}/fd")
    names = []
    for fd in folder.iterdir():
        try:
            names.append(os.readlink(fd))
        except FileNotFoundError:
            pass
    return len(names)


def test_the_cache_is_there_after_it(lab):
    store = lab.slow_store(5)
    host = lab.host()
    guest = host.guest()
    boot(guest, lab.data)
    used = host.ask("status")["cache_used_bytes"]
    pid = host.ask("status")["pid"]
    before = store.reads()
    upgrade_host(host)
    assert host.ask("status")["pid"] == pid
    assert host.ask("status")["cache_used_bytes"] == used
    boot(guest, lab.data)               # over the connection of before
    # Nothing but the blocks of the fingerprint.
    assert store.reads()[0] - before[0] <= 8
    reads = host.image()
    assert reads["misses"] == 0 and reads["waits"] == 0
    assert reads["hits"] >= len(BOOT_READS)


def test_nor_is_the_boot_set_fetched_again(lab):
    """With a map: the prefetch finds all of it present."""
    store = lab.slow_store()
    host = lab.host()
    guest = host.guest()
    boot(guest, lab.data)
    host.booted()
    before = store.reads()
    for _ in range(3):
        upgrade_host(host)
        guest = host.guest()
        host.prefetched()
        boot(guest, lab.data)
        # Who comes back is no boot.
        assert not host.image()["is_recording"]
        assert host.image()["map_boots"] == 1
    requests, nbytes = (b - a for a, b in zip(before, store.reads()))
    assert requests <= 3 * (1 + 8)
    assert nbytes < BOOT_BYTES / 4
    assert host.image()["misses"] == 0


def test_an_image_that_changed_meanwhile_is_read_anew(lab):
    store = lab.slow_store()
    host = lab.host()
    boot(host.guest(), lab.data)
    upgrade_host(host)
    changed = bytearray(lab.data)
    changed[0] ^= 1                     # a block of the fingerprint
    changed[BOOT_READS[7][0]] ^= 1
    (lab.shared / "image").write_bytes(changed)
    assert store
    boot(host.guest(), bytes(changed))


def test_requests_go_on_through_it(tmp_path):
    """Every answer is right, and nobody notices."""
    data = image(tmp_path / "a", 8 * MIB).read_bytes()
    stop = threading.Event()
    counts = [0, 0]
    errors = []

    def read(seed):
        rng = random.Random(seed)
        h = None
        while not stop.is_set():
            offset = rng.randrange(len(data) // 4096) * 4096
            try:
                if h is None:
                    h = nbd.NBD()
                    h.connect_unix(str(daemon.nbd))
                    counts[1] += 1
                if h.pread(4096, offset) != data[offset:offset + 4096]:
                    errors.append("wrong bytes")
                counts[0] += 1
            except Exception as e:      # noqa: BLE001: a thread's last words
                errors.append(repr(e))
                return

    with Daemon(tmp_path, "--disk", f"a={tmp_path / 'a'},ro") as daemon:
        threads = [threading.Thread(target=read, args=(i,)) for i in range(4)]
        for thread in threads:
            thread.start()
        try:
            for _ in range(10):
                was = counts[0]
                upgrade(daemon)
                until(lambda: counts[0] > was + 50 or errors)
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        assert not errors, errors[:5]
        assert counts[1] == 4           # none of them connected again


def test_what_is_in_flight_goes_on_too(tmp_path):
    """Deep queues of large and small requests, halves of which are still in
    the socket, or half received, when the daemon goes."""
    image(tmp_path / "a", 16 * MIB)
    overlay = tmp_path / "o.qcow2"
    with Daemon(tmp_path, "--disk",
                f"a={tmp_path / 'a'},overlay={overlay}") as daemon:
        h = nbd.NBD()
        h.add_meta_context(nbd.CONTEXT_BASE_ALLOCATION)
        h.connect_unix(str(daemon.nbd))
        assert h.get_structured_replies_negotiated()
        rng = random.Random(3)
        for turn in range(12):
            sizes = [rng.choice([4096, 65536, 1 << 20]) for _ in range(12)]
            wrote = [rng.randbytes(16) * (size // 16) for size in sizes]
            cookies = [h.aio_pwrite(nbd.Buffer.from_bytearray(bytearray(data)),
                                    i << 20) for i, data in enumerate(wrote)]
            if turn % 2:
                h.poll(0)
            count = daemon.text().count("serving ")
            daemon.process.send_signal(signal.SIGUSR2)
            while not all(h.aio_command_completed(c) for c in cookies[-1:]):
                h.poll(1000)
            until(lambda: daemon.text().count("serving ") > count)
            for c in cookies[:-1]:
                while not h.aio_command_completed(c):
                    h.poll(1000)
            extents = []
            h.block_status(1 << 20, 0, lambda *what: extents.append(what[0]))
            assert extents == ["base:allocation"]
            for i, data in enumerate(wrote):
                assert h.pread(len(data), i << 20) == data
        assert daemon.ask(op="status")["clients"] == 1
        h.shutdown()


def test_who_cannot_be_kept_is_cut_off_and_can_come_again(tmp_path):
    """In the middle of a handshake; or with another disk than it was told."""
    path = image(tmp_path / "a")
    with Daemon(tmp_path, "--disk", f"a={path},ro") as daemon:
        early = socket.socket(socket.AF_UNIX)
        early.connect(str(daemon.nbd))
        early.settimeout(10)
        assert early.recv(18)[:8] == b"NBDMAGIC"
        h = nbd.NBD()
        h.connect_unix(str(daemon.nbd))
        image(path, 8 * MIB)            # larger than it was told
        upgrade(daemon)
        assert early.recv(1) == b""
        with pytest.raises(nbd.Error):
            h.pread(512, 0)
        assert "a client was cut off" in daemon.text()
        h = nbd.NBD()
        h.connect_unix(str(daemon.nbd))
        assert h.get_size() == 8 * MIB
        early.close()


def test_all_sockets_stay_and_none_is_lost_or_left(tmp_path):
    image(tmp_path / "a")
    port, metrics = free_port(), free_port()
    vhost = tmp_path / "vhost.sock"
    with Daemon(tmp_path, "--disk",
                f"a={tmp_path / 'a'},ro,vhost-user={vhost}", "--listen",
                f"tcp:127.0.0.1:{port}", "--metrics", f"127.0.0.1:{metrics}",
                "--pid-file", tmp_path / "pid") as daemon:
        paths = [daemon.nbd, daemon.control, vhost]
        inodes = [p.stat().st_ino for p in paths]
        upgrade(daemon)
        fds = listening(daemon.process.pid)
        for _ in range(5):
            upgrade(daemon)
        assert [p.stat().st_ino for p in paths] == inodes
        assert listening(daemon.process.pid) == fds
        for address in (("127.0.0.1", port), ("127.0.0.1", metrics)):
            socket.create_connection(address).close()
        for path in paths:
            with socket.socket(socket.AF_UNIX) as s:
                s.connect(str(path))
        assert daemon.ask(op="status")["ok"]
        assert (tmp_path / "pid").read_text() == f"{daemon.process.pid}\n"
    assert not any(p.exists() for p in (*paths, tmp_path / "pid"))


def test_sockets_of_a_service_manager_stay(tmp_path):
    """As systemd hands them over; and it hears of the reload."""
    image(tmp_path / "a")
    path, notify = tmp_path / "sd.sock", tmp_path / "notify"
    told = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    told.bind(str(notify))
    told.settimeout(10)
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(str(path))
        s.listen()
        fd = s.fileno()
        os.set_inheritable(fd, True)
        log = tmp_path / "log"
        p = subprocess.Popen(
            ["bash", "-c", f"exec 3<&{fd}; export LISTEN_PID=$$ LISTEN_FDS=1 "
             "LISTEN_FDNAMES=nbd; exec \"$@\"", "sh", BLKD, *EXTRA,
             "--foreground", "--disk", f"a={tmp_path / 'a'},ro"], close_fds=False,
            stderr=open(log, "w"), env=dict(os.environ,
                                            NOTIFY_SOCKET=str(notify)))
    try:
        assert told.recv(100) == b"READY=1"
        for _ in range(3):
            p.send_signal(signal.SIGUSR2)
            assert told.recv(100).startswith(b"RELOADING=1\nMONOTONIC_USEC=")
            assert told.recv(100) == b"READY=1"
            h = nbd.NBD()
            h.connect_unix(str(path))
            assert h.get_size() == 4 * MIB
            h.shutdown()
        p.terminate()
        assert told.recv(100) == b"STOPPING=1"
        assert p.wait(20) == 0, log.read_text()
    finally:
        p.kill()
        p.wait()
    assert path.exists()                # it is not ours to remove


@pytest.mark.parametrize("state", [True, False])
def test_what_was_added_and_what_is_ephemeral_stays(tmp_path, state):
    image(tmp_path / "a")
    overlays = tmp_path / "overlays"
    overlays.mkdir()
    args = () if state else ("--overlays", overlays)
    with Daemon(tmp_path, "--disk", f"e={tmp_path / 'a'},ephemeral", *args,
                state=state) as daemon:
        assert daemon.ask(op="disk-add", name="late", file=str(tmp_path / "a"),
                          overlay=str(tmp_path / "late.qcow2"))["ok"]
        handles = {}

        def connect(name):
            h = nbd.NBD()
            h.connect_uri(daemon.uri(name))
            return h

        for name in ("e", "late"):
            handles[name] = connect(name)
            handles[name].pwrite(name[:1].encode() * 8192, 4096)
        for _ in range(2):
            upgrade(daemon)
            for name in ("e", "late"):
                h = connect(name)
                assert h.pread(8192, 4096) == name[:1].encode() * 8192
                h.pwrite(b"x", 1 << 20)
                assert h.pread(1, 1 << 20) == b"x"
    # The ephemeral one is gone with the daemon.
    assert not list(overlays.glob("roost-e-*"))


def test_what_cannot_start_does_not_replace_what_runs(tmp_path):
    image(tmp_path / "a")
    conf = tmp_path / "conf"
    conf.write_text("[daemon]\ncache-size = 64M\n")
    with Daemon(tmp_path, "--disk", f"a={tmp_path / 'a'},ro", "--config",
                conf) as daemon:
        h = nbd.NBD()
        h.connect_unix(str(daemon.nbd))
        conf.write_text("[daemon]\ncache-size = none\n")
        daemon.process.send_signal(signal.SIGUSR2)
        daemon.wait_for("no upgrade: ")
        assert "cache-size" in daemon.roost("upgrade", code=1)
        assert len(h.pread(4096, 0)) == 4096
        conf.write_text("[daemon]\ncache-size = 32M\n")
        count = daemon.text().count("serving ")
        daemon.roost("upgrade")
        until(lambda: daemon.text().count("serving ") > count)
        assert daemon.ask(op="status")["cache_ram_bytes"] == 32 * MIB


def test_another_version_takes_over(tmp_path):
    """The path is executed that the daemon was started from, whatever is there
    now, and a handover that is not understood is no obstacle."""
    image(tmp_path / "a")
    program = tmp_path / "blkd"
    program.write_bytes(pathlib.Path(BLKD).read_bytes())
    program.chmod(0o755)
    log = tmp_path / "log"
    sock = tmp_path / "nbd.sock"
    p = subprocess.Popen([program, *EXTRA, "--foreground", "--listen", f"unix:{sock}",
                          "--disk", f"a={tmp_path / 'a'},ro"],
                         stderr=open(log, "w"))
    try:
        until(lambda: "serving " in log.read_text())
        program.rename(tmp_path / "old")
        # "handover" is a word that only its version field uses.
        old = (tmp_path / "old").read_bytes()
        assert old.count(b"handover\0") >= 1
        program.write_bytes(old.replace(b"handover\0", b"handofer\0"))
        program.chmod(0o755)
        p.send_signal(signal.SIGUSR2)
        until(lambda: log.read_text().count("serving ") == 2
              or p.poll() is not None)
        assert p.poll() is None, log.read_text()
        assert "not understood" in log.read_text()
        assert os.readlink(f"/proc/{p.pid}/exe") == str(program)
        h = nbd.NBD()
        h.connect_unix(str(sock))
        assert h.get_size() == 4 * MIB
    finally:
        p.kill()
        p.wait()


def test_a_store_that_hangs_does_not_hold_the_upgrade_up(lab):
    lab.slow_store()
    host = lab.host()
    guest = host.guest()
    guest.pread(4096, 0)
    lab.store.p.send_signal(signal.SIGSTOP)
    guest.aio_pread(nbd.Buffer(4096), 8 << 20)
    time.sleep(0.2)
    host.p.send_signal(signal.SIGUSR2)
    time.sleep(1)
    late = socket.socket(socket.AF_UNIX)
    late.connect(str(host.socket))      # waits in the queue
    late.settimeout(20)
    until(lambda: "a store hangs" in host.log.read_text(), 20)
    lab.store.p.send_signal(signal.SIGCONT)
    assert late.recv(8) == b"NBDMAGIC"
    late.close()
    guest = host.guest()
    assert guest.pread(4096, 8 << 20) == lab.data[8 << 20:][:4096]
    assert host.p.poll() is None


# ---- writes of QEMU, through upgrades and kills ----


class Writer:
    """qemu-storage-daemon over our NBD with reconnect-delay, and a client of
    it that keeps account of what was acknowledged."""

    def __init__(self, tmp, nbd_sock, name):
        self.sock = tmp / "qsd.sock"
        self.p = subprocess.Popen(
            ["qemu-storage-daemon", "--blockdev",
             f"driver=nbd,node-name=n,server.type=unix,server.path={nbd_sock},"
             f"export={name},reconnect-delay=20", "--nbd-server",
             f"addr.type=unix,addr.path={self.sock}", "--export",
             "type=nbd,id=e,node-name=n,name=,writable=on"])
        until(self.sock.exists)
        self.acked = {}
        self.errors = []
        self.stopping = False
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        rng = random.Random(1)
        h = nbd.NBD()
        try:
            h.connect_unix(str(self.sock))
            n = 0
            while not self.stopping:
                n += 1
                at = rng.randrange(512) * 4096
                data = rng.randbytes(8) * 512
                h.pwrite(data, at, nbd.CMD_FLAG_FUA if n % 8 == 0 else 0)
                self.acked[at] = data
                other = rng.choice(list(self.acked))
                if h.pread(4096, other) != self.acked[other]:
                    self.errors.append(f"wrong bytes at {other}")
        except nbd.Error as e:
            self.errors.append(str(e))

    def end(self):
        self.stopping = True
        self.thread.join()
        self.p.terminate()
        self.p.wait()


def check(overlay, acked, base):
    subprocess.run(["qemu-img", "check", "-q", overlay], check=True)
    out = overlay.with_suffix(".raw")
    subprocess.run(["qemu-img", "convert", "-q", "-O", "raw", overlay, out],
                   check=True)
    data = out.read_bytes()
    for at in range(0, 512 * 4096, 4096):
        want = acked.get(at, base[at:at + 4096])
        assert data[at:at + 4096] == want, at


@pytest.mark.skipif(needs(*QEMU), reason=str(needs(*QEMU)))
@pytest.mark.parametrize("how", ["upgrade", "kill"])
def test_no_acknowledged_write_is_lost(tmp_path, how):
    base = image(tmp_path / "a").read_bytes()
    overlay = tmp_path / "o.qcow2"
    args = ("--disk", f"a={tmp_path / 'a'},overlay={overlay}")
    daemon = Daemon(tmp_path, *args)
    writer = Writer(tmp_path, daemon.nbd, "a")
    try:
        for _ in range(20):
            was = len(writer.acked)
            time.sleep(0.05)
            if how == "upgrade":
                upgrade(daemon)
            else:
                daemon.stop(signal.SIGKILL)
                daemon = Daemon(tmp_path, *args)
            assert len(writer.acked) >= was
            assert not writer.errors, writer.errors
        n = len(writer.acked)
        until(lambda: len(writer.acked) > n or n > 400 or writer.errors)
    finally:
        writer.end()
    assert not writer.errors, writer.errors
    assert daemon.stop() == 0
    check(overlay, writer.acked, base)
