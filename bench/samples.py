# SPDX-License-Identifier: Apache-2.0
"""What was measured, run by run, and the rows made of it.

A row of results.json:
    name    what was measured, and where
    system  on whom: roost second, P1 warm, ...
    value   the median of the runs, in unit
    peer    the system that it is compared with
    ratio   the median of value / the peer's value in the same run
    runs    how many; spread: [least, greatest]
"""
import json
import os
import pathlib
import platform
import statistics
import subprocess


class Samples:
    def __init__(self):
        self.of = {}  # (name, system) -> {run: value}
        self.about = {}  # name -> (unit, peer)

    def add(self, name, system, run, value, unit, peer):
        self.about[name] = (unit, peer)
        self.of.setdefault((name, system), {})[run] = value

    def rows(self):
        rows = []
        for (name, system), runs in self.of.items():
            unit, peer = self.about[name]
            other = self.of.get((name, peer), {})
            ratios = [v / other[r] for r, v in runs.items() if other.get(r)]
            values = list(runs.values())
            rows.append({
                "name": name, "system": system,
                "value": round(statistics.median(values), 4), "unit": unit,
                "peer": peer,
                "ratio": round(statistics.median(ratios), 4) if ratios else None,
                "runs": len(values),
                "spread": [round(min(values), 4), round(max(values), 4)]})
        return rows


def machine():
    cpu = "?"
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            cpu = line.partition(":")[2].strip()
            break

    def version(*args):
        try:
            return subprocess.run(args, stdout=subprocess.PIPE, text=True,
                                  check=True).stdout.splitlines()[0]
        except (OSError, subprocess.CalledProcessError, IndexError):
            return "?"
    return {"cpu": cpu, "cores": len(os.sched_getaffinity(0)),
            "kernel": platform.release(),
            "kvm": os.path.exists("/dev/kvm"),
            "qemu": version("qemu-system-x86_64", "--version"),
            "nbdkit": version("nbdkit", "--version")}


def load(path):
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        return {"machine": {}, "rows": []}


def save(path, rows):
    """Replace what was measured again; the other rows stay."""
    old = load(path)["rows"]
    new = {(r["name"], r["system"]) for r in rows}
    rows = [r for r in old if (r["name"], r["system"]) not in new] + rows
    rows.sort(key=lambda r: r["name"].split()[0])
    text = ",\n".join("  " + json.dumps(r) for r in rows)
    path.write_text('{"machine": ' + json.dumps(machine()) +
                    ',\n "rows": [\n' + text + "\n ]}\n")
