# SPDX-License-Identifier: Apache-2.0
"""Servers that a test starts: where they listen, and when they do."""
import contextlib
import socket
import threading
import time


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_listening(address, process, seconds=20):
    """Wait until @process takes connections at a port, or a path."""
    family = socket.AF_UNIX
    if isinstance(address, int):
        family, address = socket.AF_INET, ("127.0.0.1", address)
    else:
        address = str(address)
    end = time.monotonic() + seconds
    while True:
        with socket.socket(family) as s:
            if s.connect_ex(address) == 0:
                return
        assert process.poll() is None, f"{process.args[0]} has ended"
        assert time.monotonic() < end, f"{process.args[0]} does not listen"
        time.sleep(0.01)


@contextlib.contextmanager
def killed_again_and_again(server, every_s):
    """Meanwhile @server is killed and started every so many seconds."""
    stop = threading.Event()

    def run():
        while not stop.wait(every_s):
            server.kill()
            server.start()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
