"""roost-blkd from outside: what it serves, how it starts, ends, and fails."""
import json
import os
import signal
import socket
import subprocess
import time
import urllib.request

import nbd
import pytest

from daemon import BLKD, EXTRA, MIB, Daemon, image, needs
from serving import free_port


def connect(uri):
    h = nbd.NBD()
    h.connect_uri(uri)
    return h


def run(*args, **kw):
    return subprocess.run([BLKD, *map(str, args), *EXTRA], text=True,
                          stdin=subprocess.DEVNULL, capture_output=True,
                          timeout=30, **kw)


def test_serves_a_file(tmp_path):
    raw = image(tmp_path / "a.raw")
    with Daemon(tmp_path, "--disk", f"a={raw},ro") as d:
        h = connect(d.uri("a"))
        assert h.get_size() == 4 * MIB and h.is_read_only()
        assert h.pread(MIB, 12345) == raw.read_bytes()[12345:12345 + MIB]
        h.shutdown()
        subprocess.run(["nbdcopy", d.uri("a"), str(tmp_path / "copy")],
                       check=True)
        assert (tmp_path / "copy").read_bytes() == raw.read_bytes()


def test_writes_to_a_file(tmp_path):
    raw = image(tmp_path / "a.raw")
    with Daemon(tmp_path, "--disk", f"a={raw}") as d:
        h = connect(d.uri())  # the only one is the default export
        h.pwrite(b"x" * 4096, 8192, nbd.CMD_FLAG_FUA)
        h.shutdown()
    assert raw.read_bytes()[8192:12288] == b"x" * 4096


def test_an_overlay_keeps_writes_and_leaves_the_image_alone(tmp_path):
    raw = image(tmp_path / "a.raw")
    was = raw.read_bytes()
    overlay = tmp_path / "o.qcow2"
    for round in range(2):
        with Daemon(tmp_path, "--disk",
                    f"a={raw},overlay={overlay},cache=on") as d:
            h = connect(d.uri("a"))
            if round == 0:
                h.pwrite(b"x" * 512, 1 * MIB)
            assert h.pread(512, 1 * MIB) == b"x" * 512
            assert h.pread(512, 0) == was[:512]
            h.shutdown()
        p = subprocess.run(["qemu-img", "check", "-q", str(overlay)])
        assert p.returncode == 0
    assert raw.read_bytes() == was


def test_an_ephemeral_disk_forgets(tmp_path):
    raw = image(tmp_path / "a.raw")
    with Daemon(tmp_path, "--overlays", tmp_path, "--disk",
                f"a={raw},ephemeral") as d:
        h = connect(d.uri("a"))
        h.pwrite(b"x" * 512, 0)
        assert h.pread(512, 0) == b"x" * 512
        assert list(tmp_path.glob("roost-a-*.qcow2"))
        h.shutdown()
    assert not list(tmp_path.glob("*.qcow2"))
    assert raw.read_bytes()[:512] != b"x" * 512


@pytest.mark.skipif(needs("nbdkit"), reason=str(needs("nbdkit")))
def test_the_second_boot_reads_the_segment(tmp_path):
    """Recording, writing and prefetching, over an NBD server."""
    store = tmp_path / "store"
    store.mkdir()
    content = image(store / "a.raw", 32 * MIB).read_bytes()
    origin = tmp_path / "origin.log"
    slow = tmp_path / "slow.sock"
    nbdkit = subprocess.Popen(
        ["nbdkit", "-f", "-U", str(slow), "--filter=log", "file",
         f"dir={store}", f"logfile={origin}"])
    requests = []
    try:
        while not slow.exists():
            time.sleep(0.01)
        for boot in range(2):
            origin.write_text("")
            with Daemon(tmp_path, "--disk", f"a=nbd+unix:///a.raw?socket={slow}"
                        f",ro,boot={store}") as d:
                h = connect(d.uri("a"))
                for i in range(300):
                    at = i * 7919 % 8000 * 4096
                    assert h.pread(4096, at) == content[at:at + 4096]
                assert d.ask(op="boot-mark-done", name="a")["ok"]
                h.shutdown()
            if boot == 0:
                assert "boot segment written: 300 blocks" in d.text()
                assert (store / "a.raw.bootmap").exists()
            requests.append(origin.read_text().count(" Read id="))
    finally:
        nbdkit.terminate()
        nbdkit.wait()
    assert requests[0] > 300
    assert requests[1] < 60, requests


