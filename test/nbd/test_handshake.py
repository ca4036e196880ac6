# SPDX-License-Identifier: Apache-2.0
"""The NBD door's handshake: what it must say, and to what it must not fall."""
import struct
import time

import pytest

import door as nbd
from door import (ABORT, ACK, EXPORT_NAME, GO, INFO, INVALID, LIST, LIST_META,
                  META, OPT_INFO, POLICY, SERVER, SET_META, STARTTLS, STATUS,
                  STRUCTURED, TOO_BIG, UNKNOWN, UNSUP, Client, Closed, Serve)


@pytest.fixture
def door(tmp_path):
    with Serve(tmp_path, "a=mem:1048576", "b=mem:65536,ro") as door:
        yield door


def test_lists_names_and_descriptions(door):
    with Client(door).hello() as c:
        got = c.option(LIST)
        assert got == [(SERVER, struct.pack(">I1s1s", 1, b"a", b"a")),
                       (SERVER, struct.pack(">I1s1s", 1, b"b", b"b")),
                       (ACK, b"")]
        assert c.option(LIST, b"x") == [(INVALID, b"")]


def test_informs_before_it_goes(door):
    with Client(door).hello() as c:
        got = c.option(OPT_INFO, c.info("b", 1, 2, 3, 99))
        kinds = [struct.unpack(">H", data[:2])[0] for _, data in got[:-1]]
        assert sorted(kinds) == [0, 1, 2, 3] and got[-1] == (ACK, b"")
        sizes = next(d for _, d in got if d[:2] == b"\0\3")
        assert struct.unpack(">III", sizes[2:]) == (1, 4096, 64 << 20)
        _, size, flags = struct.unpack(">HQH", got[0][1])
        assert size == 65536 and flags & 3 == 3
        assert c.option(GO, c.info("b"))[-1] == (ACK, b"")
        assert c.ask(nbd.READ, 0, 5) == bytes(5)


def test_says_what_it_does_not_know(door):
    with Client(door).hello() as c:
        assert c.option(99, b"whatever") == [(UNSUP, b"")]
        assert c.option(GO, c.info("nobody")) == [(UNKNOWN, b"")]
        assert c.option(GO, c.info("")) == [(UNKNOWN, b"")]  # there are two
        assert c.option(GO, c.info("a\0")) == [(INVALID, b"")]
        assert c.option(GO, c.info("a" * 5000)) == [(INVALID, b"")]
        assert c.option(STARTTLS) == [(POLICY, b"")]
        for bad in b"", b"\0\0\0\x09a\0\0", c.info("a") + b"x", c.info("a")[:-1]:
            assert c.option(GO, bad) == [(INVALID, b"")]
            assert c.option(OPT_INFO, bad) == [(INVALID, b"")]
        assert c.option(ABORT) == [(ACK, b"")]
        assert c.is_closed()


def test_too_large_an_option_is_skipped(door):
    with Client(door).hello() as c:
        assert c.option(GO, bytes(1 << 20)) == [(TOO_BIG, b"")]
        assert c.option(OPT_INFO, c.info("a"))[-1] == (ACK, b"")


def test_an_only_export_is_the_default(tmp_path):
    with Serve(tmp_path, "only=mem:4096") as door:
        with Client(door).hello() as c:
            got = c.option(GO, c.info("", 1))
            assert (INFO, b"\0\1only") in got


def test_an_export_name_ends_the_handshake(door):
    for flags, zeroes in (0, 124), (1, 124), (2, 0), (3, 0):
        with Client(door).hello(flags) as c:
            c.put_option(EXPORT_NAME, b"a")
            size, bits = struct.unpack(">QH", c.get(10))
            assert size == 1048576 and bits & 1
            assert c.get(zeroes) == bytes(zeroes)
            assert c.ask(nbd.READ, 0, 10) == bytes(10)
    for name in b"nobody", b"a" * 5000, b"a" * 100000:
        with Client(door).hello() as c:
            c.put_option(EXPORT_NAME, name)
            assert c.is_closed()


def test_a_client_without_fixed_newstyle_gets_no_replies(door):
    with Client(door).hello(2) as c:
        c.put_option(LIST)
        assert c.is_closed()


