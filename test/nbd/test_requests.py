# SPDX-License-Identifier: Apache-2.0
"""The NBD door's transmission phase, with clients good, bad and gone."""
import os
import random
import signal
import socket
import struct
import threading
import time

import pytest

import door as nbd
from door import (CACHE, DF, DISC, EINVAL, ENOSPC, EPERM, FAST_ZERO, FLUSH,
                  FUA, MIB, NO_HOLE, READ, REQ_ONE, STATUS, TRIM, WRITE, ZERO,
                  Client, Closed, Serve)

SIZE = 128 * MIB
BOTH = "base:allocation", "roost:cached"


@pytest.fixture(scope="module")
def door(tmp_path_factory):
    tmp = tmp_path_factory.mktemp("door")
    with Serve(tmp, f"a=mem:{SIZE}", "ro=mem:65536,ro", "slow=mem:1048576,slow=3000"
               ) as door:
        yield door


@pytest.fixture(params=[False, True], ids=["simple", "structured"])
def client(door, request):
    with Client(door).go("a", request.param) as client:
        yield client


def test_what_is_written_is_read(client):
    data = random.randbytes(300_000)
    assert client.ask(WRITE, 12345, len(data), FUA, data) == 0
    assert client.ask(READ, 12345, len(data)) == data
    assert client.ask(READ, 12344, 2)[1:] == data[:1]
    assert client.ask(FLUSH) == 0
    assert client.ask(ZERO, 12345, 1000) == 0
    assert client.ask(ZERO, 13345, 1000, NO_HOLE | FAST_ZERO | FUA) == 0
    assert client.ask(TRIM, 14345, 1000) == 0
    assert client.ask(CACHE, 0, SIZE) == 0
    assert client.ask(READ, 12345, 4000) == bytes(3000) + data[3000:4000]


def test_nothing_is_a_fine_length(client):
    for command in READ, WRITE, TRIM, ZERO, CACHE:
        assert client.ask(command, 4096) in (0, b"")


def test_out_of_bounds_is_refused(client):
    for offset, length in (SIZE - 10, 11), (SIZE + 1, 1), (2**64 - 4, 8):
        assert client.ask(READ, offset, length) == EINVAL
        assert client.ask(WRITE, offset, length, 0, bytes(length)) == ENOSPC
        assert client.ask(ZERO, offset, length) == ENOSPC
        assert client.ask(TRIM, offset, length) == EINVAL
        assert client.ask(CACHE, offset, length) == EINVAL
    assert client.ask(READ, SIZE - 10, 10) == bytes(10)


def test_what_it_does_not_know_is_refused(client):
    assert client.ask(8) == EINVAL
    assert client.ask(0xffff, 1, 0) == EINVAL
    assert client.ask(READ, 0, 512, NO_HOLE) == EINVAL
    assert client.ask(FLUSH, 1) == EINVAL
    assert client.ask(WRITE, 0, 3, REQ_ONE, b"abc") == EINVAL
    assert client.ask(READ, 0, 512, FUA) == bytes(512)
    assert client.ask(STATUS, 0, 512) == EINVAL


def test_df_needs_structured_replies(client):
    want = bytes(512) if client.structured else EINVAL
    assert client.ask(READ, 0, 512, DF) == want


def test_read_only_means_it(door):
    with Client(door).go("ro") as c:
        assert c.flags & 2
        for command in TRIM, ZERO:
            assert c.ask(command, 0, 512) == EPERM
        assert c.ask(WRITE, 0, 512, 0, bytes(512)) == EPERM
        assert c.ask(READ, 0, 512) == bytes(512)


def test_64_mib_pass(client):
    data = random.randbytes(MIB) * 64
    assert client.ask(WRITE, 4096, len(data), 0, data) == 0
    assert client.ask(READ, 4096, len(data)) == data
    assert client.ask(TRIM, 0, SIZE) == 0


def test_more_is_refused_and_the_stream_goes_on(client):
    n = 64 * MIB + 1
    assert client.ask(READ, 0, n) == EINVAL
    assert client.ask(READ, 0, 2**32 - 1) == EINVAL
    before = client.ask(READ, 0, 4096)
    assert client.ask(WRITE, 0, n, 0, b"\x55" * n) == EINVAL
    assert client.ask(READ, 0, 4096) == before


