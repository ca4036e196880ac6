/* SPDX-License-Identifier: Apache-2.0 */
/*
 * qcow2_base_test.c - what goes to the base: as few requests as can be, and
 * what happens when it fails
 */
#undef NDEBUG
#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "store/faulty.h"
#include "store/mem.h"
#include "store/qcow2.h"
#include "store/qcow2_rig.h"

#define SIZE	  (3 * MIB)
#define BASE_SIZE (2 * MIB)
#define NVECS	  100

/* A layer that counts, and asks nothing of anybody. */
struct counter {
	struct blk blk; /* first */
	struct blk *below;
	unsigned n[BLK_OP_MAX];
};

static char path[PATH_MAX];
static struct blk *blk;
static struct rig_disk *disk;
static struct counter *base;
static uint8_t buf[SIZE];
static int res_seen;
static bool is_ended;

static void counter_submit(struct blk *b, struct blk_req *req)
{
	struct counter *counter = (struct counter *)b;

	counter->n[req->op]++;
	blk_submit(counter->below, req);
}

static void counter_free(struct blk *b)
{
	struct counter *counter = (struct counter *)b;

	blk_free(counter->below);
	free(counter);
}

static const struct blk_ops counter_ops = {
	.name = "counter",
	.submit = counter_submit,
	.free = counter_free,
};

static void on_done(struct blk_req *req, int res)
{
	(void)req;
	assert(!is_ended);
	is_ended = true;
	res_seen = res;
}

static int once_on(struct blk *b, enum blk_op op, uint64_t offset, uint64_t len)
{
	struct iovec iov = {buf, len};
	struct blk_req req = {
		.op = op,
		.offset = offset,
		.len = len,
		.iov = &iov,
		.niov = 1,
		.done = on_done,
	};

	is_ended = false;
	blk_submit(b, &req);
	assert(is_ended);
	return res_seen;
}

static int once(enum blk_op op, uint64_t offset, uint64_t len)
{
	return once_on(blk, op, offset, len);
}

static void open_over_base(unsigned nth)
{
	struct blk *mem = NULL, *faulty = NULL;

	(void)remove(path);
	assert(qcow2_create(path, SIZE, "base.raw", NULL) == 0);
	assert(mem_new(BASE_SIZE, 1, &mem) == 0);
	memset(buf, 'b', BASE_SIZE);
	assert(once_on(mem, BLK_WRITE, 0, BASE_SIZE) == 0);
	assert(faulty_new(mem, nth, -EIO, &faulty) == 0);
	base = calloc(1, sizeof(*base));
	assert(base);
	base->blk = *faulty;
	base->blk.ops = &counter_ops;
	base->below = faulty;
	disk = rig_disk_new(path);
	blk = rig_open(path, &disk->blk, &base->blk, true);
}

static void splits_a_read_as_little_as_it_can(void)
{
	open_over_base(0);
	assert(once(BLK_READ, 1000, 700000) == 0);
	assert(base->n[BLK_READ] == 1 && disk->nreqs[BLK_READ] == 0);

	/* Base, data over two clusters, zeroes, base, end of the base. */
	memset(buf, 'x', 200000);
	assert(once(BLK_WRITE, 102400, 131072) == 0);
	assert(base->n[BLK_READ] == 1); /* whole blocks: nothing to copy */
	assert(once(BLK_ZERO, 102400 + 131072, 65536) == 0);
	assert(once(BLK_READ, 0, SIZE) == 0);
	assert(base->n[BLK_READ] == 3 && disk->nreqs[BLK_READ] == 1);
	for (uint64_t i = 0; i < SIZE; i++) {
		uint8_t want = 'b';

		if (i >= BASE_SIZE)
			want = 0;
		else if (i >= 102400 && i < 102400 + 131072)
			want = 'x';
		else if (i >= 102400 + 131072 && i < 102400 + 131072 + 65536)
			want = 0;
		assert(buf[i] == want);
	}

	/* A part of a block that is not here yet: read once, written whole. */
	memset(buf, 'y', 100);
	assert(once(BLK_WRITE, 10, 100) == 0);
	assert(base->n[BLK_READ] == 4);
	assert(once(BLK_WRITE, 200, 100) == 0);
	assert(base->n[BLK_READ] == 4);
	blk_free(blk);
}

