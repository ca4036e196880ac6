#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Boot the demo's guest in Debian's QEMU, and say how long it took.

With -icount the guest's clock counts its instructions: the time to multi-user
is the same in every run whatever else the machine does, and what the disk makes
the guest wait still shows, because an idle guest's clock follows the host's.

As a program: guest.py [URI|FILE]...  boots once on each, one after another.
"""
import re
import sys
import time

import lab

TIMEOUT = 300
# Before multi-user, for one that also wants to see the rest.
CMDLINE = "root=/dev/vda ro console=ttyS0 quiet roost.done"
DONE = re.compile(r"BOOT-DONE (\d+\.\d+)")


class Boot:
    """A guest that is booting; result() waits for it.

    base: a file or an NBD address that stays as it is: the guest writes to a
    qcow2 overlay of its own, thrown away at the end. disk: QEMU arguments
    instead, for a disk that is more than a file.
    """

    def __init__(self, workplace, guest, base=None, disk=None, overlay=None):
        self.serial = workplace.path("serial")
        if base:
            overlay = overlay or workplace.path("overlay.qcow2")
            # -u: the base is not opened for this, so nothing is read.
            lab.run("qemu-img", "create", "-q", "-u", "-f", "qcow2", "-b",
                    base, "-F", "raw", overlay,
                    (guest / "disk.raw").stat().st_size)
            disk = ["-drive",
                    f"if=virtio,format=qcow2,cache=unsafe,file={overlay}"]
        self.process = workplace.start(
            "qemu", "qemu-system-x86_64", "-M", "q35", "-accel", "tcg",
            "-cpu", "qemu64,+rdrand", "-icount", "shift=0", "-m", "1G",
            "-nodefaults", "-no-user-config", "-no-reboot",
            "-display", "none", "-nic", "none",
            "-serial", f"file:{self.serial}",
            "-kernel", guest / "vmlinuz", "-initrd", guest / "initrd.img",
            "-append", CMDLINE, *disk)

    def result(self):
        """(guest's seconds to multi-user, seconds by the host's clock)"""
        left = self.process.started + TIMEOUT - time.monotonic()
        try:
            self.process.popen.wait(max(left, 0))
        except Exception:
            raise self.process.failed(
                f"no multi-user after {TIMEOUT} s; the guest said last:\n"
                + self.tail()) from None
        wall = time.monotonic() - self.process.started
        text = self.serial.read_text(errors="replace")
        if not (m := DONE.search(text)):
            raise self.process.failed("the boot did not end well; the guest "
                                      "said last:\n" + self.tail())
        return float(m[1]), wall

    def tail(self):
        text = self.serial.read_text(errors="replace")
        return "\n".join(text.splitlines()[-10:])


def main():
    guest = lab.make_guest()
    for base in sys.argv[1:] or [guest / "disk.raw"]:
        with lab.Lab() as workplace:
            seconds, wall = Boot(workplace, guest, base).result()
            print(f"{base}: {seconds:.2f} s guest, {wall:.1f} s wall")


if __name__ == "__main__":
    try:
        main()
    except lab.Failed as e:
        sys.exit(f"guest: {e}")