def test_a_store_that_is_away_is_waited_for(tmp_path):
    state = {"version": 1, "stores": [], "images": [], "disks": [
        {"name": "a", "file": str(tmp_path / "a.raw"), "ro": True}]}
    (tmp_path / "state.json").write_text(json.dumps(state))
    with Daemon(tmp_path, state=True) as d:
        assert d.disk("a")["state"] == "failed"
        assert "No such file" in d.disk("a")["why"]
        image(tmp_path / "a.raw")
        end = time.time() + 15
        while d.disk("a")["state"] != "serving":
            assert time.time() < end
            time.sleep(0.1)
        connect(d.uri("a")).shutdown()


def test_a_disk_of_the_command_line_must_be_there(tmp_path):
    p = run("--foreground", "--listen", f"unix:{tmp_path}/s", "--disk",
            f"a={tmp_path}/none")
    assert p.returncode == 1
    assert "a: " in p.stderr and "No such file" in p.stderr
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize("args,text", [
    (["--forground"], "did you mean 'foreground'"),
    (["--foreground", "--disk", "a"], "NAME=FILE is missing"),
    (["--foreground", "--disk", "a=/x,cach=on"], "did you mean 'cache'"),
    (["--foreground", "--listen", "unix"], "write unix:PATH"),
    (["--foreground", "--cache-size", "big"], "is no size"),
    (["--config", "/none"], "/none: No such file"),
    (["a.raw"], "--disk NAME=FILE"),
])
def test_a_wrong_command_line_is_explained(args, text):
    p = run(*args)
    assert p.returncode == 2 and text in p.stderr, p.stderr


def test_help_and_version():
    assert "--listen" in run("--help").stdout
    assert run("--version").stdout.startswith("roost-blkd ")


def test_a_config_file(tmp_path):
    raw = image(tmp_path / "a.raw")
    conf = tmp_path / "blkd.conf"
    conf.write_text(f"[daemon]\nlisten = unix:{tmp_path}/nbd.sock\n"
                    f"cache-size = 64M\n[disk a]\nfile = {raw}\nro = on\n")
    with Daemon(tmp_path, "--config", conf, listen=False) as d:
        assert connect(d.uri("a")).get_size() == 4 * MIB
        assert d.ask(op="status")["cache_ram_bytes"] == 64 * MIB
    conf.write_text("[daemon]\nlisten = unix:/x\n\nclients = 3\n")
    p = run("--config", conf)
    assert p.returncode == 2 and f"{conf}:4: unknown key" in p.stderr


def test_goes_to_the_background_once_it_serves(tmp_path):
    raw = image(tmp_path / "a.raw")
    p = run("--listen", f"unix:{tmp_path}/s", "--disk", f"a={raw}",
            "--pid-file", tmp_path / "pid")
    assert p.returncode == 0
    pid = int((tmp_path / "pid").read_text())
    h = connect(f"nbd+unix:///?socket={tmp_path}/s")
    assert h.get_size() == 4 * MIB
    h.shutdown()
    os.kill(pid, signal.SIGTERM)
    while (tmp_path / "s").exists():
        time.sleep(0.01)
    p = run("--listen", f"unix:{tmp_path}/s", "--disk", f"a={raw}x")
    assert p.returncode == 1 and "No such file" in p.stderr


def test_stdio_serves_one_client_and_ends(tmp_path):
    raw = image(tmp_path / "a.raw")
    h = nbd.NBD()
    h.connect_command([BLKD, *EXTRA, "--foreground", "--stdio", "--disk",
                       f"a={raw},ro"])
    assert h.pread(4096, 0) == raw.read_bytes()[:4096]
    h.shutdown()