static void tells_where_things_are(void)
{
	struct blk_extent extents[16];
	struct blk_req req = {
		.op = BLK_STATUS,
		.len = SIZE,
		.extents = extents,
		.nextents = 16,
		.done = on_done,
	};
	static const struct blk_extent want[] = {
		{102400, 0}, /* the base's */
		{131072, BLK_CACHED},
		{65536, BLK_CACHED | BLK_HOLE | BLK_ZEROES},
		{BASE_SIZE - 102400 - 131072 - 65536, 0},
		{SIZE - BASE_SIZE, BLK_CACHED | BLK_HOLE | BLK_ZEROES},
	};

	open_over_base(0);
	assert(once(BLK_WRITE, 102400, 131072) == 0);
	assert(once(BLK_DISCARD, 102400 + 131072, 65536) == 0);
	is_ended = false;
	blk_submit(blk, &req);
	assert(is_ended && !res_seen);
	assert(req.nextents == (int)ARRAY_SIZE(want));
	for (size_t i = 0; i < ARRAY_SIZE(want); i++)
		assert(extents[i].len == want[i].len &&
		       extents[i].flags == want[i].flags);

	/* With less room it ends early. */
	req.done = on_done;
	req.nextents = 2;
	is_ended = false;
	blk_submit(blk, &req);
	assert(is_ended && !res_seen && req.nextents == 2);
	assert(extents[1].len == 131072);

	assert(once(BLK_CACHE, 0, SIZE) == 0);
	assert(base->n[BLK_CACHE] == 2 && disk->nreqs[BLK_CACHE] == 0);
	blk_free(blk);
}

static void takes_iovecs_of_many_pieces(void)
{
	struct iovec iov[NVECS];
	struct blk_req req = {
		.op = BLK_WRITE,
		.offset = 777,
		.iov = iov,
		.niov = NVECS,
		.done = on_done,
	};
	static uint8_t pieces[NVECS][1000];

	open_over_base(0);
	for (int i = 0; i < NVECS; i++) {
		memset(pieces[i], i + 1, sizeof(pieces[i]));
		iov[i] = (struct iovec){pieces[i], 700 + (size_t)i};
		req.len += iov[i].iov_len;
	}
	is_ended = false;
	blk_submit(blk, &req);
	assert(is_ended && !res_seen);
	memset(pieces, 0, sizeof(pieces));
	req.op = BLK_READ;
	req.done = on_done;
	is_ended = false;
	blk_submit(blk, &req);
	assert(is_ended && !res_seen);
	for (int i = 0; i < NVECS; i++)
		for (size_t n = 0; n < iov[i].iov_len; n++)
			assert(pieces[i][n] == i + 1);
	assert(once(BLK_READ, 0, 777) == 0 && buf[0] == 'b' && buf[776] == 'b');
	blk_free(blk);
}

/* The nth request to the base fails: the request that needed it does, and
 * nothing has changed; all others work. */
static void passes_on_what_the_base_says(void)
{
	for (unsigned nth = 1; nth <= 6; nth++) {
		int failed = 0;

		open_over_base(nth);
		memset(buf, 'x', 5000);
		failed += once(BLK_WRITE, 100, 5000) == -EIO; /* 2 copies */
		failed += once(BLK_ZERO, 100100, 9000) == -EIO; /* 2 */
		failed += once(BLK_READ, 50000, 4096) == -EIO;
		failed += once(BLK_READ, 60000, 4096) == -EIO;
		assert(failed == 1);
		assert(once(BLK_READ, 0, 150000) == 0);
		for (uint64_t i = 0; i < 150000; i++) {
			bool is_written = nth > 2 && i >= 100 && i < 5100;
			bool is_zero = nth != 3 && nth != 4 && i >= 100100 &&
				       i < 109100;
			uint8_t want = 'b';

			if (is_written)
				want = 'x';
			else if (is_zero)
				want = 0;
			assert(buf[i] == want);
		}
		blk_free(blk);
	}
}

static void free_it(struct blk_req *req, int res)
{
	on_done(req, res);
	blk = blk_free(blk);
}

/* The last request's end may free the layer, in submit and later. */
static void can_be_freed_when_the_last_one_ends(void)
{
	static const enum blk_op ops[] = {BLK_WRITE, BLK_READ, BLK_FLUSH,
					  BLK_ZERO};

	for (size_t i = 0; i < 2 * ARRAY_SIZE(ops); i++) {
		enum blk_op op = ops[i / 2];
		struct iovec iov = {buf, 5000};
		struct blk_req req = {
			.op = op,
			.offset = op == BLK_FLUSH ? 0 : 100,
			.len = op == BLK_FLUSH ? 0 : 5000,
			.iov = &iov,
			.niov = 1,
			.done = free_it,
		};

		open_over_base(0);
		assert(once(BLK_WRITE, 4096, 4096) == 0);
		disk->is_held = i % 2;
		is_ended = false;
		blk_submit(blk, &req);
		while (!is_ended)
			assert(rig_disk_step(disk));
		assert(!blk && !res_seen);
	}
}

int main(void)
{
	(void)snprintf(path, sizeof(path), "%s/o.qcow2", rig_tmp());
	splits_a_read_as_little_as_it_can();
	tells_where_things_are();
	takes_iovecs_of_many_pieces();
	passes_on_what_the_base_says();
	can_be_freed_when_the_last_one_ends();
	rig_tmp_remove();
	return 0;
}