def test_many_large_ones_at_once_share_the_memory(tmp_path):
    with Serve(tmp_path, f"a=mem:{SIZE}") as door:
        fds = door.nfds()
        for _ in range(2):
            clients = [Client(door, timeout=60).go("a") for _ in range(12)]
            for c in clients:
                for _ in range(2):
                    c.put(READ, 0, 64 * MIB)
            for _ in range(10):
                time.sleep(0.1)
                assert door.rss() < SIZE + (256 + 80) * MIB
            for c in clients[4:]:
                c.sock.close()  # those that wait must not wait for these
            for c in clients[:4]:
                for _ in range(2):
                    assert c.take(64 * MIB)[1] == 0
                c.sock.close()
        door.settles(door.nfds, fds)


def test_status_in_both_contexts(tmp_path):
    path = tmp_path / "disk"
    with open(path, "wb") as f:
        f.truncate(4 * MIB)
        f.seek(MIB)
        f.write(b"x" * MIB)
    with Serve(tmp_path, f"f={path}") as door:
        with Client(door).go("f", True, BOTH) as c:
            c.put(STATUS, 0, 4 * MIB)
            _, flags, kind, data = c.take_chunk()
            assert (flags, kind) == (0, 5)
            assert struct.unpack(">7I", data) == (
                1, MIB, 3, MIB, 0, 2 * MIB, 3)
            _, flags, kind, data = c.take_chunk()
            assert (flags, kind) == (1, 5)
            assert struct.unpack(">3I", data) == (2, 4 * MIB, 0)
            c.put(STATUS, MIB + 5, MIB, REQ_ONE)
            _, _, _, data = c.take_chunk()
            assert struct.unpack(">3I", data) == (1, MIB - 5, 0)
            assert struct.unpack(">3I", c.take_chunk()[3]) == (2, MIB, 0)
        with Client(door).go("f", True, BOTH[1:]) as c:
            c.put(STATUS, 0, MIB)
            assert c.take_chunk()[1] == 1
            assert c.ask(STATUS, 0, 0) == EINVAL
            assert c.ask(STATUS, 4 * MIB, 1) == EINVAL


def test_more_in_flight_than_slots(door):
    with Client(door).go("slow") as c:
        cookies = {c.put(READ, i * 512, 512) for i in range(1000)}
        assert {c.take(512)[0] for _ in range(1000)} == cookies


def test_a_write_may_come_byte_by_byte(client):
    client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    message = struct.pack(">IHHQQI", 0x25609513, 0, WRITE, 1, 777, 300)
    for byte in message + b"y" * 300:
        client.send(bytes([byte]))
    assert client.take() == (1, 0, b"")
    assert client.ask(READ, 777, 300) == b"y" * 300


def test_many_writes_and_reads_at_once(client):
    """Whatever lies beside whatever in the received bytes."""
    rng = random.Random(5)
    want = bytearray(client.ask(READ, 0, 2 * MIB))
    for _ in range(20):
        writes = []
        for _ in range(50):
            n = rng.choice([1, 27, 28, 29, 512, 4096, 32739, 32740, 40000])
            at = rng.randrange(MIB)
            writes.append((at, rng.randbytes(n)))
            want[at:at + n] = writes[-1][1]
        # One connection's writes in flight are in no order: mem keeps it.
        sender = threading.Thread(target=lambda: [
            client.put(WRITE, at, len(d), 0, d) for at, d in writes])
        sender.start()
        for _ in writes:
            assert client.take()[1] == 0
        sender.join()
    assert client.ask(READ, 0, 2 * MIB) == want


def test_bad_magic_ends_it(client):
    client.send(bytes(28))
    assert client.is_closed()


def test_disc_waits_for_what_is_in_flight(door):
    with Client(door).go("slow") as c:
        cookies = {c.put(READ, 0, 512) for _ in range(50)}
        c.put(DISC)
        assert {c.take(512)[0] for _ in range(50)} == cookies
        assert c.is_closed()


