/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ram_guard.h - memory of others that is taken away does not end us
 *
 * Who shares a file with us can cut it short, and the next touch of our
 * mapping is a SIGBUS. For mappings named here the handler puts memory of our
 * own, all zeroes, in the place of the whole mapping, and the touch goes on:
 * the other side has lost its memory, as it wished, and nobody else his.
 *
 * (Where the kernel touches it for us, a read fails with -EFAULT instead.)
 *
 * From any thread.
 */
#ifndef BASE_RAM_GUARD_H
#define BASE_RAM_GUARD_H

#include <stddef.h>

/* Mappings at a time: of all guests of a host, some each. */
#define RAM_GUARD_MAX 4096u

/**
 * ram_guard_add() - guard a mapping, until ram_guard_remove()
 * @at, @len:	all of what mmap() made
 *
 * The first call sets the handler of SIGBUS for the process.
 *
 * Return: 0; -ENOSPC: RAM_GUARD_MAX.
 */
int ram_guard_add(void *at, size_t len) __attribute__((warn_unused_result));

/** ram_guard_remove() - before it is unmapped */
void ram_guard_remove(void *at);

/** ram_guard_hits() - how many mappings were taken away so far */
unsigned ram_guard_hits(void);

#endif
