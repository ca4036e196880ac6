/* SPDX-License-Identifier: Apache-2.0 */
/*
 * upgrade.h - end, and go on as another version, in the same process
 *
 * On SIGUSR2, or the request "upgrade", the daemon ends as it always does:
 * clients' requests end and are answered, overlays are closed, segments being
 * written are finished. But the sockets stay, with whoever connects meanwhile
 * in their queues, and so does the memory of the cache, and so do the
 * connections of NBD clients that are idle then (serve/nbd.h). Then it executes
 * the program at the path it was started from, with the same arguments, and
 * that one takes over sockets and cache (inherit.h). Other clients were cut off
 * after their last answer: they reconnect, and send again what had none.
 *
 * What would keep the successor from starting is looked for before: a program
 * that is not there, a configuration that does not read.
 *
 * If a store hangs and requests do not end in time, the successor begins with
 * an empty cache: the kernel may still write to this one.
 */
#ifndef PROG_UPGRADE_H
#define PROG_UPGRADE_H

#include <stdint.h>

struct blkd;
struct why;

/*
 * Where the path of the program lies, in a page that is not written to again.
 * The list of system calls lets us execute what is named there, and nothing
 * else; so it is the same in all versions. Far from where the kernel puts
 * programs, libraries and stacks.
 */
#define UPGRADE_PATH_AT ((uintptr_t)0x20000000)

/** upgrade_init() - at the start of the program; @argv stays */
void upgrade_init(int argc, char **argv);

/**
 * upgrade_begin() - blkd_end() in favour of a successor
 *
 * Return: 0; -EAGAIN: it is not serving; -EOPNOTSUPP: it serves a client that
 * cannot come again; others, where the successor could not start. It serves on
 * then.
 */
int upgrade_begin(struct blkd *blkd, struct why *why)
	__attribute__((warn_unused_result));

/** upgrade_keep_cache() - all has ended; the cache is still there */
void upgrade_keep_cache(struct blkd *blkd);

/** upgrade_exec() - go on as the successor. Returns if that fails. */
void upgrade_exec(const struct blkd *blkd);

#endif
