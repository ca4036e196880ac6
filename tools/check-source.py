#!/usr/bin/env python3
"""What no compiler says of the sources: tools/check-source.py TOP

- no call of a function that has a safer one in its place, outside tests;
- no two files of src/ with one name: names in logs and backtraces are short;
- no promise to do something later, unless it names the issue (#12) it is in.
"""
import pathlib
import re
import subprocess
import sys

BANNED = {
    "alloca": "an array with a limit, or malloc",
    "asctime": "strftime", "ctime": "strftime",
    "atof": "strtod", "atoi": "strtol", "atol": "strtol", "atoll": "strtoll",
    "gets": "getline", "gmtime": "gmtime_r", "localtime": "localtime_r",
    "mktemp": "mkstemp", "tmpnam": "mkstemp", "tempnam": "mkstemp",
    "popen": "posix_spawn", "system": "posix_spawn",
    "rand": "getrandom", "sprintf": "snprintf", "vsprintf": "vsnprintf",
    "sscanf": "a parser in wire/", "strcat": "snprintf", "strcpy": "snprintf",
    "strncat": "snprintf", "strncpy": "snprintf", "strtok": "strtok_r",
}
call = re.compile(r"(?<![\w.>])(" + "|".join(BANNED) + r")\s*\(")
# Comments and strings, so that they can be blanked out.
quiet = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"', re.S)
later = re.compile(r"\b(" + "|".join(["TO" + "DO", "FIX" + "ME", "X" * 3]) +
                   r")\b(?!.*#\d)")


def find_calls(top):
    for f in sorted((top / "src").rglob("*.[ch]")):
        if f.stem.endswith("_test"):
            continue
        text = quiet.sub(lambda m: re.sub(r"[^\n]", " ", m[0]), f.read_text())
        for n, line in enumerate(text.splitlines(), 1):
            for m in call.finditer(line):
                yield f"{f.relative_to(top)}:{n}: {m[1]}(): use {BANNED[m[1]]}"


def find_namesakes(top):
    seen = {}
    for f in sorted((top / "src").rglob("*.[ch]")):
        other = seen.setdefault(f.name, f)
        if other is not f:
            yield f"{f.relative_to(top)}: named as {other.relative_to(top)}"


def find_promises(top):
    names = subprocess.run(["git", "ls-files", "-z"], cwd=top, text=True,
                           stdout=subprocess.PIPE).stdout.split("\0")
    for name in filter(None, names): # none where this is no git clone
        f = top / name
        if name.startswith("fuzz/corpus/") or not f.is_file():
            continue
        text = f.read_text(errors="replace")
        for n, line in enumerate(text.splitlines(), 1):
            if m := later.search(line):
                yield f"{name}:{n}: {m[1]} without an issue's number"


def main():
    top = pathlib.Path(sys.argv[1])
    bad = [*find_calls(top), *find_namesakes(top), *find_promises(top)]
    print("\n".join(bad) or "nothing found")
    return bool(bad)


sys.exit(main())
