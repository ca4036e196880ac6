#!/usr/bin/env python3
"""Every test of Roost, in each build that finds its own kind of fault.

Prints a line per test that did not pass, what was skipped and why, and last
"N passed, N failed".
"""
import json
import os
import pathlib
import re
import subprocess
import sys

import tidy

top = pathlib.Path(__file__).resolve().parent.parent
# name, CC, meson arguments, suites (none: all)
BUILDS = [
    ("gcc", "gcc", [], []),
    ("asan", "clang", ["-Db_sanitize=address,undefined", "-Db_lundef=false"],
     ["unit", "fuzz", "whole"]),
    ("tsan", "clang", ["-Db_sanitize=thread", "-Db_lundef=false"], ["unit"]),
]
passed = failed = 0


def report(ok, name, output=""):
    global passed, failed
    if ok:
        passed += 1
        return
    failed += 1
    print(f"FAIL {name}\n{output[-4000:]}", flush=True)


def run(args, **kw):
    return subprocess.run(args, cwd=top, text=True, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **kw)


def check_pytest(build, t):
    """Count each test of a pytest program, which meson counts as one.

    False if it is no such program, or one that did not come to its end.
    """
    global passed
    out = t.get("stdout", "")
    last = (out.strip().splitlines() or [""])[-1]
    if not re.fullmatch(r"(=* *)?(\d+ \w+(, )?)+ in [\d.]+s.*", last):
        return False
    counts = {w: int(n) for n, w in re.findall(r"(\d+) (\w+)", last)}
    for line in re.findall(r"^SKIPPED \[\d+\] (.*)", out, re.M):
        print(f"SKIP {build}: {line}")
    passed += counts.get("passed", 0) + counts.get("xfailed", 0)
    bad = re.findall(r"^(?:FAILED|ERROR) (.*)", out, re.M)
    for line in bad:
        report(False, f"{build}: {line}", out)
    if t["result"] not in ("OK", "SKIP", "EXPECTEDFAIL") and not bad:
        report(False, f"{build}: {t['name']}", out + t.get("stderr", ""))
    return True


def check_build(name, compiler, args, suites):
    build = top / f"build-{name}"
    print(f"== {name}", flush=True)
    if not (build / "build.ninja").exists():
        env = dict(os.environ, CC=compiler)
        p = run(["meson", "setup", str(build), *args], env=env)
        if p.returncode:
            return report(False, f"{name}: meson setup", p.stdout)
    p = run(["ninja", "-C", str(build)])
    report(p.returncode == 0, f"{name}: build", p.stdout)
    if p.returncode:
        return
    log = build / "meson-logs" / "testlog.json"
    log.unlink(missing_ok=True)
    # -rs: pytest says why it skips; see check_pytest().
    run(["meson", "test", "-C", str(build), "--no-rebuild",
         *[f"--suite={s}" for s in suites]],
        env=dict(os.environ, PYTEST_ADDOPTS="-rs --color=no"))
    for line in log.read_text().splitlines():
        t = json.loads(line)
        if check_pytest(name, t):
            continue
        if t["result"] == "SKIP":
            why = t.get("stdout", "").strip().splitlines()[-1:] or ["?"]
            print(f"SKIP {name}: {t['name']}: {why[0]}")
        else:
            report(t["result"] in ("OK", "EXPECTEDFAIL"), f"{name}: {t['name']}",
                   t.get("stdout", "") + t.get("stderr", ""))


def check_format():
    files = run(["git", "ls-files", "*.c", "*.h"]).stdout.split()
    p = run(["clang-format", "--dry-run", "-Werror", *files])
    report(p.returncode == 0, "format (make format mends it)", p.stdout)


def check_tidy():
    """clang-tidy, a test per file. It wants a build's compiler arguments."""
    print("== tidy", flush=True)
    for name, ok, text in tidy.tidy_all(top / "build-gcc"):
        report(ok, f"tidy: {name}", text)


check_format()
for b in BUILDS:
    check_build(*b)
check_tidy()
print(f"{passed} passed, {failed} failed")
sys.exit(failed > 0)
