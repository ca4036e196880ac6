# SPDX-License-Identifier: Apache-2.0
"""The HTTP store against nginx, and against a server that misbehaves."""
import subprocess
import time

import pytest

from driver import DATA, SIZE, Store, crc, refused
from serving import killed_again_and_again
from webserver import Nginx, Web


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    (root / "image").write_bytes(DATA)
    return root


@pytest.fixture
def web():
    with Web(DATA) as web:
        yield web


def test_reads_any_bytes_in_any_number_of_pieces(tmp_path, root):
    with Nginx(tmp_path, root) as nginx, Store(nginx.url()) as store:
        ok, size, block, can, version = store.ask("size").split()
        assert (ok, size, block, can) == ("ok", str(SIZE), "1", "0")
        assert version.startswith('etag:"')
        for offset, length in (0, 1), (1, 4095), (SIZE - 1, 1), (0, SIZE):
            for pieces in 1, 2, 17:
                store.read(offset, length, pieces)
        store.many(0, 4096, 500, 8192)
        store.many(0, 4096, 500, 8192, "low")
        assert store.ask(f"read {SIZE} 1") == "error ERANGE"
        assert store.ask("write 0 1 1") == "error EROFS"
        assert store.ask("flush") == "ok"
        assert store.ask("cache 0 4096") == "ok"
        assert store.ask("status 0 4096") == "ok 4096:0"
    assert all('"GET ' in line and " 206 " in line
               for line in nginx.requests())


def test_keeps_connections_open_and_their_number_small(tmp_path, root):
    more = 'add_header X-Connection "$connection"; keepalive_requests 10000;'
    with Nginx(tmp_path, root, more=more) as nginx:
        conf = nginx.dir / "conf"
        conf.write_text(conf.read_text().replace(
            "http {", "http { log_format c $connection;", 1).replace(
            "access.log;", "access.log c;", 1))
        nginx.kill()
        nginx.start()
        with Store(nginx.url() + "#connections=3") as store:
            for _ in range(20):
                store.many(0, 4096, 50, 8192)
        lines = nginx.requests()
        assert len(lines) >= 1000
        assert len(set(lines)) <= 4     # and the one of the open


def test_notices_that_the_file_was_replaced(tmp_path, root):
    with Nginx(tmp_path, root) as nginx, Store(nginx.url()) as store:
        store.read(0, 4096)
        new = root / "new"
        new.write_bytes(bytes(SIZE))
        new.rename(root / "image")
        time.sleep(1.1)                 # its ETag has whole seconds
        (root / "image").touch()
        assert store.ask("read 4096 4096") == "error ESTALE"
        (root / "image").unlink()
        assert store.ask("read 4096 4096") == "error ENOENT"


def test_requests_wait_for_a_server_that_is_restarted(tmp_path, root):
    with Nginx(tmp_path, root) as nginx, Store(nginx.url()) as store:
        store.read(0, 4096)
        nginx.kill()
        store.send("many 0 4096 100 4096")
        time.sleep(0.5)
        nginx.start()
        assert store.answer().split()[:2] == ["ok", crc(DATA[:100 * 4096])]


def test_survives_a_server_that_is_restarted_again_and_again(tmp_path, root):
    with Nginx(tmp_path, root) as nginx, Store(nginx.url()) as store:
        with killed_again_and_again(nginx, 0.1):
            for i in range(20):
                store.many(i * 512, 4096, 100, 65536)
                store.read(i * 1000, 4 << 20, 13)