def test_sockets_of_a_service_manager(tmp_path):
    raw = image(tmp_path / "a.raw")
    h = nbd.NBD()
    h.connect_systemd_socket_activation([BLKD, *EXTRA, "--foreground", "--disk",
                                         f"a={raw},ro"])
    assert h.pread(4096, 0) == raw.read_bytes()[:4096]
    h.shutdown()


def test_tcp(tmp_path):
    raw = image(tmp_path / "a.raw")
    port = free_port()
    with Daemon(tmp_path, "--listen", f"tcp:127.0.0.1:{port}", "--disk",
                f"a={raw}"):
        h = connect(f"nbd://127.0.0.1:{port}/a")
        assert h.get_size() == 4 * MIB
        h.shutdown()


def test_a_socket_in_use_is_not_taken(tmp_path):
    with Daemon(tmp_path) as d:
        p = run("--foreground", "--listen", f"unix:{d.nbd}", "--disk",
                f"a={image(tmp_path / 'a.raw')}")
        assert p.returncode == 1 and "in use" in p.stderr
        assert d.nbd.exists()
    d.process.kill()
    s = socket.socket(socket.AF_UNIX)
    s.bind(str(d.nbd))
    s.close()  # a socket file that nobody listens at
    with Daemon(tmp_path):
        pass


def test_removing_a_disk_waits_for_its_clients(tmp_path):
    raw = image(tmp_path / "a.raw")
    with Daemon(tmp_path, state=True) as d:
        assert d.ask(op="disk-add", name="a", file=str(raw), ro=True)["ok"]
        h = connect(d.uri("a"))
        answer = d.ask(op="disk-rm", name="a")
        assert answer["code"] == "EBUSY" and "in use" in answer["error"]
        assert h.pread(512, 0) == raw.read_bytes()[:512]
        assert d.ask(op="disk-rm", name="a", force=True)["ok"]
        with pytest.raises(nbd.Error):
            h.pread(512, 0)
        with pytest.raises(nbd.Error):
            connect(d.uri("a"))


def test_disks_come_and_go_hundreds_of_times(tmp_path):
    raw = image(tmp_path / "a.raw")
    with Daemon(tmp_path, state=True) as d:
        for i in range(200):
            assert d.ask(op="disk-add", name=f"a{i % 3}", file=str(raw),
                         ephemeral=True, cache=True)["ok"]
            if i % 5 == 0:
                connect(d.uri(f"a{i % 3}")).pread(512, 0)
            answer = d.ask(op="disk-rm", name=f"a{i % 3}", force=True)
            assert answer["ok"], answer
        assert d.ask(op="disk-ls")["disks"] == []


def test_ends_in_order_with_clients_connected(tmp_path):
    raw = image(tmp_path / "a.raw")
    overlay = tmp_path / "o.qcow2"
    d = Daemon(tmp_path, "--disk", f"a={raw},overlay={overlay}")
    h = connect(d.uri("a"))
    h.pwrite(b"x" * 4096, 0)
    assert d.stop() == 0
    assert not d.nbd.exists() and not d.control.exists()
    assert subprocess.run(["qemu-img", "check", "-q",
                           str(overlay)]).returncode == 0


def test_acknowledged_writes_survive_kill_9(tmp_path):
    raw = image(tmp_path / "a.raw")
    overlay = tmp_path / "o.qcow2"
    for i in range(8):
        d = Daemon(tmp_path, "--disk", f"a={raw},overlay={overlay}")
        h = connect(d.uri("a"))
        for j in range(i):
            assert h.pread(4096, j * 65536 + 512) == bytes([j]) * 4096
        h.pwrite(bytes([i]) * 4096, i * 65536 + 512)
        d.stop(signal.SIGKILL)
        assert subprocess.run(["qemu-img", "check", "-q",
                               str(overlay)]).returncode == 0


