#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The demo: a Debian guest on a slow store boots as from local RAM.

A stock Debian 12 lies on a store that takes 5 ms for each read. It is booted in
QEMU: straight from the store; through Roost, which records the boot; and through
a fresh Roost with an empty cache, as on another host, which has map and segment of
the recorded boot on the same store. Beside each of them the same guest boots from
local RAM. Times are the guest's own, to multi-user.

The last line is for programs:
demo: direct/local=X first/local=X second/local=X store_requests_direct=N store_requests_second=N
"""
import sys
import time

import guest
import lab
import peers
import slowstore

IMAGE = "disk.raw"
DELAY_MS = 5


def boots(workplace, image, system):
    """One boot through @system and one from local RAM, side by side."""
    local = guest.Boot(workplace, image, image / IMAGE)
    there = guest.Boot(workplace, image, system.uri())
    return there.result()[0], local.result()[0]


def main():
    if sys.argv[1:]:
        sys.exit(__doc__)
    began = time.monotonic()
    image = lab.make_guest()
    lines = []
    with lab.Lab() as w:
        # The slow store's directory: the image, and what Roost leaves there.
        directory = w.path("store")
        directory.mkdir()
        (directory / IMAGE).symlink_to(image / IMAGE)
        # Another host has nothing but the store's address.
        other = w.path("other-host")
        other.mkdir()
        for name, make in (
                ("direct", lambda s: peers.Peer(w, s, IMAGE)),
                ("first", lambda s: peers.Roost(w, s, IMAGE, directory)),
                ("second", lambda s: peers.Roost(w, s, IMAGE, other))):
            print(f"demo: booting twice: {name}, and from local RAM beside it",
                  flush=True)
            store = slowstore.Store(w, directory, delay_ms=DELAY_MS)
            system = make(store)
            system.start()
            seconds, local = boots(w, image, system)
            system.stop()
            store.stop()
            requests, size = store.total()
            lines.append((name, seconds, local, requests, size))
    table(lines)
    print(f"\n{time.monotonic() - began:.0f} s in all; the store takes "
          f"{DELAY_MS} ms for each read")
    ratio = {name: s / local for name, s, local, _, _ in lines}
    requests = {name: n for name, _, _, n, _ in lines}
    print("demo: " + " ".join(f"{k}/local={v:.3f}" for k, v in ratio.items()) +
          f" store_requests_direct={requests['direct']}"
          f" store_requests_second={requests['second']}")


def table(lines):
    what = {"direct": "straight from the store",
            "first": "through Roost, which records",
            "second": "through a fresh Roost, cache empty"}
    print(f"\n{'a Debian guest to multi-user':44} {'guest':>8} {'to local':>9}"
          f" {'reads of the store':>22}")
    for name, seconds, local, requests, size in lines:
        print(f"{name + ': ' + what[name]:44} {seconds:6.2f} s "
              f"{seconds / local:9.3f} {requests:9} {size / 2**20:7.1f} MiB")
    locals_ = sorted(x[2] for x in lines)
    print(f"{'local: from RAM':44} {locals_[1]:6.2f} s {1:9.3f} {'-':>9}")


if __name__ == "__main__":
    try:
        sys.exit(main())
    except lab.Failed as e:
        sys.exit(f"demo: {e}")
