# SPDX-License-Identifier: Apache-2.0
"""The NBD store against nbdkit: bytes, speed, and servers that misbehave."""
import signal
import subprocess
import time

import pytest

from driver import DATA, SIZE, Nbdkit, Store, crc, refused
from serving import killed_again_and_again


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "image"
    path.write_bytes(DATA)
    return path


def test_reads_any_bytes_in_any_number_of_pieces(tmp_path, image):
    with Nbdkit(tmp_path, "file", image) as kit, Store(kit.url()) as store:
        assert store.ask("size").split()[:3] == ["ok", str(SIZE), "1"]
        for offset, length in (0, 1), (1, 4095), (SIZE - 1, 1), (0, SIZE):
            for pieces in 1, 2, 17:
                store.read(offset, length, pieces)
        assert store.ask(f"read {SIZE} 1") == "error ERANGE"
        assert store.ask("write 0 1 1") == "error EROFS"
        assert store.ask("flush") == "ok"
        assert store.ask("cache 0 4096") == "ok"


def test_many_requests_are_in_flight_on_one_connection(tmp_path, image):
    args = "--filter=delay", "file", image, "rdelay=5ms"
    with Nbdkit(tmp_path, *args) as kit:
        with Store(kit.url(connections=1)) as store:
            # One after the other takes 1600 ms; 16 at a time, 100 ms.
            assert store.many(0, 4096, 320, 8192) < 500


def test_several_connections_if_the_server_allows_it(tmp_path, image):
    args = "--filter=delay", "file", image, "rdelay=5ms"
    with Nbdkit(tmp_path, *args) as kit:
        with Store(kit.url(connections=4)) as store:
            store.many(0, 4096, 16, 8192)
            store.ask("wait 200")
            assert connections(kit) == 4
            store.many(0, 4096, 320, 8192)
            store.many(0, 4096, 320, 8192, "low")
    args = "--filter=multi-conn", "file", image, "multi-conn-mode=disable"
    with Nbdkit(tmp_path, *args) as kit:
        with Store(kit.url(connections=4)) as store:
            store.many(0, 4096, 16, 8192)
            store.ask("wait 200")
            assert connections(kit) == 1


def connections(kit):
    out = subprocess.run(["ss", "-xH", "state", "established", "src", kit.sock],
                         text=True, stdout=subprocess.PIPE, check=True).stdout
    return len(out.splitlines())


def test_writes_zeroes_and_discards(tmp_path, image):
    data = bytearray(DATA)
    with Nbdkit(tmp_path, "file", image) as kit:
        with Store(kit.url(), "-w") as store:
            assert store.ask("write 1000 5000 7") == "ok"
            assert store.ask("write 100000 3000000 8 31") == "ok"
            assert store.ask("fua 50000 4096 9") == "ok"
            assert store.ask("zero 4000000 65536") == "ok"
            assert store.ask("nohole 4100000 65536") == "ok"
            assert store.ask("flush") == "ok"
            data[1000:6000] = b"\7" * 5000
            data[100000:3100000] = b"\x08" * 3000000
            data[50000:54096] = b"\x09" * 4096
            data[4000000:4065536] = data[4100000:4165536] = bytes(65536)
            store.read(0, SIZE, data=data)
            assert store.ask("discard 6291456 1048576") == "ok"
    data[6291456:7340032] = bytes(1048576)
    assert image.read_bytes() == data


def test_fua_without_fua_is_a_flush(tmp_path, image):
    log = tmp_path / "log"
    args = "--filter=log", "--filter=fua", "file", image, f"logfile={log}"
    with Nbdkit(tmp_path, *args) as kit, Store(kit.url(), "-w") as store:
        assert store.ask("fua 0 4096 1") == "ok"
        assert store.ask("write 0 4096 1") == "ok"
    assert log.read_text().count(" Flush id=") == 1


def test_tells_holes_from_data(tmp_path):
    args = "data", "@0x10000 1*65536 @0x30000 1*4096", "size=1M"
    with Nbdkit(tmp_path, *args) as kit, Store(kit.url()) as store:
        answer = store.ask("status 0 1048576").split()
        assert answer[:2] == ["ok", "65536:3"]
        assert [int(a.split(":")[1]) for a in answer[1:]] == [3, 0, 3, 0, 3]
        assert sum(int(a.split(":")[0]) for a in answer[1:]) == 1 << 20
        assert store.ask("status 70000 10") == "ok 10:0"
    with Nbdkit(tmp_path, "--filter=noextents", *args) as kit:
        with Store(kit.url()) as store:
            assert store.ask("status 0 1048576") == "ok 1048576:0"


def test_says_what_it_cannot_open(tmp_path, image):
    with Nbdkit(tmp_path, "-e", "golden", "file", image) as kit:
        Store(kit.url("golden")).__exit__(None)
    with Nbdkit(tmp_path, "--filter=exportname", "file", image,
                "exportname=golden", "exportname-strict=true") as kit:
        assert refused(kit.url("silver")).startswith("error ENOENT")
        with Store(kit.url("golden")) as store:
            store.read(0, 4096)
    gone = f"nbd+unix:///?socket={tmp_path}/gone.sock"
    assert refused(gone).startswith("error ENOENT")
    assert refused("nbd://127.0.0.1:1/").startswith("error ECONNREFUSED")
    for bad in "connections=0", "connections=x", "timeout=", "reconnect=-1":
        assert refused(f"{gone}&{bad}").startswith("error EINVAL")
    with Nbdkit(tmp_path, "-r", "file", image) as kit:
        assert refused(kit.url(), "-w").startswith("error EROFS")


