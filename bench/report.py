#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""doc/PERFORMANCE.md and its plots, made of bench/results.json.

As a program: report.py  makes them again.
"""
import re

import lab
import plot
import samples

SYSTEMS = ["local", "P0 cold", "P1 cold", "P4 cold", "P5 cold", "P6 cold",
           "P1 warm", "P4 warm", "P5 warm", "nbdkit", "qemu-nbd",
           "qemu-storage-daemon", "roost first cold", "roost unlearning cold",
           "roost second",
           "roost warm", "roost"]
TITLES = {
    "P0": "a qcow2 overlay straight on the store",
    "P1": "nbdkit's cache filter, cache-on-read, for all clones",
    "P4": "qemu-storage-daemon: one copy-on-read node over a qcow2 cache image "
          "for all clones",
    "P5": "P4, and the recorded list replayed by NBD_CMD_CACHE, 16 in flight",
    "P6": "P4 over vhost-user-blk",
    "roost": "first: nothing is known, the boot is recorded; unlearning: nor is "
             "it recorded; second: map and "
             "segment are on the store and the cache is empty; warm: the same "
             "daemon once more",
}
HEAD = """\
# Performance

Made by `make bench` from bench/results.json; do not edit. A value is the median
of its runs. Ratios are made within a run, before the median, so that what else
the machine did falls out.

Measured on: {cpu}, {cores} cores, Linux {kernel}; {qemu}; {nbdkit}.

| system | what it is |
|---|---|
{titles}

"""
BOOT = """\
## A real guest

A stock Debian 12 (systemd, ssh, nginx, cron, rsyslog, chrony) in QEMU with
`-icount`, from the kernel's start to multi-user by the guest's own clock. Another
guest boots beside it from the page cache of this machine: local, the
bar that no disk can be better than. All have a qcow2 overlay of the same kind.

"""
CLONES = """\
## Many clones at once

A recorded boot replayed by N clones, each with its own connection, without think
time: all they do is wait for their disk. The store adds {stores}.

"""
RAW = """\
## Speed of the doors

Data that is in the page cache, over a unix socket. CPU is what the server used,
per request.

