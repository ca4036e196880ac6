/* SPDX-License-Identifier: Apache-2.0 */
/*
 * blkd_gate.h - the top of a disk's stack, which is there when the rest is not
 *
 * A disk's layers are opened when its first client comes and closed when its
 * last one has gone, for that is what the cache learns boots from; a door needs
 * something to serve from the beginning on. This is it.
 *
 *	shut	requests wait
 *	open	requests pass to the layers below
 *	failed	requests end with -EIO, until the gate is opened or shut
 */
#ifndef PROG_BLKD_GATE_H
#define PROG_BLKD_GATE_H

#include <stdint.h>

#include "base/blk.h"

enum gate_state { GATE_SHUT, GATE_OPEN, GATE_FAILED };

/** struct gate - hold it by value, gate_init() it */
struct gate {
	struct blk blk; /* first; what doors are given */
	enum gate_state state;
	struct blk *below; /* borrowed, while open */
	struct blk_req *first, **last; /* those that wait, by their next */
};

/**
 * gate_init() - shut
 * @size, @block, @can: what the layers will have: see struct blk
 */
void gate_init(struct gate *gate, uint64_t size, uint32_t block, uint32_t can);

/**
 * gate_open() - pass on what waits and what comes
 * @below:	borrowed until the gate is shut
 *
 * Return: 0; -ESTALE: @below is not what gate_init() was told it would be, and
 * the gate is as it was.
 */
int gate_open(struct gate *gate, struct blk *below)
	__attribute__((warn_unused_result));

/** gate_fail() - end what waits and what comes with -EIO */
void gate_fail(struct gate *gate);

/** gate_shut() - let wait what comes; nothing is in flight below */
void gate_shut(struct gate *gate);

#endif
