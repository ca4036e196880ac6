# SPDX-License-Identifier: Apache-2.0
import pathlib
import random

import pytest

from host import IMAGE_SIZE, Host, Store


class Lab:
    """A store with one image, and as many hosts as a test wants."""

    def __init__(self, tmp):
        self.tmp = tmp
        self.data = random.Random(9).randbytes(IMAGE_SIZE)
        self.shared = tmp / "shared"
        self.shared.mkdir()
        (self.shared / "image").write_bytes(self.data)
        self.hosts = []
        self.store = None

    def slow_store(self, delay_ms=1, more=()):
        self.store = Store(self.shared, delay_ms, more)
        return self.store

    def host(self, *args, **more):
        host = Host(self.tmp / f"host{len(self.hosts)}", self.store, *args,
                    **more)
        self.hosts.append(host)
        return host

    def end(self):
        for host in self.hosts:
            if host.p.poll() is None:
                host.kill()
        if self.store:
            self.store.stop()


@pytest.fixture
def lab(tmp_path):
    lab = Lab(pathlib.Path(tmp_path))
    yield lab
    lab.end()
