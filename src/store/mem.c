/* SPDX-License-Identifier: Apache-2.0 */
/* mem.c - a store in memory. Ends every request before submit returns. */
#include "store/mem.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/blk.h"
#include "base/cleanup.h"

struct mem {
	struct blk blk; /* first: a struct blk pointer is a struct mem's */
	uint8_t *bytes; /* blk.size of them; owned */
};

static void mem_submit(struct blk *blk, struct blk_req *req)
{
	struct mem *mem = (struct mem *)blk;
	uint8_t *at = mem->bytes + req->offset;

	switch (req->op) {
	case BLK_READ:
		for (int i = 0; i < req->niov; at += req->iov[i++].iov_len)
			memcpy(req->iov[i].iov_base, at, req->iov[i].iov_len);
		break;
	case BLK_WRITE:
		for (int i = 0; i < req->niov; at += req->iov[i++].iov_len)
			memcpy(at, req->iov[i].iov_base, req->iov[i].iov_len);
		break;
	case BLK_DISCARD:
	case BLK_ZERO:
		memset(at, 0, req->len);
		break;
	case BLK_STATUS:
		blk_end_as_data(req);
		return;
	case BLK_FLUSH:
	case BLK_CACHE:
	case BLK_OP_MAX:
		break;
	}
	blk_end(req, 0);
}

static void mem_free(struct blk *blk)
{
	struct mem *mem = (struct mem *)blk;

	free(mem->bytes);
	free(mem);
}

static const struct blk_ops mem_ops = {
	.name = "mem",
	.submit = mem_submit,
	.free = mem_free,
};

int mem_new(uint64_t size, uint32_t block, struct blk **ret)
{
	CLEANUP(cleanup_free) struct mem *mem = NULL;

	if (!block || (block & (block - 1)) || !size || size % block)
		return -EINVAL;
	mem = calloc(1, sizeof(*mem));
	if (!mem)
		return -ENOMEM;
	mem->bytes = calloc(1, size);
	if (!mem->bytes)
		return -ENOMEM;
	mem->blk = (struct blk){
		.ops = &mem_ops,
		.size = size,
		.block = block,
		.can = BLK_CAN_WRITE | BLK_CAN_DISCARD | BLK_CAN_ZERO |
		       BLK_CAN_FAST_ZERO | BLK_CAN_CACHE,
	};

	*ret = &mem->blk;
	(void)take_ptr(&mem);
	return 0;
}
