# SPDX-License-Identifier: Apache-2.0
"""Whatever happens to store, map, segment or daemon: the image's bytes, or an
error that ends when its cause does."""
import os
import random
import signal
import subprocess
import threading
import time

import nbd
import pytest

from host import BOOT_READS, boot, pair


def record(lab, host):
    guest = host.guest()
    boot(guest, lab.data)
    host.booted()
    guest.shutdown()


def segment(lab):
    return lab.shared / pair(lab.shared)[1][0]


def flip(path, at):
    data = bytearray(path.read_bytes())
    data[at] ^= 0x40
    path.write_bytes(data)


def cut(path, size):
    os.truncate(path, size)


DAMAGES = {
    "map flipped": lambda lab: flip(lab.shared / "image.bootmap", 300),
    "map cut": lambda lab: cut(lab.shared / "image.bootmap", 99),
    "map empty": lambda lab: cut(lab.shared / "image.bootmap", 0),
    "segment flipped": lambda lab: flip(segment(lab), 2 << 20),
    "segment cut": lambda lab: cut(segment(lab), 3 << 20),
    "segment empty": lambda lab: cut(segment(lab), 0),
    "segment gone": lambda lab: segment(lab).unlink(),
    "segment swapped": lambda lab: segment(lab).write_bytes(
        random.Random(3).randbytes(segment(lab).stat().st_size)),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_found_told_and_mended(lab, damage):
    lab.slow_store(delay_ms=0)
    host = lab.host()
    record(lab, host)
    host.stop()
    DAMAGES[damage](lab)
    host = lab.host()
    guest = host.guest()
    host.prefetched()
    boot(guest, lab.data)               # never a wrong byte
    host.booted()
    told = [line for line in host.log.read_text().splitlines()
            if "anew" in line or "cannot be read" in line
            or "bootseg" in line]
    assert 1 <= len(told) <= 2, host.log.read_text()
    guest.shutdown()
    host.stop()
    host = lab.host()                   # recorded anew
    guest = host.guest()
    host.prefetched()
    boot(guest, lab.data)
    assert host.image()["misses"] == 0


def test_a_map_of_another_image_is_not_used(lab):
    lab.slow_store(delay_ms=0)
    host = lab.host()
    record(lab, host)
    host.stop()
    lab.data = random.Random(10).randbytes(len(lab.data))
    (lab.shared / "image").write_bytes(lab.data)
    lab.store.stop()
    lab.store.start()
    host = lab.host()
    guest = host.guest()
    boot(guest, lab.data)
    assert host.image()["prefetch_requests"] == 0
    assert "another version" in host.log.read_text()


def test_a_kill_at_any_moment_leaves_a_pair_that_serves(lab):
    """kill -9 during boots and while segments are written."""
    lab.slow_store(delay_ms=0)
    dice = random.Random(1)
    for turn in range(40):
        host = lab.host()
        guest = host.guest()
        if turn % 2:
            boot(guest, lab.data, BOOT_READS[:dice.randrange(1, 192)])
        else:
            boot(guest, lab.data)
            # Another set each time, so that there is a segment to write.
            boot(guest, lab.data, [(offset + (64 << 10) * (1 + turn % 3), 8192)
                                   for offset, _ in BOOT_READS])
            host.ask("boot-mark-done", name="disk")
        time.sleep(dice.random() * 0.05)
        host.kill()
        assert "anew" not in host.log.read_text()
        maps, _, _ = pair(lab.shared)
        assert len(maps) <= 1
    assert pair(lab.shared)[0], "no turn lived long enough: a bad test"
    host = lab.host()
    guest = host.guest()
    host.prefetched()
    boot(guest, lab.data)
    assert host.image()["map_boots"] > 1
    assert host.image()["prefetched_bytes"] > 0
    host.booted()


def test_a_store_that_hangs_delays_and_no_more(lab):
    store = lab.slow_store()
    host = lab.host()
    guest = host.guest()
    boot(guest, lab.data, BOOT_READS[:50])
    os.kill(store.p.pid, signal.SIGSTOP)
    boot(guest, lab.data, BOOT_READS[:50])      # what is cached is there
    result = []
    reader = threading.Thread(target=lambda: result.append(
        boot(guest, lab.data, BOOT_READS[50:60])))
    reader.start()
    time.sleep(0.5)
    assert not result
    assert host.ask("status")                   # the daemon lives on
    os.kill(store.p.pid, signal.SIGCONT)
    reader.join(30)
    assert result
    boot(guest, lab.data)


def test_a_store_that_is_restarted_is_found_again(lab):
    store = lab.slow_store()
    host = lab.host()
    guest = host.guest()
    boot(guest, lab.data, BOOT_READS[:50])
    store.stop()
    result = []
    reader = threading.Thread(target=lambda: result.append(
        boot(guest, lab.data)))
    reader.start()
    time.sleep(1)
    store.start()
    reader.join(60)
    assert result


def test_a_store_that_fails_fails_reads_and_comes_back(lab):
    trigger = lab.tmp / "fail"
    lab.slow_store(more=["--filter=error", "error-pread=EIO",
                         "error-pread-rate=100%",
                         f"error-pread-file={trigger}"])
    host = lab.host()
    guest = host.guest()
    boot(guest, lab.data, BOOT_READS[:50])
    trigger.touch()
    boot(guest, lab.data, BOOT_READS[:50])
    for offset, length in BOOT_READS[50:60]:
        with pytest.raises(nbd.Error, match="Input/output error"):
            guest.pread(length, offset)
    trigger.unlink()
    boot(guest, lab.data)


def test_a_full_disk_costs_only_the_segment(lab):
    small = lab.tmp / "small"
    small.mkdir()
    p = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", small],
                       stderr=subprocess.PIPE, text=True)
    if p.returncode:
        pytest.skip(f"needs a small file system: {p.stderr.strip()}")
    try:
        lab.slow_store(delay_ms=0)
        host = lab.host(boot=small)
        guest = host.guest()
        boot(guest, lab.data)
        host.booted()
        boot(guest, lab.data)
        assert "No space left" in host.log.read_text()
        assert list(small.iterdir()) == []
        guest.shutdown()
        host.stop()
    finally:
        subprocess.run(["umount", "-l", small], check=True)


def test_clients_that_vanish_hurt_nobody(lab):
    lab.slow_store(delay_ms=20)
    host = lab.host()
    witness = host.guest()
    for turn in range(200):
        guest = host.guest()
        for offset, length in BOOT_READS[turn % 100:turn % 100 + 8]:
            guest.aio_pread(nbd.Buffer(length), offset)
        guest.poll(0)
        del guest                       # with all of it in flight
    boot(witness, lab.data)
    witness.shutdown()
    host.stop()
