/* SPDX-License-Identifier: Apache-2.0 */
/* faulty.c - fail the nth request, pass all others down untouched */
#include "store/faulty.h"

#include <errno.h>
#include <stdlib.h>

#include "base/blk.h"

struct faulty {
	struct blk blk; /* first */
	struct blk *below; /* owned */
	unsigned left; /* requests until the failing one, it included */
	int err;
};

static void faulty_submit(struct blk *blk, struct blk_req *req)
{
	struct faulty *faulty = (struct faulty *)blk;

	if (faulty->left && --faulty->left == 0) {
		blk_end(req, faulty->err);
		return;
	}
	blk_submit(faulty->below, req);
}

static void faulty_free(struct blk *blk)
{
	struct faulty *faulty = (struct faulty *)blk;

	blk_free(faulty->below);
	free(faulty);
}

static const struct blk_ops faulty_ops = {
	.name = "faulty",
	.submit = faulty_submit,
	.free = faulty_free,
};

int faulty_new(struct blk *below, unsigned nth, int err, struct blk **ret)
{
	struct faulty *faulty = calloc(1, sizeof(*faulty));

	if (!faulty)
		return -ENOMEM;
	faulty->blk = (struct blk){
		.ops = &faulty_ops,
		.size = below->size,
		.block = below->block,
		.can = below->can,
	};
	faulty->below = below;
	faulty->left = nth;
	faulty->err = err;
	*ret = &faulty->blk;
	return 0;
}
