#!/bin/sh
# A man page that mandoc and man find no fault with; 77 where neither is.
page=$1
if ! command -v mandoc >/dev/null && ! command -v man >/dev/null; then
	echo "neither mandoc nor man is here"
	exit 77
fi
bad=
if command -v mandoc >/dev/null; then
	bad=$(mandoc -Tlint -W warning "$page")
fi
if command -v man >/dev/null; then
	bad=$bad$(man --warnings -E UTF-8 -l -Tutf8 -Z "$page" 2>&1 >/dev/null)
fi
[ -z "$bad" ] || { echo "$bad"; exit 1; }