def certificates(tmp_path, name="localhost"):
    """A CA of our own and a server's certificate by it."""
    def run(*args):
        subprocess.run(["openssl", *args], cwd=tmp_path, check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    run("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=test CA",
        "-keyout", "ca.key", "-out", "ca.pem", "-days", "2")
    run("req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}",
        "-keyout", "key.pem", "-out", "req.pem")
    (tmp_path / "ext").write_text(f"subjectAltName=DNS:{name}\n")
    run("x509", "-req", "-in", "req.pem", "-CA", "ca.pem", "-CAkey", "ca.key",
        "-CAcreateserial", "-out", "cert.pem", "-days", "2", "-extfile", "ext")
    return (f"ssl_certificate {tmp_path}/cert.pem; "
            f"ssl_certificate_key {tmp_path}/key.pem;")


@pytest.mark.parametrize("listen", ["ssl", "ssl http2"])
def test_checks_certificates(tmp_path, root, listen):
    more = certificates(tmp_path)
    ca = f"#cacert={tmp_path}/ca.pem"
    with Nginx(tmp_path, root, listen, more) as nginx:
        assert refused(nginx.url()).startswith("error EACCES")
        wrong = nginx.url(host="127.0.0.1")     # not the certificate's name
        assert refused(wrong + ca).startswith("error EACCES")
        gone = f"#cacert={tmp_path}/none"
        assert refused(nginx.url() + gone).startswith("error EACCES")
        with Store(nginx.url() + ca) as store:
            store.many(0, 4096, 500, 8192)
            store.read(0, SIZE, 3)
            nginx.kill()
            nginx.start()
            store.many(0, 65536, 100, 65536)
        protocol = "HTTP/2.0" if "http2" in listen else "HTTP/1.1"
        assert protocol in nginx.requests()[-1]


def test_says_what_it_cannot_open(tmp_path, root, web):
    (root / "empty").touch()
    (root / "secret").mkdir(0o700)
    with Nginx(tmp_path, root) as nginx:
        assert refused(nginx.url("none")).startswith("error ENOENT")
        assert refused(nginx.url("secret")).startswith("error EACCES")
        assert refused(nginx.url("empty")).startswith("error E")
        assert refused(nginx.url(), "-w").startswith("error EROFS")
    assert refused("http://127.0.0.1:1/").startswith("error ECONNREFUSED")
    for bad in ("connections=0", "connections=65", "timeout=x", "cacert=%",
                "colour=red"):
        assert refused(web.url("#" + bad)).startswith("error EINVAL")
    for fault, err, text in (
            ("whole", "EPROTO", "does not do ranges"),
            ("norange", "EPROTO", "another range"),
            ("shifted", "EPROTO", "another range"),
            ("zipped", "EPROTO", "another range"),
            ("chunked", "EPROTO", ""), ("418", "EPROTO", "418"),
            ("416", "EINVAL", "empty"), ("503", "EIO", "503"),
            ("403", "EACCES", "403"), ("404", "ENOENT", "404"),
            ("loop", "EPROTO", "302"), ("garbage", "EPROTO", ""),
            ("hang", "ETIMEDOUT", "")):
        web.fail(fault)
        answer = refused(web.url("#timeout=1"))
        assert answer.startswith(f"error {err} ") and text in answer, answer


def test_shows_no_secrets(web):
    web.fail("403")
    url = web.url("?sig=hunter2").replace("//", "//me:hunter3@")
    answer = refused(url)
    assert "/image: " in answer and "hunter" not in answer


def test_sends_user_and_password(web):
    with Store(web.url().replace("//", "//me:pw@")) as store:
        store.read(0, 4096)
    assert web.headers[-1]["Authorization"] == "Basic bWU6cHc="


def test_a_signed_url_stays_as_it_is(web):
    more = "?X-Sig=a%2Fb%2bc&connections=9&timeout=x"
    with Store(web.url(more + "#connections=2")) as store:
        store.read(0, 4096)
    assert set(web.paths) == {"/image" + more}


@pytest.mark.parametrize("fault", ["503", "429", "reset", "short"])
def test_tries_again_what_may_pass(web, fault):
    with Store(web.url()) as store:
        web.fail(fault, 5)
        store.many(0, 4096, 64, 8192)
        web.fail(fault, 2)
        store.read(0, 1 << 20, 7)


def test_reads_on_where_an_answer_broke_off(web):
    with Store(web.url()) as store:
        web.fail("short", 1)
        store.read(0, 1 << 20, 7)
        ranges = [h["Range"] for h in web.headers[1:]]
        assert ranges[0] == "bytes=0-1048575"
        first, last = ranges[-1].split("=")[1].split("-")
        assert 0 < int(first) <= 1 << 19 and last == "1048575"


@pytest.mark.parametrize("fault", ["503", "reset", "hang"])
def test_gives_up_after_a_time(web, fault):
    with Store(web.url("#timeout=1&reconnect=2")) as store:
        web.fail(fault)
        before = time.monotonic()
        assert store.ask("many 0 4096 20 4096") == "error ETIMEDOUT"
        assert 1 < time.monotonic() - before < 12
        web.fail(None)
        store.read(0, 4096)


def test_an_answer_that_stalls_is_asked_for_again(web):
    with Store(web.url("#timeout=1")) as store:
        web.fail("stall", 1)
        store.read(0, 65536)


@pytest.mark.parametrize("fault", ["changed", "grown", "precondition"])
def test_never_mixes_two_versions(web, fault):
    with Store(web.url()) as store:
        store.read(0, 4096)
        web.fail(fault)
        assert store.ask("read 4096 4096") == "error ESTALE"
        assert store.ask("many 0 4096 20 4096") == "error ESTALE"


@pytest.mark.parametrize("fault, err", [
    ("whole", "EPROTO"), ("norange", "EPROTO"), ("shifted", "EPROTO"),
    ("zipped", "EPROTO"), ("chunked", "EPROTO"), ("418", "EPROTO"),
    ("404", "ENOENT"), ("403", "EACCES"), ("416", "ESTALE"),
    ("loop", "EPROTO"), ("garbage", "EPROTO")])
def test_takes_no_other_answer(web, fault, err):
    with Store(web.url()) as store:
        web.fail(fault)
        assert store.ask("read 100 4096") == f"error {err}"
        assert store.ask("read 100 4096 9") == f"error {err}"
        web.fail(None)
        store.read(0, SIZE, 9)


def test_conditions_and_versions():
    for etag, modified, version, header in (
            ('"a"', "Mon", 'etag:"a"', ("If-Match", '"a"')),
            ('W/"a"', "Mon", 'etag:W/"a"', None),
            (None, "Mon", "modified:Mon", ("If-Unmodified-Since", "Mon")),
            (None, None, "", None),
            ('"' + "x" * 200 + '"', None, "etag-xxh128:",
             ("If-Match", '"' + "x" * 200 + '"'))):
        with Web(DATA, etag, modified) as web, Store(web.url()) as store:
            answer = store.ask("size") + " "
            assert answer.split(" ")[4].startswith(version)
            store.read(0, 4096)
            got = {k: v for k, v in web.headers[-1].items()
                   if k.startswith("If-")}
            assert got == (dict([header]) if header else {})
            if modified and not etag:
                web.modified = "Tue"
                assert store.ask("read 0 1") == "error ESTALE"


def test_a_redirect_is_followed_once_and_again_when_it_runs_out(web):
    web.fail("away")
    with Store(web.url()) as store:
        for i in range(5):
            store.read(i, 4096)
        assert web.paths == ["/image"] + ["/signed?key=1"] * 6
        web.good = "/signed?key=2"
        store.read(0, 4096)
        assert web.paths[-3:] == ["/signed?key=1", "/image", "/signed?key=2"]


def test_can_be_closed_with_connections_open(web):
    with Store(web.url()) as store:
        store.many(0, 4096, 64, 8192)
