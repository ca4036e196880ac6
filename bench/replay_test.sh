#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# replay: reads all that the trace names, counts it, and sees a wrong byte.
set -eu
replay=$1
for tool in nbdkit python3; do
	command -v $tool >/dev/null || {
		echo "$tool is not installed"
		exit 77
	}
done
dir=$(mktemp -d)
pid=
trap '[ -z "$pid" ] || kill $pid; rm -rf "$dir"' EXIT
fail() {
	echo "FAILED: $*"
	exit 1
}

head -c 1048576 /dev/urandom >"$dir/disk"
cp "$dir/disk" "$dir/other"
printf x | dd of="$dir/other" bs=1 seek=70000 conv=notrunc 2>/dev/null
cmp -s "$dir/disk" "$dir/other" &&
	printf y | dd of="$dir/other" bs=1 seek=70000 conv=notrunc 2>/dev/null
cat >"$dir/trace" <<'END'
# idx t_issue_us lat_us offset length dep think_us
0 0 10 0 512 -1 0
1 20 10 4096 65536 0 10
2 21 10 131072 4096 0 11
3 40 10 69632 4096 2 1000000
4 41 10 1044480 4096 2 1
END
nbdkit -f -U "$dir/sock" --filter=log file "$dir/disk" logfile="$dir/log" &
pid=$!
i=0
while [ ! -S "$dir/sock" ]; do
	i=$((i + 1))
	[ $i -lt 100 ] || fail "nbdkit does not serve"
	sleep 0.05
done
uri="nbd+unix:///?socket=$dir/sock"

"$replay" --clones 3 --think 0 --verify "$dir/disk" "$uri" \
	<"$dir/trace" >"$dir/out" || fail "three clones without think time"
[ "$(grep -c ' Read id=.*\.\.\.$' "$dir/log")" = 15 ] ||
	fail "the server did not see 15 reads"
python3 - "$dir/out" <<'END' || fail "the report is not right"
import json, sys
r = json.load(open(sys.argv[1]))
assert r["clones"] == 3 and r["reads"] == 15, r
assert r["bytes"] == 3 * (512 + 65536 + 3 * 4096), r
assert len(r["clone_seconds"]) == 3 and r["seconds"] == max(r["clone_seconds"])
assert r["seconds"] < 0.9, "it thought: %s" % r["seconds"]
END

"$replay" "$uri" <"$dir/trace" >"$dir/out" || fail "one clone that thinks"
python3 - "$dir/out" <<'END' || fail "the think time is not kept"
import json, sys
assert 1 <= json.load(open(sys.argv[1]))["seconds"] < 9
END

"$replay" --verify "$dir/other" "$uri" <"$dir/trace" >/dev/null 2>"$dir/err" &&
	fail "a wrong byte is not seen"
grep -q 'not what the image has' "$dir/err" || fail "no reason given"
echo '0 0 10 1048576 512 -1 0' >"$dir/beyond"
"$replay" "$uri" <"$dir/beyond" >/dev/null 2>&1 &&
	fail "a read beyond the end is not seen"
echo '0 0 10 0 512 3 0' >"$dir/bad"
"$replay" "$uri" <"$dir/bad" >/dev/null 2>&1 &&
	fail "a read that depends on a later one is accepted"
exit 0
