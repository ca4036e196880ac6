# SPDX-License-Identifier: Apache-2.0
"""Web servers for the tests: nginx, and one that misbehaves on demand."""
import http.server
import os
import re
import subprocess
import threading

from serving import free_port, wait_listening

CONFIG = """
daemon off;
{user}
pid {tmp}/pid;
error_log {tmp}/error.log;
worker_processes 1;
events {{ worker_connections 256; }}
http {{
	access_log {tmp}/access.log;
	client_body_temp_path {tmp}/body;
	proxy_temp_path {tmp}/proxy;
	fastcgi_temp_path {tmp}/fastcgi;
	uwsgi_temp_path {tmp}/uwsgi;
	scgi_temp_path {tmp}/scgi;
	server {{
		listen 127.0.0.1:{port} {listen};
		root {root};
		{more}
	}}
}}
"""


class Nginx:
    """nginx with @root; it can be killed and started again."""

    def __init__(self, tmp, root, listen="", more=""):
        self.dir = tmp / "nginx"
        self.dir.mkdir()
        self.port = free_port()
        self.scheme = "https" if "ssl" in listen else "http"
        # Its worker reads our files, which are for nobody else.
        user = "user root root;" if os.geteuid() == 0 else ""
        (self.dir / "conf").write_text(CONFIG.format(
            user=user, tmp=self.dir, root=root, port=self.port, listen=listen,
            more=more))
        self.p = None

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.kill()

    def start(self):
        self.p = subprocess.Popen(["nginx", "-c", self.dir / "conf",
                                   "-e", self.dir / "error.log"])
        wait_listening(self.port, self.p)

    def kill(self):
        if self.p:
            self.p.terminate()      # at once, with its worker
            self.p.wait()
            self.p = None

    def url(self, path="image", host="localhost"):
        return f"{self.scheme}://{host}:{self.port}/{path}"

    def requests(self):
        return (self.dir / "access.log").read_text().splitlines()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 20

    def log_message(self, *_):
        pass

    def do_HEAD(self):              # as an URL that is signed for GET
        self.send_error(403)

    def do_GET(self):
        web = self.server.web
        with web.lock:
            web.paths.append(self.path)
            web.headers.append(dict(self.headers))
            fault = web.fault
            if web.faults_left:
                web.faults_left -= 1
                if not web.faults_left:
                    web.fault = None
        try:
            getattr(self, f"do_{fault}" if fault else "answer")()
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def asked(self):
        m = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers["Range"])
        return int(m[1]), int(m[2])

    def answer(self, shift=0, cut=0, extra=b"", total=None, etag=None,
               length=None, more=()):
        web = self.server.web
        first, last = self.asked()
        body = web.data[first:last + 1]
        self.send_response(206)
        self.send_header("Content-Range",
                         f"bytes {first + shift}-{last + shift}/"
                         f"{total or len(web.data)}")
        self.send_header("Content-Length", str(
            len(body) + len(extra) if length is None else length))
        if etag or web.etag:
            self.send_header("ETag", etag or web.etag)
        if web.modified:
            self.send_header("Last-Modified", web.modified)
        for name, value in more:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body[:len(body) - cut] + extra)
        if cut:
            self.close_connection = True

    def status(self, code):
        self.send_response(code)
        self.send_header("Content-Length", "4")
        self.end_headers()
        self.wfile.write(b"oops")

    def do_503(self):
        self.status(503)

    def do_429(self):
        self.status(429)

    def do_403(self):
        self.status(403)

    def do_404(self):
        self.status(404)

    def do_418(self):
        self.status(418)

    def do_416(self):
        self.send_response(416)
        self.send_header("Content-Range", "bytes */0")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_whole(self):             # ignores Range
        web = self.server.web
        self.send_response(200)
        self.send_header("Content-Length", str(len(web.data)))
        self.send_header("ETag", web.etag)
        self.end_headers()
        self.wfile.write(web.data)

    def do_short(self):             # says so many bytes and sends fewer
        self.answer(cut=(self.asked()[1] - self.asked()[0]) // 2 + 1)

    def do_chunked(self):           # more bytes than asked for
        web = self.server.web
        first, last = self.asked()
        body = web.data[first:last + 1] + b"more"
        self.send_response(206)
        self.send_header("Content-Range",
                         f"bytes {first}-{last}/{len(web.data)}")
        self.send_header("Transfer-Encoding", "chunked")
        self.send_header("ETag", web.etag)
        self.end_headers()
        self.wfile.write(b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body))

    def do_shifted(self):
        self.answer(shift=1)

    def do_norange(self):
        web = self.server.web
        self.send_response(206)
        self.send_header("Content-Length", "1")
        self.send_header("ETag", web.etag)
        self.end_headers()
        self.wfile.write(b"x")

    def do_zipped(self):
        self.answer(more=[("Content-Encoding", "gzip")])

    def do_changed(self):
        self.answer(etag='"other"')

    def do_grown(self):
        self.answer(total=len(self.server.web.data) + 1)

    def do_precondition(self):
        self.status(412)

    def do_hang(self):
        self.server.web.release.wait(20)
        self.close_connection = True

    def do_stall(self):             # half of it, and then nothing
        web = self.server.web
        first, last = self.asked()
        self.send_response(206)
        self.send_header("Content-Range", 
                         f"bytes {first}-{last}/{len(web.data)}")
        self.send_header("Content-Length", str(last - first + 1))
        self.send_header("ETag", web.etag)
        self.end_headers()
        self.wfile.write(web.data[first:(first + last) // 2])
        web.release.wait(20)
        self.close_connection = True

    def do_reset(self):
        self.close_connection = True

    def do_garbage(self):
        self.wfile.write(b"\0\1\2 not http at all\r\n\r\n" * 100)
        self.close_connection = True

    def do_loop(self):
        self.send_response(302)
        self.send_header("Location", self.path)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_away(self):              # to the place where it is, signed
        web = self.server.web
        if self.path.startswith("/signed"):
            return self.answer() if self.path == web.good else self.status(403)
        self.send_response(302)
        self.send_header("Location", web.good)
        self.send_header("Content-Length", "0")
        self.end_headers()


class Web:
    """A server of one object; @fault is what it does wrong, @times or always."""

    def __init__(self, data, etag='"one"', modified=None):
        self.data, self.etag, self.modified = data, etag, modified
        self.lock = threading.Lock()
        self.fault, self.faults_left = None, 0
        self.paths, self.headers = [], []
        self.good = "/signed?key=1"
        self.release = threading.Event()

    def __enter__(self):
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.web = self
        threading.Thread(target=self.server.serve_forever, args=(0.02,),
                         daemon=True).start()
        return self

    def __exit__(self, *_):
        self.release.set()
        self.server.shutdown()
        self.server.server_close()

    def fail(self, fault, times=0):
        with self.lock:
            self.fault, self.faults_left = fault, times

    def url(self, more=""):
        return f"http://127.0.0.1:{self.server.server_port}/image{more}"