def test_passes_up_what_the_server_says(tmp_path, image):
    trigger = tmp_path / "fail"
    args = ("--filter=error", "file", image, "error=ENOSPC",
            "error-rate=100%", f"error-file={trigger}")
    with Nbdkit(tmp_path, *args) as kit, Store(kit.url(), "-w") as store:
        trigger.touch()
        assert store.ask("write 0 4096 1") == "error ENOSPC"
        assert store.ask("read 0 4096 3") == "error ENOSPC"
        assert store.ask("many 0 4096 100 4096").startswith("error ENOSPC")
        assert store.ask("status 0 4096") == "ok 4096:0"
        trigger.unlink()
        store.read(4096, SIZE - 4096)


def test_requests_wait_for_a_server_that_is_killed_and_comes_back(tmp_path,
                                                                  image):
    args = "--filter=delay", "file", image, "rdelay=300ms"
    with Nbdkit(tmp_path, *args) as kit, Store(kit.url()) as store:
        store.read(0, 4096)
        store.send(f"many 0 4096 64 4096")
        time.sleep(0.1)         # in flight
        kit.kill()
        time.sleep(0.5)
        kit.start()
        assert store.answer().split()[:2] == ["ok", crc(DATA[:64 * 4096])]
        kit.kill()              # with nothing in flight
        kit.start()
        store.read(8192, 100000, 5)


def test_survives_a_server_that_is_killed_again_and_again(tmp_path, image):
    args = "--filter=delay", "file", image, "rdelay=20ms"
    with Nbdkit(tmp_path, *args) as kit, Store(kit.url()) as store:
        with killed_again_and_again(kit, 0.15):
            for i in range(40):
                store.many(i * 512, 4096, 100, 65536)
                store.read(i * 1000, 1 << 20, 13)


def test_gives_up_on_a_server_that_stays_away(tmp_path, image):
    with Nbdkit(tmp_path, "file", image) as kit:
        with Store(kit.url(reconnect=1)) as store:
            store.read(0, 4096)
            kit.kill()
            before = time.monotonic()
            assert store.ask("many 0 4096 50 4096").startswith("error ETIMED")
            assert 0.9 < time.monotonic() - before < 5
            assert store.ask("read 0 4096").startswith("error ETIMEDOUT")
            kit.start()
            store.read(0, 4096)


def test_gives_up_a_connection_that_hangs(tmp_path, image):
    with Nbdkit(tmp_path, "file", image) as kit:
        with Store(kit.url(timeout=1, reconnect=20)) as store:
            store.read(0, 4096)
            hung = kit.p
            hung.send_signal(signal.SIGSTOP)
            time.sleep(0.1)
            store.send("many 0 4096 64 4096")
            time.sleep(0.3)
            kit.p = None        # another one takes over the address
            kit.start()
            assert store.answer().split()[:2] == ["ok", crc(DATA[:64 * 4096])]
            hung.kill()
            hung.wait()


def test_gives_up_on_a_server_that_hangs_for_good(tmp_path, image):
    with Nbdkit(tmp_path, "file", image) as kit:
        with Store(kit.url(timeout=1, reconnect=2)) as store:
            store.read(0, 4096)
            kit.p.send_signal(signal.SIGSTOP)
            time.sleep(0.1)
            assert store.ask("read 0 4096") == "error ETIMEDOUT"
            kit.p.send_signal(signal.SIGCONT)
            store.read(0, 4096)


def test_refuses_a_server_that_comes_back_with_another_size(tmp_path, image):
    with Nbdkit(tmp_path, "file", image) as kit:
        with Store(kit.url(reconnect=1)) as store:
            store.read(0, 4096)
            kit.kill()
            image.write_bytes(DATA[:-512])
            kit.start()
            assert store.ask("read 0 4096") == "error ESTALE"
            kit.kill()
            image.write_bytes(DATA)
            kit.start()
            store.read(0, 4096)


def test_can_be_closed_while_it_dials(tmp_path, image):
    with Nbdkit(tmp_path, "file", image) as kit:
        with Store(kit.url(reconnect=0)) as store:
            store.read(0, 4096)
            kit.p.send_signal(signal.SIGSTOP)   # takes connections, says nothing
            assert store.ask("wait 10") == "ok"
        kit.p.send_signal(signal.SIGCONT)


def test_keeps_to_the_blocks_that_the_server_wants(tmp_path, image):
    args = ("--filter=blocksize-policy", "file", image,
            "blocksize-minimum=512", "blocksize-preferred=4096",
            "blocksize-maximum=65536", "blocksize-error-policy=error")
    with Nbdkit(tmp_path, *args) as kit, Store(kit.url()) as store:
        assert store.ask("size").split()[2] == "512"
        store.read(512, SIZE - 512)
        store.read(0, SIZE, 3)
        assert store.ask("read 1 512") == "error EINVAL"


def test_talks_tls_with_a_shared_key(tmp_path, image):
    psk = tmp_path / "psk"
    subprocess.run(["psktool", "-u", "roost", "-p", psk], check=True,
                   stdout=subprocess.DEVNULL)
    args = "--tls=require", f"--tls-psk={psk}", "file", image
    with Nbdkit(tmp_path, *args) as kit:
        tls = kit.url(**{"tls-psk-file": psk}).replace(
            "nbd+unix://", "nbds+unix://roost@")
        with Store(tls) as store:
            store.read(0, SIZE, 5)
            kit.kill()
            kit.start()
            store.read(0, SIZE)
        assert refused(kit.url()).startswith("error")
