/* SPDX-License-Identifier: Apache-2.0 */
/*
 * qcow2_rig.h - for tests: an overlay on a disk that tests have in hand
 *
 * The disk below is a file, with requests done in submit or held back; it can
 * fail, and it can lose what was not flushed. Programs do not use it.
 */
#ifndef STORE_QCOW2_RIG_H
#define STORE_QCOW2_RIG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/blk.h"

#define RIG_HELD_MAX 4096

/**
 * struct rig_disk - a file as a store
 * @is_held:	requests wait for rig_disk_step(), which takes any of them
 * @is_volatile: writes go to @fd, and by a flush to @stable too
 */
struct rig_disk {
	struct blk blk; /* first */
	int fd, stable;
	bool is_held, is_volatile;
	unsigned nheld;
	struct {
		struct blk_req *req;
		bool is_done; /* but not ended yet */
		int res;
	} held[RIG_HELD_MAX];
	unsigned fail_nth; /* from now on, 1 is the next; 0: none */
	unsigned fail_op; /* only these are counted; BLK_OP_MAX: all */
	int fail_err;
	uint64_t nreqs[BLK_OP_MAX];
	struct {
		uint64_t at, len;
	} * lost; /* written since the last flush */
	unsigned nlost;
};

/** rig_disk_new() - over the file at @path; asserts that all goes well */
struct rig_disk *rig_disk_new(const char *path);

/** rig_base_new() - a base of @size bytes, with @len times 'b' at @at */
struct blk *rig_base_new(uint64_t size, uint64_t at, uint64_t len);

/** rig_disk_step() - do one of those held, any, or end it, or both. Return:
 * false: none is held. */
bool rig_disk_step(struct rig_disk *disk);

/** rig_disk_lose() - write to @path what a power loss now might leave */
void rig_disk_lose(struct rig_disk *disk, const char *path);

/** rig_open() - the overlay at @path over @disk and @backing, with a side
 * file if @has_side */
struct blk *rig_open(const char *path, struct blk *disk, struct blk *backing,
		     bool has_side);

/** rig_copy() - a file, holes kept */
void rig_copy(const char *from, const char *to);

/** rig_random() - below @n; rig_seed() begins it anew */
uint64_t rig_random(uint64_t n);
void rig_seed(uint64_t seed);

/** rig_seeds() - how many to try: QCOW2_SEEDS of the environment, or 1 */
unsigned rig_seeds(void);

/** rig_tmp() - a folder for the test; rig_tmp_remove() at the end */
const char *rig_tmp(void);
void rig_tmp_remove(void);

#endif
