/* SPDX-License-Identifier: Apache-2.0 */
/*
 * blkd_stack.h - the layers of a disk, put one on the other
 *
 * This is the one place that knows which layer stands on which:
 *
 *	door -> overlay (qcow2) -> cache with recorder and prefetch -> store
 *
 * Each but the store is there only if the disk asks for it.
 */
#ifndef PROG_BLKD_STACK_H
#define PROG_BLKD_STACK_H

#include <stdbool.h>

#include "store/store.h"

struct blk;
struct blkd;
struct disk_spec;
struct why;

/**
 * struct stack - layers of a disk; NULL where there is none
 * @top:	what doors serve: one of those below
 * @store:	where the image or the disk itself rests
 * @version:	of the content of @store
 */
struct stack {
	struct blk *top;
	struct blk *store;
	struct store_version version;
};

/**
 * stack_open() - open what has to be opened; on a worker, it blocks
 * @stack:	empty; filled as far as it came, also on failure
 *
 * Return: 0; -errno, and @why says at what.
 */
int stack_open(struct blkd *blkd, const struct disk_spec *spec,
	       struct stack *stack, struct why *why)
	__attribute__((warn_unused_result));

/**
 * stack_join() - put the layers one on the other; on the loop, does not block
 *
 * On failure stack_close() is still to be called.
 */
int stack_join(struct blkd *blkd, const struct disk_spec *spec,
	       struct stack *stack, struct why *why)
	__attribute__((warn_unused_result));

/**
 * stack_close() - free the layers; nothing is in flight
 *
 * On the loop. Fine for a stack that failed half way.
 */
void stack_close(struct stack *stack);

#endif
