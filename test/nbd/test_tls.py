# SPDX-License-Identifier: Apache-2.0
"""The NBD door over TLS, with keys and with certificates."""
import random
import subprocess

import pytest

import door as nbd
from door import (ABORT, ACK, GO, INVALID, LIST, MIB, STARTTLS, STRUCTURED,
                  TLS_REQD, Client, Serve)
from serving import free_port
from test_clients import run, same

SIZE = 8 * MIB


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    path = tmp_path_factory.mktemp("keys") / "keys.psk"
    path.write_text("alice:" + "5a" * 32 + "\n")
    return path


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    path = tmp_path_factory.mktemp("pki")

    def certtool(*args):
        subprocess.run(["certtool", *args], cwd=path, check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    (path / "ca.cfg").write_text("cn=test\nca\ncert_signing_key\n")
    (path / "server.cfg").write_text(
        "cn=localhost\ntls_www_server\nsigning_key\nencryption_key\n"
        "dns_name=localhost\nip_address=127.0.0.1\n")
    (path / "client.cfg").write_text(
        "cn=client\ntls_www_client\nsigning_key\nencryption_key\n")
    for who in "ca", "server", "client":
        certtool("--generate-privkey", "--ecdsa", "--outfile", f"{who}-key.pem")
    certtool("--generate-self-signed", "--load-privkey", "ca-key.pem",
             "--template", "ca.cfg", "--outfile", "ca-cert.pem")
    for who in "server", "client":
        certtool("--generate-certificate", "--load-privkey", f"{who}-key.pem",
                 "--load-ca-certificate", "ca-cert.pem", "--load-ca-privkey",
                 "ca-key.pem", "--template", f"{who}.cfg", "--outfile",
                 f"{who}-cert.pem")
    return path


@pytest.fixture
def disk(tmp_path):
    path = tmp_path / "disk"
    path.write_bytes(random.Random(9).randbytes(SIZE))
    return path


def secret(door, keys, name="disk", user="alice@"):
    return door.uri(name, "nbds+unix", user, f"&tls-psk-file={keys}")


def test_keys_on_demand(tmp_path, keys, disk):
    with Serve(tmp_path, f"disk={disk}", args=["-p", keys]) as door:
        assert "with TLS" in run("nbdinfo", secret(door, keys))
        assert "without TLS" in run("nbdinfo", door.uri("disk"))
        run("nbdcopy", secret(door, keys), tmp_path / "out")
        assert same(tmp_path / "out", disk)


def test_keys_required(tmp_path, keys, disk):
    with Serve(tmp_path, f"disk={disk}", args=["-p", keys, "-R"]) as door:
        assert "with TLS" in run("nbdinfo", secret(door, keys))
        run("nbdinfo", door.uri("disk"), code=1)
        run("nbdinfo", "--list", door.uri(), code=1)
        with Client(door).hello() as c:
            for option, data in (LIST, b""), (GO, c.info("disk")), (
                    STRUCTURED, b""), (99, b"x"):
                assert c.option(option, data) == [(TLS_REQD, b"")]
            assert c.option(ABORT) == [(ACK, b"")]
        with Client(door).hello() as c:
            c.put_option(nbd.EXPORT_NAME, b"disk")
            assert c.is_closed()


def test_a_wrong_key_is_refused(tmp_path, keys, disk):
    wrong = tmp_path / "wrong.psk"
    wrong.write_text("alice:" + "5b" * 32 + "\n")
    with Serve(tmp_path, f"disk={disk}", args=["-p", keys]) as door:
        run("nbdinfo", secret(door, wrong), code=1)
        run("nbdinfo", secret(door, keys, user="mallory@"), code=1)
        assert "with TLS" in run("nbdinfo", secret(door, keys))


def test_much_data_both_ways_over_tls(tmp_path, keys, disk):
    copy = tmp_path / "copy"
    copy.write_bytes(bytes(SIZE))
    with Serve(tmp_path, f"disk={disk}", f"copy={copy}",
               args=["-p", keys, "-R"]) as door:
        run("nbdcopy", "--requests=64", secret(door, keys),
            secret(door, keys, "copy"))
        assert same(copy, disk)


def test_plain_text_after_starttls_is_not_believed(tmp_path, keys, disk):
    with Serve(tmp_path, f"disk={disk}", args=["-p", keys]) as door:
        # At once, that is, and not when the handshake takes too long.
        with Client(door, timeout=4).hello() as c:
            c.send(b"IHAVEOPT" + b"\0\0\0\5\0\0\0\0" +
                   b"IHAVEOPT" + b"\0\0\0\3\0\0\0\0")
            assert c.is_closed()
        with Client(door).hello() as c:
            assert c.option(STARTTLS, b"x") == [(INVALID, b"")]
            assert c.option(STARTTLS) == [(ACK, b"")]
            c.send(b"not TLS at all, but long enough for a record" * 10)
            assert c.is_closed()
        with Client(door).hello() as c:  # and one that says nothing more
            assert c.option(STARTTLS) == [(ACK, b"")]
        assert "with TLS" in run("nbdinfo", secret(door, keys))


def test_clients_that_vanish_over_tls(tmp_path, keys, disk):
    with Serve(tmp_path, f"disk={disk},slow=20000", args=["-p", keys]) as door:
        fds = door.nfds()
        for _ in range(20):
            p = subprocess.Popen(
                ["nbdcopy", "--requests=64", secret(door, keys), "null:"])
            try:
                p.wait(0.05)
            except subprocess.TimeoutExpired:
                p.kill()
                p.wait()
        door.settles(door.nfds, fds)
        assert "with TLS" in run("nbdinfo", secret(door, keys))


def test_certificates(tmp_path, certificates, disk):
    port = str(free_port())
    with Serve(tmp_path, f"disk={disk}", args=[
            "-x", certificates, "-v", "-R", "-l", port]) as door:
        uri = f"nbds://localhost:{port}/disk?tls-certificates={certificates}"
        assert "with TLS" in run("nbdinfo", uri)
        run("nbdcopy", uri, tmp_path / "out")
        assert same(tmp_path / "out", disk)
        alone = tmp_path / "alone"
        alone.mkdir()
        (alone / "ca-cert.pem").write_bytes(
            (certificates / "ca-cert.pem").read_bytes())
        run("nbdinfo", f"nbds://localhost:{port}/disk?tls-certificates={alone}",
            code=1)
        assert door.popen.poll() is None
