/* SPDX-License-Identifier: Apache-2.0 */
/*
 * blkd_stack.h - the layers of a disk, put one on the other
 *
 * This is the one place that knows which layer stands on which:
 *
 *	door -> gate -> overlay (qcow2) -> cache with recorder -> store
 *
 * The overlay and the cache are there only if the disk asks for them. A disk
 * without either, plain, is open for as long as it exists, since there is
 * nothing to learn from when it is used.
 *
 * Three things are done to a stack, one at a time, each ending in a call of
 * its done on the loop:
 *
 *	stack_probe()	look what there is, so that clients can be told a size;
 *			a plain one stays open
 *	stack_open()	open the layers
 *	stack_close()	close them; an ephemeral overlay is gone then, and what
 *			the cache learned of the boot is being written
 */
#ifndef PROG_BLKD_STACK_H
#define PROG_BLKD_STACK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/blk.h"
#include "base/why.h"
#include "base/work.h"
#include "cache/cache.h"
#include "prog/boot_place.h"

struct blkd;
struct disk_spec;

/**
 * struct stack - stack_init() it
 * @size, @block, @can: what the layers have; from stack_probe() on
 * @top:	what the gate opens to; NULL while closed
 * @handle:	of the cache, inside of @top; NULL if there is none
 * @err, @why:	what the last call ended with
 * @is_resumed:	it was open in the process before this one, and its guest has
 *		not come back yet; cleared by the owner
 * @is_cached, @is_plain: which layers there are; from stack_probe() on
 */
struct stack {
	struct blkd *blkd;
	const struct disk_spec *spec; /* borrowed */
	uint64_t size;
	uint32_t block, can;
	struct blk *top, *handle;
	int err;
	struct why why;
	bool is_resumed;
	bool is_cached, is_plain, is_network;

	struct blk *base; /* until the overlay has taken it over; owned */
	char *overlay; /* path of the overlay; owned, or NULL */
	struct boot_place boot;
	struct work work;
	struct cache_opening opening;
	struct blk_req flush;
	void (*done)(struct stack *stack);
};

/**
 * stack_init() - closed
 * @done:	called at the end of each of the three below, on the loop, and
 *		never before they return
 */
void stack_init(struct stack *stack, struct blkd *blkd,
		const struct disk_spec *spec,
		void (*done)(struct stack *stack));

/** stack_release() - it is closed */
void stack_release(struct stack *stack);

void stack_probe(struct stack *stack);
void stack_open(struct stack *stack);

/** stack_close() - nothing is in flight; fine for one that is not open */
void stack_close(struct stack *stack);

/** stack_store_open() - how the cache opens a store */
cache_store_open stack_store_open;

#endif