def test_a_broken_state_file_is_left_alone(tmp_path):
    for text in ("{", "[]", '{"version": 2}', '{"version": 1, "disks": {}}',
                 '{"version": 1, "disks": [{}]}'):
        (tmp_path / "state.json").write_text(text)
        p = run("--foreground", "--control", tmp_path / "c", "--state",
                tmp_path / "state.json")
        assert p.returncode == 1 and "state.json" in p.stderr, p.stderr
        assert (tmp_path / "state.json").read_text() == text


def test_control_answers_whatever_comes(tmp_path):
    with Daemon(tmp_path) as d:
        s = socket.socket(socket.AF_UNIX)
        s.connect(str(d.control))
        f = s.makefile("rb")
        for line in (b"", b"x", b"[]", b"{}", b'{"op": 1}', b'{"op": "x"}',
                     b"[" * 5000, b'"' + b"x" * 1000, b"\xff\xfe", b"\0",
                     b'{"op":"disk-add"}', b'{"op":"disk-rm"}',
                     b'{"op":"disk-rm","name":7}',
                     b'{"op":"disk-add","name":"a","file":[]}',
                     b'{"op":"disk-grow","name":"a","size":-1}',
                     b'{"op":"log-level","level":"x"}',
                     b'{"op":"store-add","name":"../x","address":"/"}'):
            s.sendall(line + b"\n")
            answer = json.loads(f.readline())
            assert answer["ok"] is False and answer["error"], line
        # many at once, in order
        s.sendall(b'{"op":"status"}\n{"op":"nope"}\n' * 100)
        for i in range(200):
            assert json.loads(f.readline())["ok"] == (i % 2 == 0)
        # a line without an end is cut off
        with pytest.raises(OSError):
            while True:
                s.sendall(b"x" * 100000)
        # more clients than are let in wait, and the daemon lives on
        many = [socket.socket(socket.AF_UNIX) for _ in range(80)]
        for c in many:
            c.connect(str(d.control))
        for c in many:
            c.close()
        assert d.ask(op="status")["ok"]
        assert d.ask(op="log-level", level="error")["ok"]


@pytest.mark.skipif(bool(EXTRA), reason="a sanitizer's memory counts too")
def test_starts_fast_and_stays_small(tmp_path):
    raw = image(tmp_path / "a.raw")
    with Daemon(tmp_path, "--disk", f"a={raw},ro,cache=on") as d:
        ms = float(d.text().split("serving 1 disk after ")[1].split()[0])
        h = connect(d.uri("a"))
        for i in range(256):
            h.pread(4096, i * 4096)
        # What the daemon takes from its host; pages of libraries' files
        # are others' as well, and given back when memory is short.
        own = 0
        for line in open(f"/proc/{d.process.pid}/status"):
            if line.startswith(("RssAnon", "RssShmem")):
                own += int(line.split()[1])
        used = d.ask(op="status")["cache_used_bytes"] // 1024
        h.shutdown()
        assert ms < 50, ms
        assert own - used < 10 * 1024, (own, used)


def test_metrics_over_http(tmp_path):
    port = free_port()
    with Daemon(tmp_path, "--metrics", f"127.0.0.1:{port}"):
        url = f"http://127.0.0.1:{port}/metrics"
        with urllib.request.urlopen(url) as answer:
            assert b"roost_uptime_seconds" in answer.read()
        idle = [socket.create_connection(("127.0.0.1", port))
                for _ in range(20)]
        idle[0].sendall(b"x" * 100000)
        for c in idle:
            c.close()
        with urllib.request.urlopen(url) as answer:
            assert answer.status == 200


@pytest.mark.skipif(bool(EXTRA), reason="a sanitizer is in the way")
def test_it_cannot_run_programs(tmp_path):
    with Daemon(tmp_path) as d:
        status = open(f"/proc/{d.process.pid}/status").read()
        assert "Seccomp:\t2" in status and "NoNewPrivs:\t1" in status


def test_quit_is_answered(tmp_path):
    d = Daemon(tmp_path)
    assert d.ask(op="quit")["ok"]
    assert d.process.wait(10) == 0