def test_unknown_client_flags_and_bad_magic_end_it(door):
    with Client(door).hello(7) as c:
        assert c.is_closed()
    with Client(door).hello() as c:
        c.send(b"IHAVEOPX" + bytes(8))
        assert c.is_closed()


def test_contexts_match_as_asked(door):
    both = [(META, bytes(4) + b"base:allocation"),
            (META, bytes(4) + b"roost:cached"), (ACK, b"")]
    with Client(door).hello() as c:
        assert c.option(LIST_META, c.meta("a")) == [(INVALID, b"")]
        assert c.option(STRUCTURED, b"x") == [(INVALID, b"")]
        assert c.option(STRUCTURED) == [(ACK, b"")]
        assert c.option(LIST_META, c.meta("a")) == both
        assert c.option(LIST_META, c.meta("a", "base:", "x:")) == [both[0], both[2]]
        assert c.option(LIST_META, c.meta("a", "roost:cached")) == both[1:]
        assert c.option(LIST_META, c.meta("nobody")) == [(UNKNOWN, b"")]
        assert c.option(SET_META, c.meta("a")) == [(ACK, b"")]
        assert c.option(SET_META, c.meta("a", "base:")) == [(ACK, b"")]
        got = c.option(SET_META, c.meta("a", "base:allocation", "roost:cached"))
        assert len({data[:4] for _, data in got[:2]}) == 2
        bad = c.meta("a", "base:allocation")
        for cut in 1, 5, len(bad) - 1:
            assert c.option(SET_META, bad[:cut]) == [(INVALID, b"")]
        # That failed, so nothing is set any more.
        assert c.option(GO, c.info("a"))[-1] == (ACK, b"")
        c.structured = True
        assert c.ask(STATUS, 0, 4096) == nbd.EINVAL


def test_contexts_of_one_export_are_not_another_ones(door):
    with Client(door).hello() as c:
        c.option(STRUCTURED)
        assert len(c.option(SET_META, c.meta("b", "base:allocation"))) == 2
        assert c.option(GO, c.info("a"))[-1] == (ACK, b"")
        c.structured = True
        assert c.ask(STATUS, 0, 4096) == nbd.EINVAL


def test_many_options_at_once_are_answered_in_order(door):
    with Client(door).hello() as c:
        n = 500
        c.send(n * (b"IHAVEOPT" + struct.pack(">II", LIST, 0)))
        for _ in range(n):
            assert len(c.replies(LIST)) == 3


def test_an_option_may_come_byte_by_byte(door):
    with Client(door) as c:
        c.hello()
        data = c.info("a", 3)
        for byte in b"IHAVEOPT" + struct.pack(">II", GO, len(data)) + data:
            c.send(bytes([byte]))
            time.sleep(0.001)
        assert c.replies(GO)[-1] == (ACK, b"")


def test_who_dawdles_is_cut_off(tmp_path):
    with Serve(tmp_path, "a=mem:4096", args=["-H", "200"]) as door:
        with Client(door).hello() as slow, Client(door).go("a") as fast:
            begin = time.monotonic()
            assert slow.is_closed()
            assert 0.1 < time.monotonic() - begin < 5
            assert fast.ask(nbd.READ, 0, 1) == b"\0"


def test_one_too_many_waits_for_a_place(tmp_path):
    with Serve(tmp_path, "a=mem:4096", args=["-c", "2"]) as door:
        one, two = Client(door).go("a"), Client(door).go("a")
        with Client(door, timeout=0.3) as three:
            with pytest.raises(TimeoutError):
                three.get(1)
            one.sock.close()
            three.go("a")
        two.sock.close()


def test_a_listing_that_nobody_reads_does_not_grow(tmp_path):
    names = [f"{'n' * 1000}{i}=mem:4096" for i in range(60)]
    with Serve(tmp_path, *names) as door:
        before = door.rss()
        with Client(door, timeout=0.5).hello() as c:
            one = b"IHAVEOPT" + struct.pack(">II", LIST, 0)
            with pytest.raises(TimeoutError):
                while True:
                    c.send(one * 1000)
            assert door.rss() - before < 16 << 20


def test_garbage_is_refused(door):
    for data in b"GET / HTTP/1.1\r\n\r\n", bytes(1000), b"\xff" * 1000:
        with Client(door) as c:
            c.send(data)
            with pytest.raises(Closed):
                c.get(1 << 20)
