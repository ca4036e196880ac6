# SPDX-License-Identifier: Apache-2.0
"""A boot is recorded, and the next one, on any host, is as from local RAM."""
import concurrent.futures

from host import BOOT_BYTES, BOOT_READS, boot, pair


def record(lab):
    host = lab.host()
    guest = host.guest()
    boot(guest, lab.data)
    host.booted()
    guest.shutdown()
    host.stop()
    assert [len(names) for names in pair(lab.shared)] == [1, 1, 0]


def test_another_host_boots_from_the_segment(lab):
    store = lab.slow_store()
    record(lab)
    before = store.reads()
    host = lab.host()
    guest = host.guest()
    host.prefetched()
    boot(guest, lab.data)
    requests, nbytes = (b - a for a, b in zip(before, store.reads()))
    # The map, eight blocks of the fingerprint, and the segment by the MiB.
    assert requests <= 1 + 8 + BOOT_BYTES // (1 << 20) + 2
    assert nbytes <= BOOT_BYTES * 1.05
    reads = host.image()
    assert reads["misses"] == 0 and reads["waits"] == 0
    assert reads["hits"] >= len(BOOT_READS)


def test_clones_share_one_stream(lab):
    store = lab.slow_store()
    record(lab)
    before = store.reads()
    host = lab.host()

    def clone(_):
        guest = host.guest()
        boot(guest, lab.data)
        return guest

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        guests = list(pool.map(clone, range(16)))
    requests, nbytes = (b - a for a, b in zip(before, store.reads()))
    assert nbytes <= BOOT_BYTES * 1.05
    assert requests <= 1 + 8 + BOOT_BYTES // (1 << 20) + 2 + len(BOOT_READS) / 20
    assert len(guests) == 16


def test_a_boot_is_learned_while_the_guest_runs_on(lab):
    lab.slow_store()
    host = lab.host()
    guest = host.guest()
    boot(guest, lab.data)
    host.booted()
    assert [len(names) for names in pair(lab.shared)] == [1, 1, 0]
    boot(guest, lab.data)               # nothing is disturbed
    assert host.image()["map_boots"] == 1


def test_a_boot_that_dies_early_is_no_boot(lab):
    lab.slow_store()
    record(lab)
    was = pair(lab.shared)
    host = lab.host()
    guest = host.guest()
    boot(guest, lab.data, BOOT_READS[:5])
    guest.shutdown()
    host.stop()
    assert pair(lab.shared) == was


def test_what_new_boots_read_is_learned(lab):
    lab.slow_store()
    record(lab)
    more = [(offset + (128 << 10), length) for offset, length in BOOT_READS]
    host = lab.host()
    guest = host.guest()
    boot(guest, lab.data)
    boot(guest, lab.data, more)
    host.booted()
    guest.shutdown()
    host.stop()
    # The segment before is kept: another host may be reading it.
    assert [len(names) for names in pair(lab.shared)] == [1, 2, 0]
    host = lab.host()
    guest = host.guest()
    host.prefetched()
    boot(guest, lab.data, more)
    assert host.image()["misses"] == 0
    assert host.image()["map_boots"] == 2


def test_without_record_nothing_is_written(lab):
    lab.slow_store()
    host = lab.host(options=",record=off")
    guest = host.guest()
    boot(guest, lab.data)
    guest.shutdown()
    host.stop()
    assert pair(lab.shared) == ([], [], [])


def test_what_memory_gives_up_comes_back_from_the_file(lab):
    store = lab.slow_store()
    host = lab.host("--cache-size", "1M", "--cache-file", lab.tmp / "tier",
                    "--cache-file-size", "256M", options=",record=off")
    guest = host.guest()
    boot(guest, lab.data)
    before = store.reads()[0]
    boot(guest, lab.data)
    assert store.reads()[0] - before <= len(BOOT_READS) / 20


def test_a_compressed_segment_serves_as_well(lab):
    store = lab.slow_store()
    lab.data = b"".join(bytes([i % 251]) * 4096 for i in range(12288))
    (lab.shared / "image").write_bytes(lab.data)
    for turn in range(2):
        before = store.reads()
        host = lab.host(options=",compress=on")
        guest = host.guest()
        host.prefetched()
        boot(guest, lab.data)
        host.booted()
        guest.shutdown()
        host.stop()
    assert store.reads()[1] - before[1] <= BOOT_BYTES / 20
