/* SPDX-License-Identifier: Apache-2.0 */
/* blk.c - the checks that every request passes once; blk.h has the promises */
#include "base/blk.h"

#include <assert.h>
#include <errno.h>
#include <stddef.h>

/* What @req ends with before any layer sees it; 0 if it may go down. */
static int check(const struct blk *blk, const struct blk_req *req)
{
	uint64_t mask = blk->block - 1;
	uint64_t sum = 0;

	switch (req->op) {
	case BLK_FLUSH:
		return req->len || req->offset ? -EINVAL : 0;
	case BLK_WRITE:
		if (!(blk->can & BLK_CAN_WRITE))
			return -EROFS;
		break;
	case BLK_DISCARD:
		if (!(blk->can & BLK_CAN_WRITE))
			return -EROFS;
		if (!(blk->can & BLK_CAN_DISCARD))
			return -EOPNOTSUPP;
		break;
	case BLK_ZERO:
		if (!(blk->can & BLK_CAN_WRITE))
			return -EROFS;
		if (!(blk->can & BLK_CAN_ZERO))
			return -EOPNOTSUPP;
		if ((req->flags & BLK_FAST) && !(blk->can & BLK_CAN_FAST_ZERO))
			return -EOPNOTSUPP;
		break;
	case BLK_STATUS:
		if (req->nextents < 1)
			return -EINVAL;
		break;
	case BLK_READ:
	case BLK_CACHE:
		break;
	default:
		return -EINVAL;
	}
	/* In this order, neither side can wrap. */
	if (req->len > blk->size || req->offset > blk->size - req->len)
		return -ERANGE;
	if ((req->offset | req->len) & mask)
		return -EINVAL;
	if (req->op != BLK_READ && req->op != BLK_WRITE)
		return 0;

	for (int i = 0; i < req->niov; i++)
		if (__builtin_add_overflow(sum, req->iov[i].iov_len, &sum))
			return -EINVAL;
	return sum == req->len ? 0 : -EINVAL;
}

void blk_submit(struct blk *blk, struct blk_req *req)
{
	int res;

	assert(req->done);
	res = check(blk, req);
	if (res < 0 || (!req->len && req->op != BLK_FLUSH)) {
		req->nextents = 0;
		blk_end(req, res);
		return;
	}
	if (req->op == BLK_CACHE && !(blk->can & BLK_CAN_CACHE)) {
		blk_end(req, 0);
		return;
	}
	blk->ops->submit(blk, req);
}

void blk_end(struct blk_req *req, int res)
{
	void (*done)(struct blk_req *, int) = req->done;

	assert(res <= 0);
	assert(done); /* else it ended twice: promise (1) */
	req->done = NULL;
	done(req, res);
}

void blk_end_as_data(struct blk_req *req)
{
	req->extents[0] = (struct blk_extent){.len = req->len};
	req->nextents = 1;
	blk_end(req, 0);
}

struct blk *blk_free(struct blk *blk)
{
	if (blk)
		blk->ops->free(blk);
	return NULL;
}
