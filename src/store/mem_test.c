/* SPDX-License-Identifier: Apache-2.0 */
/* mem_test.c - what is written is read; what is out of bounds ends in an error
 */
#undef NDEBUG
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/blk.h"
#include "store/faulty.h"
#include "store/mem.h"

static int ended, res_seen;

static void on_done(struct blk_req *req, int res)
{
	(void)req;
	ended++;
	res_seen = res;
}

/* Do one request, see it end exactly once; return how it ended. */
static int once(struct blk *blk, enum blk_op op, uint64_t offset, void *buf,
		uint64_t len)
{
	struct iovec iov = {.iov_base = buf, .iov_len = len};
	struct blk_req req = {
		.op = op,
		.offset = offset,
		.len = len,
		.iov = &iov,
		.niov = 1,
		.done = on_done,
	};

	ended = 0;
	blk_submit(blk, &req);
	assert(ended == 1);
	return res_seen;
}

static void reads_what_was_written(void)
{
	struct blk *blk = NULL;
	char in[512], out[512];

	assert(mem_new(4096, 512, &blk) == 0);
	memset(in, 'x', sizeof(in));
	assert(once(blk, BLK_WRITE, 512, in, sizeof(in)) == 0);
	assert(once(blk, BLK_READ, 512, out, sizeof(out)) == 0);
	assert(!memcmp(in, out, sizeof(in)));
	blk = blk_free(blk);
	assert(!blk);
}

static void refuses_what_is_out_of_bounds(void)
{
	struct blk *blk = NULL;
	char buf[1024];

	assert(mem_new(1000, 512, &blk) == -EINVAL && !blk);
	assert(mem_new(4096, 512, &blk) == 0);
	assert(once(blk, BLK_READ, 4096, buf, 512) == -ERANGE);
	assert(once(blk, BLK_READ, UINT64_MAX - 511, buf, 1024) == -ERANGE);
	assert(once(blk, BLK_READ, 1, buf, 512) == -EINVAL);
	blk_free(blk);
}

static void fails_the_nth(void)
{
	struct blk *mem = NULL, *blk = NULL;
	char buf[512];

	assert(mem_new(4096, 512, &mem) == 0);
	assert(faulty_new(mem, 2, -EIO, &blk) == 0);
	assert(once(blk, BLK_READ, 0, buf, 512) == 0);
	assert(once(blk, BLK_READ, 0, buf, 512) == -EIO);
	assert(once(blk, BLK_READ, 0, buf, 512) == 0);
	blk_free(blk);
}

int main(void)
{
	reads_what_was_written();
	refuses_what_is_out_of_bounds();
	fails_the_nth();
	return 0;
}