"""


def key_order(name):
    return SYSTEMS.index(name) if name in SYSTEMS else len(SYSTEMS)


class Table:
    """Rows of results, looked up by name and system."""

    def __init__(self, results):
        self.rows = {(r["name"], r["system"]): r for r in results["rows"]}
        self.names = sorted({r["name"] for r in results["rows"]})

    def value(self, name, system):
        r = self.rows.get((name, system))
        return r["value"] if r else None

    def ratio(self, name, system):
        r = self.rows.get((name, system))
        return r["ratio"] if r else None

    def systems(self, name):
        return sorted((s for n, s in self.rows if n == name), key=key_order)

    def cell(self, name, system):
        r = self.rows.get((name, system))
        if not r:
            return ""
        text = figure(r["value"])
        low, high = r["spread"]
        if r["runs"] > 1 and high - low > 0.02 * abs(r["value"]):
            text += f" ({figure(low)}-{figure(high)})"
        return text


def figure(x):
    if x == int(x) or abs(x) >= 1000:
        return f"{x:,.0f}"
    return f"{x:.2f}" if abs(x) < 100 else f"{x:.1f}"


def markdown(header, lines):
    out = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    out += ["| " + " | ".join(line) + " |" for line in lines]
    return "\n".join(out) + "\n\n"


def natural(text):
    return [int(x) if x.isdigit() else x for x in re.split(r"(\d+)", text)]


def stores_of(t, what):
    found = {n.split()[1] for n in t.names if n.startswith(what + " ")}
    return sorted(found, key=natural)


def boot_table(t):
    out = ""
    for store in stores_of(t, "boot"):
        name = f"boot {store} guest time"
        lines = []
        for s in t.systems(name):
            r = t.ratio(name, s)
            lines.append([s, t.cell(name, s), f"{r:.3f}" if r else "",
                          t.cell(f"boot {store} store requests", s),
                          t.cell(f"boot {store} store bytes", s)])
        out += f"Store with {store}:\n\n" + markdown(
            ["system", "guest s", "ratio to local", "store requests",
             "store MiB"], lines)
    return out


def clone_numbers(t, store):
    found = {int(n.split()[2][2:]) for n in t.names
             if n.startswith(f"clones {store} ")}
    return sorted(found)


def clones_table(t):
    out = ""
    for store in stores_of(t, "clones"):
        for n in clone_numbers(t, store):
            base = f"clones {store} n={n} "
            columns = ["last clone", "first clone", "p50", "p99",
                       "store requests", "store bytes", "server CPU"]
            units = ["s", "s", "ms", "ms", "", "MiB", "s"]
            out += f"{store}, {n} clone{'s' if n > 1 else ''}:\n\n" + markdown(
                ["system"] + [f"{c} {u}".strip()
                              for c, u in zip(columns, units)],
                [[s] + [t.cell(base + c, s) for c in columns]
                 for s in t.systems(base + "last clone")])
    return out


def raw_table(t, what):
    names = [n for n in t.names if n.startswith(what + " ")]
    lines = []
    for n in sorted(names, key=natural):
        for s in t.systems(n):
            r = t.rows[n, s]
            ratio = f"{r['ratio']:.2f}" if r["ratio"] else ""
            lines.append([n, s, t.cell(n, s), r["unit"], ratio, r["peer"]])
    return markdown(["what", "system", "value", "unit", "ratio", "to"],
                    lines) if lines else ""


def better(t, name, systems, is_less=False):
    have = [t.value(name, s) for s in systems if t.value(name, s)]
    if not have:
        return None
    return min(have) if is_less else max(have)


def goals(t):
    """(what must be reached, value, bar, whether a lower value is better)"""
    out = []

    def goal(what, value, bar, is_less=True):
        if value is not None:
            out.append((what, value, bar, is_less))

    def over(a, b):
        return a / b if a is not None and b else None

    for store, bar in (("5ms", 1.03), ("10ms", 1.05), ("20ms", 1.10)):
        goal(f"second boot over a {store} store / local RAM",
             t.ratio(f"boot {store} guest time", "roost second"), bar)
        goal(f"its store requests ({store})",
             t.value(f"boot {store} store requests", "roost second"), 100)
    goal("boot with a warm cache / local RAM",
         t.ratio("boot 5ms guest time", "roost warm"), 1.01)
    name = "boot 5ms guest time"
    goal("boot that is recorded / boot that is not",
         over(t.value(name, "roost first cold"),
              t.value(name, "roost unlearning cold")), 1.02)
    c = "clones 5ms n=64 "
    goal("64 clones: last clone / nbdkit's warm cache",
         over(t.value(c + "last clone", "roost second"),
              t.value(c + "last clone", "P1 warm")), 1)
    goal("64 clones: last clone / the best peer, cold",
         over(t.value(c + "last clone", "roost second"),
              better(t, c + "last clone", ["P1 cold", "P4 cold", "P5 cold"],
                     True)), 1)
    goal("64 clones: last clone / first clone",
         over(t.value(c + "last clone", "roost second"),
              t.value(c + "first clone", "roost second")), 1.2)
    goal("64 clones: bytes from the store / one clone's boot set",
         over(t.value(c + "store bytes", "roost second"),
              t.value("clones 5ms n=1 store bytes", "P0 cold")), 1.05)
    goal("64 clones: p99 of reads with prefetch / without",
         over(t.value(c + "p99", "roost second"),
              t.value(c + "p99", "roost unlearning cold")), 1)
    for what, bar in (("qd1", 1.05), ("qd32", 1.0), ("two", 1.3),
                      ("seq", 1.3)):
        goal(f"NBD {what}: requests per second / better of the two",
             over(t.value(f"raw {what} speed", "roost"),
                  better(t, f"raw {what} speed", ["nbdkit", "qemu-nbd"])),
             bar, False)
    goal("NBD qd32: CPU per request / better of the two",
         over(t.value("raw qd32 CPU", "roost"),
              better(t, "raw qd32 CPU", ["nbdkit", "qemu-nbd"], True)), 0.5)
    for what in ("rand4k-qd1", "rand4k-qd32", "seq128k-qd8"):
        goal(f"vhost-user-blk {what}: requests per second / "
             "qemu-storage-daemon",
             t.ratio(f"vhost {what} speed", "roost"), 1.2, False)
        goal(f"vhost-user-blk {what}: CPU per request / qemu-storage-daemon",
             t.ratio(f"vhost {what} CPU", "roost"), 0.7)
    goal("memory beside the cache, MiB", t.value("daemon memory", "roost"), 10)
    goal("from start to serving, ms", t.value("daemon start", "roost"), 50)
    return out


def goals_table(t):
    lines = [[what, f"{value:.3g}" if value < 1000 else f"{value:.0f}",
              f"{'at most' if is_less else 'at least'} {bar:g}",
              "yes" if (value <= bar if is_less else value >= bar) else "NO"]
             for what, value, bar, is_less in goals(t)]
    if not lines:
        return ""
    return "## What Roost is to reach\n\n" + markdown(
        ["what", "measured", "bar", "reached"], lines)


def text(results):
    t = Table(results)
    return (goals_table(t) + boot_table(t) + clones_table(t) +
            raw_table(t, "raw") + raw_table(t, "vhost"))


def plots(t, directory):
    """The plots that there are values for: their files' names."""
    done = []
    stores = stores_of(t, "boot")
    values = {(s, k): t.ratio(f"boot {s} guest time", k) for s in stores
              for k in t.systems(f"boot {s} guest time") if k != "local"}
    values = {k: v for k, v in values.items() if v}
    if values:
        names = sorted({k for _, k in values}, key=key_order)
        plot.bars(directory / "boot.svg", "Boot of a real guest",
                  "guest time / local RAM", stores, names, values, base=1)
        done.append("boot")
    for store in stores_of(t, "clones"):
        numbers = clone_numbers(t, store)
        values = {}
        for n in numbers:
            name = f"clones {store} n={n} last clone"
            for k in t.systems(name):
                values[n, k] = t.value(name, k)
        names = sorted({k for _, k in values}, key=key_order)
        plot.lines(directory / f"clones-{store}.svg",
                   f"N clones at once over a {store} store",
                   "seconds until the last clone is done", numbers, names,
                   values)
        done.append(f"clones-{store}")
    for door in ("raw", "vhost"):
        modes = sorted({n.split()[1] for n in t.names
                        if n.startswith(door + " ") and n.endswith("speed")})
        values = {(m, k): t.value(f"{door} {m} speed", k) for m in modes
                  for k in t.systems(f"{door} {m} speed")}
        if values:
            names = sorted({k for _, k in values}, key=key_order)
            plot.bars(directory / f"{door}.svg",
                      "NBD door" if door == "raw" else "vhost-user-blk door",
                      "requests per second", modes, names, values)
            done.append(door)
    return done


