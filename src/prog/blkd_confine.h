/* SPDX-License-Identifier: Apache-2.0 */
/*
 * blkd_confine.h - give up what the daemon does not need
 *
 * Two steps, when the sockets are there and nothing of others has been read:
 *
 * (1) confine_user(): become an ordinary user, if started as root.
 * (2) confine_calls(): a list of the system calls that the daemon makes; the
 *     kernel answers any other with "not implemented", and ends the process at
 *     those that only an intruder would make: to run a program, to trace, to
 *     mount, to load a module.
 *
 * What (2) cannot see: io_uring. What is asked of a ring passes no filter, so
 * files and sockets can be opened and used through it. That takes nothing
 * from (1) and from the service manager's mounts and limits, which are what
 * keeps the daemon from others' files.
 */
#ifndef PROG_BLKD_CONFINE_H
#define PROG_BLKD_CONFINE_H

struct why;

/** confine_user() - does nothing if not started as root */
int confine_user(const char *name, struct why *why)
	__attribute__((warn_unused_result));

/**
 * confine_calls() - for this thread and those that it will make
 *
 * Return: 0, also where the kernel has no filters; -errno.
 */
int confine_calls(struct why *why) __attribute__((warn_unused_result));

#endif
