#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Roost and its peers side by side: see doc/PERFORMANCE.md, which is made of it.

    bench.py [--quick] [--only GROUP,...] [--systems NAME,...] [--stores NAME,...]
             [--clones N,...] [--runs N]

Results of what is measured again replace the old ones, the others stay.

Groups: boot (a real guest), clones (a recorded boot replayed by many at once),
raw (speed of the NBD door), vhost (of the vhost-user-blk door). Fair to all:
each run starts fresh servers with empty caches over a fresh store; all read the
same image through the same store, whose requests and bytes are counted; the
systems take turns, so that what else the machine does falls on all alike.
"""
import argparse
import contextlib
import itertools
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import guest
import lab
import peers
import report
import samples
import slowstore
import trace_file

IMAGE = "disk.raw"
# name, arguments of the Store
STORES = {"1ms": {"delay_ms": 1}, "5ms": {"delay_ms": 5},
          "10ms": {"delay_ms": 10}, "20ms": {"delay_ms": 20},
          "200Mbit": {"mbit": 200}}
MIB = 1 << 20
ROOST = lab.BUILD / "src" / "prog" / "roost-blkd"


class Bench:
    def __init__(self, options):
        self.options = options
        self.samples = samples.Samples()
        self.guest = lab.make_guest()
        self.failures = 0
        self.learned = None  # a directory with map and segment of a boot
        self.trace = lab.CACHE / "trace" / f"{self.guest.name}.trace.gz"

    # -- what each system is, from cold to warm

    def wants(self, name):
        only = self.options.systems
        return not only or name in only

    def peer(self, cls, workplace, store):
        if cls is peers.QemuReplay:
            return cls(workplace, store, IMAGE, self.trace)
        return cls(workplace, store, IMAGE)

    def store(self, workplace, kind, learned=False):
        """A store that holds the image, and map and segment if @learned."""
        directory = workplace.path("store")
        directory.mkdir()
        (directory / IMAGE).symlink_to(self.guest / IMAGE)
        if learned:
            for f in self.learn().iterdir():
                shutil.copy(f, directory)
        return slowstore.Store(workplace, directory, **STORES[kind])

    def systems(self, wanted):
        """(name, states, function that makes it) of those wanted."""
        every = [
            ("P0", ["cold"], lambda w, s: self.peer(peers.Peer, w, s), False),
            ("P1", ["cold", "warm"],
             lambda w, s: self.peer(peers.NbdkitCache, w, s), False),
            ("P4", ["cold", "warm"],
             lambda w, s: self.peer(peers.QemuCopyOnRead, w, s), False),
            ("P5", ["cold", "warm"],
             lambda w, s: self.peer(peers.QemuReplay, w, s), False),
            ("P6", ["cold", "warm"],
             lambda w, s: self.peer(peers.QemuVhost, w, s), False),
            ("roost first", ["cold"],
             lambda w, s: peers.Roost(w, s, IMAGE, s.dir), False),
            ("roost unlearning", ["cold"],
             lambda w, s: peers.Roost(w, s, IMAGE, s.dir, record=False), False),
            ("roost", ["second", "warm"],
             lambda w, s: peers.Roost(w, s, IMAGE, w.dir), True)]
        have_roost = ROOST.exists()
        return [x for x in every
                if x[0] in wanted and self.wants(x[0]) and
                (have_roost or not x[0].startswith("roost"))]

    @contextlib.contextmanager
    def attempt(self, what):
        """One that fails is told and counted; the others go on."""
        try:
            yield
        except (lab.Failed, subprocess.SubprocessError) as e:
            self.failures += 1
            print(f"FAILED {what}: {e}", file=sys.stderr, flush=True)

    def note(self, name, system, run, value, unit, peer):
        self.samples.add(name, system, run, value, unit, peer)

    # -- what others need first

    def record(self):
        """The trace that clones replay: one boot straight from the store."""
        if self.trace.exists():
            return
        print("recording a trace: one boot from the 5 ms store", flush=True)
        with lab.Lab() as w:
            store = self.store(w, "5ms")
            guest.Boot(w, self.guest, store.uri(IMAGE)).result()
            store.stop()
            with open(store.log) as log:
                rows = trace_file.convert(log)
        self.trace.parent.mkdir(parents=True, exist_ok=True)
        tmp = self.trace.with_suffix(f".{os.getpid()}")
        trace_file.save(rows, tmp)
        tmp.rename(self.trace)

    def learn(self):
        """Map and segment of one real boot, as Roost leaves them."""
        if self.learned:
            return self.learned
        print("recording map and segment: one boot through Roost", flush=True)
        learned = pathlib.Path(self.keep.dir / "learned")
        with lab.Lab() as w:
            store = self.store(w, "1ms")
            roost = peers.Roost(w, store, IMAGE, store.dir)
            roost.start()
            guest.Boot(w, self.guest, roost.uri()).result()
            roost.stop()
            learned.mkdir()
            for f in store.dir.iterdir():
                if f.name != IMAGE:
                    shutil.copy(f, learned)
        if not list(learned.iterdir()):
            raise lab.Failed("Roost left no map and segment after a boot")
        self.learned = learned
        return learned

    # -- a real guest

    def boot_once(self, kind, name, states, make, needs, run):
        with lab.Lab() as w:
            store = self.store(w, kind, needs)
            system = make(w, store)
            system.start()
            # What is read before the guest starts is the boot's cost too.
            for i, state in enumerate(states):
                if i:
                    store.reset()
                else:
                    system.clones_start()
                # Both cores have a guest, whoever is measured.
                local = guest.Boot(w, self.guest, self.guest / IMAGE)
                if isinstance(system, peers.QemuVhost):
                    if i:
                        break
                    boot = guest.Boot(w, self.guest, disk=system.disk())
                else:
                    boot = guest.Boot(w, self.guest, system.uri())
                seconds, _ = boot.result()
                base, _ = local.result()
                requests, size = store.total()
                key = f"{name} {state}"
                for who, value in ((key, seconds), ("local", base)):
                    # The local boot beside it is what it is compared with.
                    self.note(f"boot {kind} guest time", who, (key, run),
                              value, "s", "local")
                self.note(f"boot {kind} store requests", key, run, requests,
                          "requests", "P0 cold")
                self.note(f"boot {kind} store bytes", key, run, size / MIB,
                          "MiB", "P0 cold")
                print(f"boot {kind:>7} {key:13} guest {seconds:6.2f} s, local "
                      f"{base:5.2f} s, ratio {seconds / base:5.3f}; store "
                      f"{requests} requests, {size / MIB:.0f} MiB", flush=True)
            system.stop()

    def boot(self, kinds, wanted, runs):
        for kind in self.options.stores or kinds:
            for run in range(runs):
                for name, states, make, needs in self.systems(wanted):
                    with self.attempt(f"boot {kind} {name}"):
                        self.boot_once(kind, name, states, make, needs, run)

    # -- many clones

    def replay(self, uri, n):
        p = subprocess.run(
            [lab.BUILD / "bench" / "replay", "--clones", str(n), "--think",
             "0", uri], input=self.trace_text, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, timeout=600)
        if p.returncode:
            raise lab.Failed(p.stderr.decode().strip())
        return json.loads(p.stdout)

    def clones_once(self, kind, n, name, states, make, needs, run):
        with lab.Lab() as w:
            store = self.store(w, kind, needs)
            system = make(w, store)
            began = time.monotonic()
            system.start()
            for i, state in enumerate(states):
                # A daemon that reads ahead has its start counted as well: a
                # prefetch before the first clone is no gift.
                if i:
                    store.reset()
                    began = time.monotonic()
                else:
                    system.clones_start()
                ahead = time.monotonic() - began
                cpu = system.cpu()
                store_cpu = store.process.cpu()
                r = self.replay(system.uri(), n)
                cpu = system.cpu() - cpu
                store_cpu = store.process.cpu() - store_cpu
                requests, size = store.total()
                key = f"{name} {state}"
                where = f"clones {kind} n={n}"
                for what, value, unit in (
                        ("last clone", r["seconds"], "s"),
                        ("first clone", r["clone_seconds"][0], "s"),
                        ("p50", r["p50_us"] / 1000, "ms"),
                        ("p99", r["p99_us"] / 1000, "ms"),
                        ("store requests", requests, "requests"),
                        ("store bytes", size / MIB, "MiB"),
                        ("server CPU", cpu, "s"),
                        ("store CPU", store_cpu, "s"),
                        ("ready after", ahead, "s")):
                    self.note(f"{where} {what}", key, run, value, unit,
                              "P0 cold")
                print(f"{where:21} {key:13} last {r['seconds']:6.2f} s, first "
                      f"{r['clone_seconds'][0]:6.2f} s, p99 "
                      f"{r['p99_us'] / 1000:6.1f} ms; store {requests} "
                      f"requests, {size / MIB:.0f} MiB; CPU {cpu:.2f} s",
                      flush=True)
            system.stop()

    def clones(self, kinds, numbers, wanted, runs):
        self.record()
        self.trace_text = trace_file.text(self.trace)
        read = sum(r.length for r in trace_file.load(self.trace)) / MIB
        for kind in self.options.stores or kinds:
            for n in self.options.clones or numbers:
                for run in range(runs):
                    for name, states, make, needs in self.systems(wanted):
                        # Straight over the link it takes minutes, and each
                        # run the same: once is enough.
                        slow = STORES[kind].get("mbit", 0)
                        if name == "P0" and slow and run and \
                                n * read * 8 / slow > 20:
                            continue
                        with self.attempt(f"clones {kind} {n} {name}"):
                            self.clones_once(kind, n, name, states, make,
                                             needs, run)


    # -- the doors, over hot data

    def doors(self, w, data):
        """(name, process that serves @data, socket) over NBD."""
        def serve(name, *args):
            p = w.start(name, *args)
            p.wait_socket(sock)
            return name, p, sock

        sock = w.path("nbdkit.sock")
        yield serve("nbdkit", "nbdkit", "-f", "-r", "-U", sock, "file", data)
        sock = w.path("qemu-nbd.sock")
        yield serve("qemu-nbd", "qemu-nbd", "-r", "-k", sock, "-f", "raw",
                    "--aio=io_uring", "--shared=8", "--persistent", data)
        if ROOST.exists():
            sock = w.path("roost.sock")
            yield serve("roost", ROOST, "--foreground", "--listen",
                        f"unix:{sock}", "--control", w.path("control"),
                        "--disk", f"disk={data},ro")

    def vhost_doors(self, w, data):
        def serve(name, *args):
            p = w.start(name, *args)
            p.wait_file(sock)
            return name, p, sock

        sock = w.path("qsd.sock")
        yield serve("qemu-storage-daemon", "qemu-storage-daemon", "--blockdev",
                    f"driver=file,node-name=file,filename={data},aio=io_uring",
                    "--export", "type=vhost-user-blk,id=export,node-name=file,"
                    f"addr.type=unix,addr.path={sock},writable=off")
        if ROOST.exists():
            sock = w.path("roost.sock")
            yield serve("roost", ROOST, "--foreground", "--listen",
                        f"vhost-user:{sock}", "--control", w.path("control"),
                        "--disk", f"disk={data},ro")

    def load(self, group, name, run, peer, prefix, args):
        """One run of a load generator: a row for each line it prints."""
        for line in lab.run(*args, timeout=120).splitlines():
            mode, *pairs = line.split()
            v = dict(x.split("=") for x in pairs)
            cpu = float(v.get("cpu_us") or v["us_cpu"])
            self.note(f"{group} {prefix}{mode} speed", name, run,
                      float(v["iops"]), "requests/s", peer)
            self.note(f"{group} {prefix}{mode} CPU", name, run, cpu,
                      "us/request", peer)
            print(f"{group} {prefix + mode:16} {name:20} {v['iops']:>7} "
                  f"requests/s, {cpu:6.2f} us of CPU each", flush=True)

    @contextlib.contextmanager
    def hot_file(self):
        with lab.Lab() as w:
            data = w.path("hot.raw")
            with open(data, "wb") as f:
                for _ in range(64):
                    f.write(os.urandom(4 * MIB))
            yield w, data

    def raw(self, runs, seconds):
        with self.hot_file() as (w, data):
            servers = list(self.doors(w, data))
            program = lab.BUILD / "bench" / "nbd_raw"
            for run, (client, prefix), mode, (name, p, sock) in \
                    itertools.product(range(runs),
                                      (("libnbd", ""), ("batch", "fast-")),
                                      ("qd1", "qd32", "two", "seq"), servers):
                export = ["-e", "disk"] if name == "roost" else []
                with self.attempt(f"raw {name}"):
                    self.load("raw", name, run, "nbdkit", prefix, [
                        program, "-c", client, "-p", p.popen.pid, "-t",
                        seconds, *export, sock, mode])

    def vhost(self, runs, seconds):
        program = lab.BUILD / "bench" / "vhost_raw"
        if not program.exists():
            return
        with self.hot_file() as (w, data):
            servers = list(self.vhost_doors(w, data))
            for run in range(runs):
                for name, p, sock in servers:
                    with self.attempt(f"vhost {name}"):
                        self.load("vhost", name, run, "qemu-storage-daemon",
                                  "", [program, sock, p.popen.pid, seconds])

    def daemon(self, runs):
        """What the daemon itself costs: memory, and time until it serves."""
        if not ROOST.exists():
            return
        for run in range(runs):
            with self.hot_file() as (w, data), self.attempt("daemon"):
                _, p, sock = list(self.doors(w, data))[-1]
                ready = time.monotonic() - p.started
                self.note("daemon start", "roost", run, ready * 1000, "ms", "")
                lab.run(lab.BUILD / "bench" / "nbd_raw", "-t", 1, "-e", "disk",
                        sock, "qd32")
                self.note("daemon memory", "roost", run, p.memory() / MIB,
                          "MiB", "")


def main():
    parser = argparse.ArgumentParser(description="Roost and its peers")
    parser.add_argument("--quick", action="store_true",
                        help="the core of it, in under 10 minutes")
    parser.add_argument("--only", default="boot,clones,raw,vhost")
    parser.add_argument("--systems", default="",
                        help="P0, P1, P4, P5, P6, 'roost first', "
                        "'roost unlearning', roost")
    parser.add_argument("--stores", default="",
                        help=", ".join(STORES))
    parser.add_argument("--clones", default="", help="numbers of clones")
    parser.add_argument("--runs", type=int, default=0)
    parser.add_argument("--out", type=pathlib.Path,
                        default=lab.TOP / "bench" / "results.json")
    options = parser.parse_args()
    options.systems = [s for s in options.systems.split(",") if s]
    options.stores = [s for s in options.stores.split(",") if s]
    options.clones = [int(n) for n in options.clones.split(",") if n]
    groups = options.only.split(",")
    began = time.monotonic()
    # Ended early, it keeps what was measured until then.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("bench: ended early"))
    bench = Bench(options)
    with lab.Lab() as keep:
        bench.keep = keep
        try:
            if options.quick:
                quick(bench, groups, options.runs)
            else:
                everything(bench, groups, options.runs)
        finally:
            rows = bench.samples.rows()
            if options.quick and options.out.parent == lab.TOP / "bench":
                options.out = lab.BUILD / "bench" / "results-quick.json"
                options.out.unlink(missing_ok=True)
            samples.save(options.out, rows)
    print(report.text(samples.load(options.out)))
    if options.out == lab.TOP / "bench" / "results.json":
        report.write(samples.load(options.out))
    print(f"bench: {len(rows)} rows in {options.out}, {bench.failures} failed, "
          f"{time.monotonic() - began:.0f} s")
    return bench.failures > 0


def quick(bench, groups, runs):
    if "clones" in groups:
        bench.clones(["5ms"], [1, 64], ["P0", "P1", "P5", "roost"], runs or 2)
    if "raw" in groups:
        bench.raw(runs or 1, 2)
        bench.daemon(1)
    if "vhost" in groups:
        bench.vhost(runs or 1, 2)
    if "boot" in groups:
        bench.boot(["5ms"], ["P0", "P4", "roost first", "roost"], runs or 1)


def everything(bench, groups, runs):
    if "clones" in groups:
        bench.clones(["1ms", "5ms", "200Mbit"], [1, 8, 32, 64],
                     ["P0", "P1", "P4", "P5", "roost first", "roost unlearning",
                      "roost"], runs or 3)
    if "raw" in groups:
        bench.raw(runs or 5, 3)
        bench.daemon(runs or 5)
    if "vhost" in groups:
        bench.vhost(runs or 5, 3)
    if "boot" in groups:
        bench.boot(["5ms", "10ms", "20ms"],
                   ["P0", "P1", "P4", "P5", "P6", "roost first",
                    "roost unlearning", "roost"], runs or 3)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except lab.Failed as e:
        sys.exit(f"bench: {e}")
