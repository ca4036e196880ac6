# SPDX-License-Identifier: Apache-2.0
"""Those that are measured: who stands between the clones and the slow store.

Each is a class that is given a Store and the name of an image in it. Between
start() and stop() it serves that image, read-only, at uri(); its caches are
empty at start() and grow until stop(). The numbers are those of
doc/PERFORMANCE.md.
"""
import lab


class Peer:
    """What all of them have; and P0, the store itself, with nothing between."""
    name = "P0"
    title = "straight from the store"
    has_cache = False

    def __init__(self, workplace, store, image):
        self.lab = workplace
        self.store = store
        self.image = image
        self.processes = []
        self.sock = workplace.path(f"{self.name}.sock")

    def start(self):
        """Serving when it returns. Reads of the store may have begun."""

    def uri(self):
        return self.store.uri(self.image)

    def clones_start(self):
        """The clones start now: whoever wants to read ahead may."""

    def serve(self, *args, **kw):
        p = self.lab.start(self.name, *args, **kw)
        self.processes.append(p)
        p.wait_socket(self.sock)

    def cpu(self):
        """Seconds of CPU of its servers, the store not among them."""
        return sum(p.cpu() for p in self.processes)

    def stop(self):
        for p in reversed(self.processes):
            p.stop()
        self.processes = []


class NbdkitCache(Peer):
    name = "P1"
    title = "nbdkit cache filter"
    has_cache = True

    def start(self):
        self.serve("nbdkit", "-f", "-U", self.sock, "--filter=cache", "nbd",
                   f"socket={self.store.sock}", f"export={self.image}",
                   "shared=true", "cache=unsafe", "cache-on-read=true",
                   env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
                        "TMPDIR": str(self.lab.dir)})

    def uri(self):
        return f"nbd+unix:///?socket={self.sock}"


class QemuCopyOnRead(Peer):
    name = "P4"
    title = "qemu-storage-daemon, copy-on-read"
    has_cache = True

    def nodes(self):
        """The node `cor`: reads go to the cache image once it has them."""
        cache = self.lab.path("cache.qcow2")
        size = (self.store.dir / self.image).stat().st_size
        lab.run("qemu-img", "create", "-q", "-f", "qcow2", cache, size)
        return [
            "--blockdev", "driver=nbd,node-name=base,server.type=unix,"
            f"server.path={self.store.sock},export={self.image},read-only=on",
            "--blockdev", f"driver=file,node-name=file,filename={cache},"
            "cache.no-flush=on",
            "--blockdev", "driver=qcow2,node-name=cache,file=file,backing=base",
            "--blockdev", "driver=copy-on-read,node-name=cor,file=cache"]

    def start(self):
        self.serve("qemu-storage-daemon", *self.nodes(),
                   "--nbd-server", f"addr.type=unix,addr.path={self.sock},"
                   "max-connections=0",
                   "--export", "type=nbd,id=export,node-name=cor,name=disk,"
                   "writable=off")

    def uri(self):
        return f"nbd+unix:///disk?socket={self.sock}"


class QemuReplay(QemuCopyOnRead):
    """overlaybd's policy: the recorded list, in its order, 16 in flight."""
    name = "P5"
    title = "P4 and the recorded list replayed"

    def __init__(self, workplace, store, image, trace):
        super().__init__(workplace, store, image)
        self.trace = trace

    def clones_start(self):
        self.processes.append(self.lab.start(
            "prefetch", "/usr/bin/python3", lab.TOP / "bench" / "prefetch.py",
            self.uri(), self.trace))

    def stop(self):
        # By now it is done, or the run says nothing about it.
        for p in self.processes[1:]:
            if p.popen.poll() != 0:
                raise p.failed("did not read its list")
        super().stop()


class QemuVhost(QemuCopyOnRead):
    """For one guest: a vhost-user socket has one client."""
    name = "P6"
    title = "P4 over vhost-user-blk"

    def start(self):
        overlay = self.lab.path("overlay.qcow2")
        size = (self.store.dir / self.image).stat().st_size
        lab.run("qemu-img", "create", "-q", "-f", "qcow2", overlay, size)
        p = self.lab.start(
            self.name, "qemu-storage-daemon", *self.nodes(),
            "--blockdev", f"driver=file,node-name=ofile,filename={overlay},"
            "cache.no-flush=on",
            "--blockdev", "driver=qcow2,node-name=overlay,file=ofile,"
            "backing=cor",
            "--export", "type=vhost-user-blk,id=export,node-name=overlay,"
            f"addr.type=unix,addr.path={self.sock},writable=on")
        self.processes.append(p)
        p.wait_file(self.sock)

    def disk(self):
        """QEMU's arguments for the disk that it serves."""
        return ["-object", "memory-backend-memfd,id=ram,size=1G,share=on",
                "-machine", "memory-backend=ram",
                "-chardev", f"socket,id=disk,path={self.sock}",
                "-device", "vhost-user-blk-pci,chardev=disk"]


class Roost(Peer):
    """boot: the directory that map and segment are written to: the store's own,
    or another, so that only what the store serves is there to begin with. None
    for a daemon that learns nothing."""
    name = "roost"
    title = "roost-blkd"
    has_cache = True

    def __init__(self, workplace, store, image, boot=None, record=True,
                 prefetch=True):
        super().__init__(workplace, store, image)
        self.boot = boot
        self.record = record
        self.prefetch = prefetch

    def start(self):
        program = lab.BUILD / "src" / "prog" / "roost-blkd"
        if not program.exists():
            raise lab.Failed(f"{program} is not built")
        disk = [f"disk={self.store.uri(self.image)}".replace(",", ",,"), "ro"]
        if self.boot:
            disk.append(f"boot={self.boot}")
        disk.append("record=" + ("on" if self.record else "off"))
        disk.append("prefetch=" + ("on" if self.prefetch else "off"))
        self.serve(program, "--foreground", "--listen", f"unix:{self.sock}",
                   "--control", self.lab.path("control"),
                   "--disk", ",".join(disk))

    def uri(self):
        return f"nbd+unix:///disk?socket={self.sock}"
