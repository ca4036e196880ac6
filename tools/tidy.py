#!/usr/bin/env python3
"""Run clang-tidy over src/, as .clang-tidy says: tools/tidy.py BUILD [FILE ...]

BUILD is a folder of meson's, for the compiler's arguments. What was found
clean is remembered in BUILD/tidy/ by the hash of the file and of all that it
includes, so that only what has changed is looked at again. Unit tests are not
looked at: they run under the sanitizers, and assert what they mean.
"""
import concurrent.futures
import hashlib
import os
import pathlib
import re
import subprocess
import sys

TIMEOUT_S = 300
top = pathlib.Path(__file__).resolve().parent.parent
src = top / "src"
include = re.compile(rb'^\s*#\s*include\s*"([^"]+)"', re.M)


def files():
    return sorted(str(f.relative_to(top)) for f in src.rglob("*.c")
                  if not f.stem.endswith("_test"))


def closure(file):
    """The file and all of src/ that it includes."""
    seen, todo = set(), [file]
    while todo:
        f = todo.pop()
        if f in seen or not f.exists():
            continue
        seen.add(f)
        todo += [src / i.decode() for i in include.findall(f.read_bytes())]
    return sorted(seen)


def key(file, about):
    h = hashlib.sha256(about)
    for f in closure(top / file):
        h.update(bytes(f) + b"\0" + f.read_bytes() + b"\0")
    return h.hexdigest()


def tidy(build, file, about):
    """Return (is it clean, what clang-tidy says)."""
    mark = build / "tidy" / file.replace("/", "-")
    want = key(file, about)
    if mark.exists() and mark.read_text() == want:
        return True, ""
    # Compiled by gcc: its warnings are not clang's. One file per process, or
    # version 14 takes every va_list after the first file's for uninitialized.
    try:
        p = subprocess.run(
            ["clang-tidy", "--quiet", "-p", str(build),
             "--extra-arg=-Wno-unknown-warning-option", str(top / file)],
            cwd=top, text=True, stdin=subprocess.DEVNULL, timeout=TIMEOUT_S,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    except subprocess.TimeoutExpired:
        return False, f"{file}: took more than {TIMEOUT_S} s"
    if p.returncode:
        return False, p.stdout + p.stderr
    mark.parent.mkdir(exist_ok=True)
    mark.write_text(want)
    return True, ""


def tidy_all(build, names=None):
    """Yield (file, is it clean, what clang-tidy says)."""
    version = subprocess.run(["clang-tidy", "--version"], check=True,
                             stdout=subprocess.PIPE).stdout
    about = version + (top / ".clang-tidy").read_bytes()
    names = names or files()
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for name, result in zip(names, pool.map(
                lambda f: tidy(build, f, about), names)):
            yield name, *result


def main():
    bad = 0
    for _, ok, text in tidy_all(pathlib.Path(sys.argv[1]), sys.argv[2:]):
        if not ok:
            bad += 1
            print(text, flush=True)
    print(f"{bad} files with findings")
    return bad > 0


if __name__ == "__main__":
    sys.exit(main())
