#!/bin/sh
# Install what tools/packages names and this machine lacks.
set -eu
cd "$(dirname "$0")/.."
want=$(sed 's/#.*//' tools/packages)
lack=
for p in $want; do
	dpkg-query -W -f '${db:Status-Status}' "$p" 2>/dev/null |
		grep -qx installed || lack="$lack $p"
done
[ -n "$lack" ] || exit 0
sudo=
[ "$(id -u)" = 0 ] || sudo=sudo
echo "installing:$lack"
export DEBIAN_FRONTEND=noninteractive
# The lists may be old or missing: fetch them only then.
# shellcheck disable=SC2086
$sudo apt-get install -y -q --no-install-recommends $lack >/dev/null 2>&1 || {
	$sudo apt-get update -q
	$sudo apt-get install -y -q --no-install-recommends $lack
}
