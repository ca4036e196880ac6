/* SPDX-License-Identifier: Apache-2.0 */
/* blkd_gate.c - let requests wait, pass or fail */
#include "prog/blkd_gate.h"

#include <assert.h>
#include <errno.h>
#include <stddef.h>

static void gate_submit(struct blk *blk, struct blk_req *req)
{
	struct gate *gate = (struct gate *)blk;

	switch (gate->state) {
	case GATE_SHUT:
		req->next = NULL;
		*gate->last = req;
		gate->last = &req->next;
		return;
	case GATE_OPEN:
		/* It owns nothing of the request: the end goes past it. */
		blk_submit(gate->below, req);
		return;
	case GATE_FAILED:
		blk_end(req, -EIO);
		return;
	}
}

static void gate_free(struct blk *blk)
{
	(void)blk; /* held by value */
}

static const struct blk_ops gate_ops = {
	.name = "gate",
	.submit = gate_submit,
	.free = gate_free,
};

void gate_init(struct gate *gate, uint64_t size, uint32_t block, uint32_t can)
{
	*gate = (struct gate){
		.blk =
			{
				.ops = &gate_ops,
				.size = size,
				.block = block,
				.can = can,
			},
	};
	gate->last = &gate->first;
}

/* Those that come while it runs are no part of it. */
static void let_go(struct gate *gate)
{
	struct blk_req *req = gate->first, *next;

	gate->first = NULL;
	gate->last = &gate->first;
	for (; req; req = next) {
		next = req->next;
		gate_submit(&gate->blk, req);
	}
}

int gate_open(struct gate *gate, struct blk *below)
{
	/* Clients have been told a size: they must not meet another. */
	if (below->size != gate->blk.size || below->block > gate->blk.block ||
	    (gate->blk.can & ~below->can & BLK_CAN_WRITE))
		return -ESTALE;
	gate->below = below;
	gate->state = GATE_OPEN;
	let_go(gate);
	return 0;
}

void gate_fail(struct gate *gate)
{
	assert(gate->state != GATE_OPEN);
	gate->state = GATE_FAILED;
	let_go(gate);
}

void gate_shut(struct gate *gate)
{
	assert(!gate->first);
	gate->state = GATE_SHUT;
	gate->below = NULL;
}