@pytest.mark.skipif(needs("psktool"), reason=str(needs("psktool")))
def test_tls_with_shared_keys(tmp_path):
    raw = image(tmp_path / "a.raw")
    keys = tmp_path / "keys.psk"
    subprocess.run(["psktool", "-u", "roost", "-p", str(keys)], check=True,
                   capture_output=True)
    with Daemon(tmp_path, "--tls-psk", keys, "--disk", f"a={raw},ro") as d:
        h = nbd.NBD()
        h.set_tls(nbd.TLS_REQUIRE)
        h.set_tls_psk_file(str(keys))
        h.set_tls_username("roost")
        h.set_export_name("a")
        h.connect_unix(str(d.nbd))
        assert h.pread(4096, 4096) == raw.read_bytes()[4096:8192]
        h.shutdown()
        with pytest.raises(nbd.Error):
            connect(d.uri("a"))  # without TLS nothing is served
    p = run("--foreground", "--listen", f"unix:{tmp_path}/s", "--disk",
            f"a={raw}", "--tls", "require")
    assert p.returncode == 1 and "--tls-psk" in p.stderr


def test_many_clones_share_one_image(tmp_path):
    """Each has its own writes, and the image's store is asked once."""
    raw = image(tmp_path / "a.raw")
    content = raw.read_bytes()
    with Daemon(tmp_path, state=True) as d:
        handles = []
        for i in range(16):
            assert d.ask(op="disk-add", name=f"vm{i}", file=str(raw),
                         overlay=str(tmp_path / f"vm{i}.qcow2"),
                         cache=True)["ok"]
            h = connect(d.uri(f"vm{i}"))
            h.pwrite(bytes([i]) * 4096, i * 4096)
            handles.append(h)
        for i, h in enumerate(handles):
            got = h.pread(MIB, 0)
            mine = bytearray(content[:MIB])
            mine[i * 4096:(i + 1) * 4096] = bytes([i]) * 4096
            assert got == mine
        stats = d.ask(op="boot-ls")["images"][0]
        assert stats["handles"] == 16
        assert stats["demand_bytes"] < 2 * MIB
        for h in handles:
            h.shutdown()
        end = time.time() + 10
        while d.disk("vm3")["use"] != "shut":
            assert time.time() < end
            time.sleep(0.05)
        # A disk that nobody uses can be used by others meanwhile.
        subprocess.run(["qemu-img", "check", "-q",
                        str(tmp_path / "vm3.qcow2")], check=True)
        subprocess.run(["qemu-io", "-f", "qcow2", "-c", "read -P 3 12k 4k",
                        str(tmp_path / "vm3.qcow2")], check=True)


@pytest.mark.skipif(needs("nbdkit"), reason=str(needs("nbdkit")))
def test_a_store_that_hangs_does_not_hold_the_others(tmp_path):
    raw = image(tmp_path / "a.raw")
    sick = tmp_path / "sick.sock"
    nbdkit = subprocess.Popen(["nbdkit", "-f", "-U", str(sick), "file",
                               str(raw)])
    try:
        while not sick.exists():
            time.sleep(0.01)
        with Daemon(tmp_path, "--disk", f"good={raw},ro", "--disk",
                    f"sick=nbd+unix:///?socket={sick},ro") as d:
            h = connect(d.uri("sick"))
            assert h.pread(4096, 0) == raw.read_bytes()[:4096]
            nbdkit.send_signal(signal.SIGSTOP)
            buf = nbd.Buffer(4096)
            h.aio_pread(buf, MIB)
            g = connect(d.uri("good"))
            for i in range(100):
                assert g.pread(512, i * 512) == \
                    raw.read_bytes()[i * 512:(i + 1) * 512]
            assert d.ask(op="status")["clients"] == 2
            g.shutdown()
            nbdkit.send_signal(signal.SIGCONT)
            while h.aio_in_flight() > 0 and not h.aio_peek_command_completed():
                h.poll(-1)
            assert buf.to_bytearray() == raw.read_bytes()[MIB:MIB + 4096]
            h.shutdown()
    finally:
        nbdkit.send_signal(signal.SIGCONT)
        nbdkit.kill()
        nbdkit.wait()