def test_hundreds_of_clients_vanish_mid_request(tmp_path):
    rng = random.Random(1)
    with Serve(tmp_path, "slow=mem:1048576,slow=2000", "a=mem:1048576") as door:
        with Client(door).go("a") as witness:
            fds = door.nfds()
            for i in range(400):
                c = Client(door).go("slow", structured=i & 1)
                for _ in range(rng.randrange(1, 40)):
                    n = rng.choice([0, 1, 4096, 200_000])
                    if rng.random() < 0.5:
                        c.put(READ, 0, n)
                    else:
                        c.put(WRITE, 0, n, 0, bytes(n))
                # Half a message, a reset, or only one direction gone.
                if i % 3 == 0:
                    c.send(struct.pack(">IHHQQI", 0x25609513, 0, WRITE, 1, 0,
                                       100_000) + bytes(rng.randrange(99_999)))
                if i % 4 == 0:
                    c.sock.shutdown(socket.SHUT_WR)
                elif i % 4 == 1:
                    c.sock.shutdown(socket.SHUT_RD)
                c.sock.close()
                if i % 50 == 0:
                    assert witness.ask(READ, i, 1) == b"\0"
            door.settles(door.nfds, fds)
        stats = door.stop()
        assert stats["connections"] == 401
        assert stats["reads"] + stats["writes"] > 1000


def test_who_does_not_read_answers_holds_little(tmp_path):
    with Serve(tmp_path, "a=mem:16777216") as door:
        with Client(door, timeout=0.5).go("a") as greedy:
            before = door.rss()
            with pytest.raises(TimeoutError):
                while True:
                    greedy.put(READ, 0, MIB)
            # 8 MiB for a connection, and what the first touch of mem takes.
            assert door.rss() - before < 40 * MIB
            with Client(door).go("a") as other:
                assert other.ask(READ, 0, 512) == bytes(512)


def test_an_export_is_removed_under_its_clients(tmp_path):
    exports = "slow=mem:1048576,slow=100000", "b=mem:4096"
    with Serve(tmp_path, *exports) as door:
        with Client(door).go("slow") as c, Client(door).go("b") as other:
            cookies = {c.put(READ, 0, 512) for _ in range(20)}
            time.sleep(0.05)
            door.popen.send_signal(signal.SIGUSR1)
            # Those in flight are answered, then it is over.
            assert {c.take(512)[0] for _ in range(20)} == cookies
            assert c.is_closed()
            assert door.popen.stdout.readline() == "removed\n"
            assert other.ask(READ, 0, 1) == b"\0"
            with Client(door).hello() as late:
                got = late.option(nbd.GO, late.info("slow"))
                assert got == [(nbd.UNKNOWN, b"")]


def test_a_client_that_does_not_read_cannot_keep_an_export(tmp_path):
    with Serve(tmp_path, "a=mem:16777216") as door:
        with Client(door, timeout=0.5).go("a") as greedy:
            with pytest.raises(TimeoutError):
                while True:
                    greedy.put(READ, 0, MIB)
            door.popen.send_signal(signal.SIGUSR1)
            begin = time.monotonic()
            assert door.popen.stdout.readline() == "removed\n"
            assert time.monotonic() - begin < 10


def test_it_stops_in_order_under_load(tmp_path):
    with Serve(tmp_path, "slow=mem:1048576,slow=50000") as door:
        clients = [Client(door).go("slow") for _ in range(20)]
        for c in clients:
            for _ in range(10):
                c.put(READ, 0, 4096)
        time.sleep(0.02)
        stats = door.stop()
        assert stats["reads"] == 200
        for c in clients:
            for _ in range(10):
                assert c.take(4096)[1] == 0
            with pytest.raises(Closed):
                c.get(1)
            c.sock.close()


def test_no_descriptor_is_left_behind(door):
    fds = door.nfds()
    for _ in range(50):
        with Client(door):
            pass
        with Client(door).hello():
            pass
        with Client(door).go("a"):
            pass
    door.settles(door.nfds, fds)


def test_it_starts_and_stops_quickly(tmp_path):
    begin = time.monotonic()
    with Serve(tmp_path, "a=mem:4096") as door:
        assert time.monotonic() - begin < 5
        assert os.path.exists(door.sock)