def write(results):
    t = Table(results)
    doc = lab.TOP / "doc"
    pictures = doc / "performance"
    pictures.mkdir(parents=True, exist_ok=True)
    have = plots(t, pictures)

    def picture(name):
        if name not in have:
            return ""
        return f"![{name}](performance/{name}.svg)\n\n"

    titles = "\n".join(f"| {k} | {v} |" for k, v in TITLES.items())
    out = HEAD.format(titles=titles, **results["machine"])
    out += goals_table(t)
    if boot := boot_table(t):
        out += BOOT + picture("boot") + boot
    stores = stores_of(t, "clones")
    if stores:
        what = ", ".join(s if "bit" in s else f"{s} to each read"
                         for s in stores[:-1])
        what = (what + " or " if what else "") + stores[-1]
        out += CLONES.format(stores=what)
        out += "".join(picture(f"clones-{s}") for s in stores)
        out += clones_table(t)
    raw = raw_table(t, "raw")
    vhost = raw_table(t, "vhost")
    if raw or vhost:
        out += RAW + picture("raw") + raw + picture("vhost") + vhost
    out += (lab.TOP / "bench" / "NOTES.md").read_text()
    (doc / "PERFORMANCE.md").write_text(out.rstrip() + "\n")


if __name__ == "__main__":
    write(samples.load(lab.TOP / "bench" / "results.json"))
