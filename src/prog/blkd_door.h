/* SPDX-License-Identifier: Apache-2.0 */
/*
 * blkd_door.h - the sockets that clients come through
 *
 * A door is a socket that listens, or a client that is there already
 * (--stdio, a connected socket from a service manager). It is made early, and
 * opened when the disks are there.
 */
#ifndef PROG_BLKD_DOOR_H
#define PROG_BLKD_DOOR_H

#include <jansson.h>
#include <stdbool.h>

struct blkd;
struct why;

/**
 * doors_make() - make the sockets of the configuration and take those of the
 * service manager
 *
 * Return: 0; -EINVAL: there is no way in at all; -errno.
 */
int doors_make(struct blkd *blkd, struct why *why)
	__attribute__((warn_unused_result));

/** doors_open() - the disks are there: begin to accept */
int doors_open(struct blkd *blkd, struct why *why)
	__attribute__((warn_unused_result));

/** doors_paths() - of the unix sockets for NBD, as a list; NULL: no memory */
json_t *doors_paths(const struct blkd *blkd);

/** doors_outlive_us() - no client is here that could not connect again */
bool doors_outlive_us(const struct blkd *blkd);

/** doors_free() - close what was not opened; socket files are removed,
 * unless a successor takes them over */
void doors_free(struct blkd *blkd);

#endif
