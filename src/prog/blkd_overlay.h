/* SPDX-License-Identifier: Apache-2.0 */
/* blkd_overlay.h - when a disk has an overlay, where, and how it is opened */
#ifndef PROG_BLKD_OVERLAY_H
#define PROG_BLKD_OVERLAY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/blk.h"

struct config;
struct disk_spec;
struct loop;
struct why;

/* What an overlay can do, and the smallest unit it asks of those below. */
#define OVERLAY_BLOCK 1u
#define OVERLAY_CAN                                                            \
	(BLK_CAN_WRITE | BLK_CAN_DISCARD | BLK_CAN_ZERO | BLK_CAN_FAST_ZERO |  \
	 BLK_CAN_CACHE)

/** overlay_is_all() - the disk is a qcow2 file that stands on nothing */
bool overlay_is_all(const struct disk_spec *spec);

/**
 * overlay_path() - of the disk's overlay
 * @ret:	owned by the caller; NULL if it has none
 *
 * Return: 0 or -ENOMEM.
 */
int overlay_path(const struct disk_spec *spec, const struct config *config,
		 char **ret) __attribute__((warn_unused_result));

/**
 * overlay_probe() - make it if it is not there, and tell its size; blocks
 * @base_size:	bytes of what it stands on
 * @ret_size:	bytes of the disk
 *
 * An ephemeral one is made at its opening: this only tells what it will be.
 */
int overlay_probe(const char *path, const struct disk_spec *spec,
		  uint64_t base_size, uint64_t *ret_size, struct why *why)
	__attribute__((warn_unused_result));

/**
 * overlay_open() - blocks
 * @size:	bytes of the disk, from overlay_probe()
 * @is_resumed:	an ephemeral one is there already: go on with it
 * @base:	what it stands on; taken over, and NULL, from success on
 * @ret:	the layer
 */
int overlay_open(struct loop *loop, const char *path,
		 const struct disk_spec *spec, uint64_t size, bool is_resumed,
		 struct blk **base, struct blk **ret, struct why *why)
	__attribute__((warn_unused_result));

#endif
