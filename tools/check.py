#!/usr/bin/env python3
"""Every test of Roost, in each build that finds its own kind of fault.

Prints a line per test that did not pass, what was skipped and why, and last
"N passed, N failed".
"""
import json
import os
import pathlib
import subprocess
import sys

top = pathlib.Path(__file__).resolve().parent.parent
# name, CC, meson arguments, suites (none: all)
BUILDS = [
    ("gcc", "gcc", [], []),
    ("asan", "clang", ["-Db_sanitize=address,undefined", "-Db_lundef=false"],
     ["unit", "fuzz"]),
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
    run(["meson", "test", "-C", str(build), "--no-rebuild",
         *[f"--suite={s}" for s in suites]])
    for line in log.read_text().splitlines():
        t = json.loads(line)
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


check_format()
for b in BUILDS:
    check_build(*b)
print(f"{passed} passed, {failed} failed")
sys.exit(failed > 0)
