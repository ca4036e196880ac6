#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The bench's own arithmetic: traces, counts at the store, rows, the report."""
import pathlib
import sys
import tempfile
from xml.etree import ElementTree

import plot
import report
import samples
import slowstore
import trace_file

LOG = """\
2026-01-01 00:00:00.000100 Ready thread_model=3
2026-01-01 00:00:00.000200 connection=1 Connect export=disk.raw tls=0 size=0x10
2026-01-01 00:00:00.000300 connection=2 Connect export="a b" tls=0 size=0x10
2026-01-01 00:00:01.000000 connection=2 Read id=1 offset=0x0 count=0x200 ...
2026-01-01 00:00:01.000000 connection=1 Read id=1 offset=0x1000 count=0x200 ...
2026-01-01 00:00:01.005000 connection=1 ...Read id=1 return=0
2026-01-01 00:00:01.006000 connection=1 Read id=2 offset=0x2000 count=0x1000 ...
2026-01-01 00:00:01.006500 connection=1 Read id=3 offset=0x4000 count=0x1000 ...
2026-01-01 00:00:01.010000 connection=1 ...Read id=3 return=0
2026-01-01 00:00:01.010100 connection=1 Read id=4 offset=0x6000 count=0x1000 ...
2026-01-01 00:00:01.011000 connection=1 ...Read id=2 return=0
2026-01-01 00:00:01.015000 connection=1 ...Read id=4 return=0
2026-01-01 00:00:01.020000 connection=1 Read id=5 offset=0x8000 count=0x1000 ...
2026-01-01 00:00:01.030000 connection=1 Cache id=6 offset=0x0 count=0x1000 ...
"""


def a_log_becomes_a_trace():
    rows = trace_file.convert(LOG.splitlines())
    assert rows == [[0, 0, 5000, 0x1000, 0x200, -1, 0],
                    [1, 6000, 5000, 0x2000, 0x1000, 0, 1000],
                    [2, 6500, 3500, 0x4000, 0x1000, 0, 1500],
                    [3, 10100, 4900, 0x6000, 0x1000, 2, 100]], rows
    with tempfile.TemporaryDirectory() as d:
        path = pathlib.Path(d) / "trace.gz"
        trace_file.save(rows, path)
        assert trace_file.load(path)[3] == (0x6000, 0x1000, 2, 100)


def requests_are_counted_by_export():
    class FromText(slowstore.Store):
        def __init__(self, path):
            self.log = path
            self.mark = (0, 0)

    with tempfile.TemporaryDirectory() as d:
        path = pathlib.Path(d) / "log"
        path.write_text(LOG)
        store = FromText(path)
        assert store.counts() == {"disk.raw": [6, 0x5200], "a b": [1, 0x200]}
        assert store.total() == (7, 0x5400)
        store.reset()
        assert store.total() == (0, 0)


def ratios_are_made_within_a_run():
    s = samples.Samples()
    for run, (ours, theirs) in enumerate([(1, 2), (10, 10), (3, 12)]):
        s.add("raw qd1 speed", "roost", run, ours, "s", "nbdkit")
        s.add("raw qd1 speed", "nbdkit", run, theirs, "s", "nbdkit")
    rows = {r["system"]: r for r in s.rows()}
    assert rows["roost"]["ratio"] == 0.5 and rows["roost"]["value"] == 3
    assert rows["roost"]["runs"] == 3 and rows["roost"]["spread"] == [1, 10]
    assert rows["nbdkit"]["ratio"] == 1
    s.add("alone", "roost", 0, 0, "s", "nobody")
    assert s.rows()[-1]["ratio"] is None


def rows_measured_again_replace_the_old():
    row = {"name": "a", "system": "x", "value": 1, "unit": "s", "peer": "x",
           "ratio": 1, "runs": 1, "spread": [1, 1]}
    with tempfile.TemporaryDirectory() as d:
        path = pathlib.Path(d) / "results.json"
        samples.save(path, [row, dict(row, system="y")])
        samples.save(path, [dict(row, value=2)])
        have = {r["system"]: r["value"] for r in samples.load(path)["rows"]}
        assert have == {"x": 2, "y": 1}, have


def a_goal_that_is_missed_says_so():
    def row(name, system, value, ratio):
        return {"name": name, "system": system, "value": value, "unit": "s",
                "peer": "local", "ratio": ratio, "runs": 1,
                "spread": [value, value]}

    text = report.text({"rows": [
        row("boot 5ms guest time", "roost second", 6.0, 1.02),
        row("boot 10ms guest time", "roost second", 7.0, 1.06)]})
    lines = [x for x in text.splitlines() if "second boot over" in x]
    assert lines[0].endswith("| yes |") and lines[1].endswith("| NO |"), lines


def plots_are_well_formed():
    with tempfile.TemporaryDirectory() as d:
        path = pathlib.Path(d) / "a.svg"
        plot.bars(path, "<title> & more", "s", ["a", "b"], ["x", "y"],
                  {("a", "x"): 1, ("b", "y"): 120000}, base=1)
        ElementTree.parse(path)
        plot.lines(path, "t", "s", [1, 64], ["x"], {(1, "x"): 0.004,
                                                   (64, "x"): 0.02})
        ElementTree.parse(path)
    for top in (0.0003, 0.9, 1, 1.4, 7, 99, 380149):
        t = plot.ticks(top)
        assert t[0] == 0 and t[-1] >= top and 3 <= len(t) <= 11, (top, t)


a_log_becomes_a_trace()
requests_are_counted_by_export()
ratios_are_made_within_a_run()
rows_measured_again_replace_the_old()
a_goal_that_is_missed_says_so()
plots_are_well_formed()
sys.exit(0)
