#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""prefetch.py URI TRACE: ask a server to cache what a recorded boot read.

The list's own order, each 64 KiB once, with NBD_CMD_CACHE, 16 in flight.
"""
import sys

import nbd

import trace_file

BLOCK = 65536
DEPTH = 16

h = nbd.NBD()
h.connect_uri(sys.argv[1])
size = h.get_size()
blocks = {}
for r in trace_file.load(sys.argv[2]):
    for b in range(r.offset // BLOCK, (r.offset + r.length - 1) // BLOCK + 1):
        blocks[b] = True
todo = list(blocks)
todo.reverse()


def completed(error):
    if error:
        sys.exit(f"prefetch: {error}")
    return 1


while todo or h.aio_in_flight():
    while todo and h.aio_in_flight() < DEPTH:
        b = todo.pop()
        h.aio_cache(min(BLOCK, size - b * BLOCK), b * BLOCK, completed)
    if h.aio_in_flight():
        h.poll(-1)
h.shutdown()
