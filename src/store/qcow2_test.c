/* SPDX-License-Identifier: Apache-2.0 */
/*
 * qcow2_test.c - an overlay against a plain array: what is written is read,
 * also after a reopen and a kill, whatever order the disk does things in
 */
#undef NDEBUG
#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/array.h"
#include "base/why.h"
#include "store/qcow2.h"
#include "store/qcow2_rig.h"

#define WINDOW (320 * KIB) /* of the disk: what the tests touch */
#define BATCH  12

static char path[PATH_MAX], copy[PATH_MAX], dirty[PATH_MAX + 8],
	copy_dirty[PATH_MAX + 8];
static uint64_t size, window; /* of the disk; where the window begins */
static uint64_t base_size;
static uint8_t model[WINDOW];
static struct blk *blk;
static struct rig_disk *disk;

struct op {
	struct blk_req req; /* first */
	struct iovec iov[3];
	uint8_t buf[WINDOW];
	uint8_t fill;
	int res;
	bool is_ended;
};

static struct op *ops; /* BATCH of them */

static void on_done(struct blk_req *req, int res)
{
	struct op *op = (struct op *)req;

	assert(!op->is_ended);
	op->is_ended = true;
	op->res = res;
}

static void submit(struct op *op, enum blk_op kind, uint64_t offset,
		   uint64_t len, unsigned flags)
{
	uint64_t a = rig_random(len + 1), b = rig_random(len - a + 1);

	op->iov[0] = (struct iovec){op->buf, a};
	op->iov[1] = (struct iovec){op->buf + a, b};
	op->iov[2] = (struct iovec){op->buf + a + b, len - a - b};
	op->is_ended = false;
	op->res = 1;
	op->req = (struct blk_req){
		.op = kind,
		.flags = flags,
		.offset = kind == BLK_FLUSH ? 0 : window + offset,
		.len = kind == BLK_FLUSH ? 0 : len,
		.iov = op->iov,
		.niov = 3,
		.done = on_done,
	};
	if (kind == BLK_WRITE)
		memset(op->buf, op->fill, len);
	else
		memset(op->buf, 0xee, len);
	blk_submit(blk, &op->req);
}

static void drain(void)
{
	while (rig_disk_step(disk))
		;
}

static int once(enum blk_op kind, uint64_t offset, uint64_t len, uint8_t fill)
{
	ops[0].fill = fill;
	submit(&ops[0], kind, offset, len, 0);
	drain();
	assert(ops[0].is_ended);
	return ops[0].res;
}

static struct blk *new_base(void)
{
	uint64_t from = min_u64(window, base_size);

	return base_size ? rig_base_new(base_size, from,
					min_u64(WINDOW, base_size - from))
			 : NULL;
}

static void open_disk(const char *at, bool has_side)
{
	disk = rig_disk_new(at);
	blk = rig_open(at, &disk->blk, new_base(), has_side);
	disk->is_held = true;
}

static void close_disk(void)
{
	drain();
	blk = blk_free(blk);
}

static void create(uint64_t disk_size, uint64_t backing_size, uint64_t at)
{
	size = disk_size;
	base_size = backing_size;
	window = at;
	(void)unlink(path);
	assert(qcow2_create(path, size, base_size ? "base.raw" : NULL, NULL) ==
	       0);
	memset(model, 0, sizeof(model));
	if (window < base_size)
		memset(model, 'b', min_u64(WINDOW, base_size - window));
}

static uint64_t in_window(void)
{
	return min_u64(WINDOW, size - window);
}

static void compare(void)
{
	uint64_t len = in_window();

	assert(once(BLK_READ, 0, len, 0) == 0);
	for (uint64_t i = 0; i < len; i++)
		if (ops[0].buf[i] != model[i]) {
			fprintf(stderr, "at %ju: %02x, not %02x\n",
				(uintmax_t)i, ops[0].buf[i], model[i]);
			abort();
		}
}

static void apply(const struct op *op, uint64_t offset, uint64_t len)
{
	if (op->req.op == BLK_WRITE)
		memset(model + offset, op->fill, len);
	else if (op->req.op == BLK_ZERO)
		memset(model + offset, 0, len);
}

/* A range of any size, mostly small, and mostly with edges inside blocks. */
static void any_range(uint64_t *offset, uint64_t *len)
{
	uint64_t most = rig_random(8) ? 10000 : in_window();

	*len = 1 + rig_random(min_u64(most, in_window()));
	*offset = rig_random(in_window() - *len + 1);
	if (rig_random(3) == 0) {
		*offset = *offset / 4096 * 4096;
		*len = (*len + 4095) / 4096 * 4096;
		if (*offset + *len > in_window())
			*len = in_window() - *offset;
	}
	if (rig_random(16) == 0) /* up to the end */
		*len = in_window() - *offset;
}

static enum blk_op any_op(void)
{
	switch (rig_random(10)) {
	case 0:
	case 1:
	case 2:
		return BLK_READ;
	case 3:
		return BLK_ZERO;
	case 4:
		return BLK_DISCARD;
	case 5:
		return BLK_FLUSH;
	default:
		return BLK_WRITE;
	}
}

static unsigned any_flags(enum blk_op kind)
{
	unsigned flags = 0;

	if ((kind == BLK_WRITE || kind == BLK_ZERO) && rig_random(8) == 0)
		flags |= BLK_FUA;
	if (kind == BLK_ZERO && rig_random(4) == 0)
		flags |= BLK_NO_HOLE;
	return flags;
}

static void one_by_one(unsigned nops)
{
	for (unsigned n = 0; n < nops; n++) {
		enum blk_op kind = any_op();
		struct op *op = &ops[0];
		uint64_t offset, len;

		any_range(&offset, &len);
		op->fill = (uint8_t)(1 + rig_random(250));
		submit(op, kind, offset, len, any_flags(kind));
		drain();
		assert(op->is_ended && op->res == 0);
		apply(op, offset, len);
		if (kind == BLK_READ)
			assert(!memcmp(op->buf, model + offset, len));
		if (kind == BLK_DISCARD) {
			/* Whole subclusters read as zeroes, edges as before. */
			uint64_t from = window + offset, to = from + len;

			from = round_up(from, QCOW2_SUB) - window;
			to = to == size ? to - window
					: round_down(to, QCOW2_SUB) - window;
			if (from < to)
				memset(model + from, 0, to - from);
		}
	}
	compare();
}

/* Whether @value may be at @at after the batch: written by one of those there,
 * or, if there was none or @is_read, as before. */
static bool is_legal(unsigned nops, uint64_t at, uint8_t value, bool is_read)
{
	bool is_touched = false;

	for (unsigned i = 0; i < nops; i++) {
		const struct op *op = &ops[i];
		uint64_t from = op->req.offset - window;

		if (op->req.op == BLK_READ || op->req.op == BLK_FLUSH ||
		    at < from || at - from >= op->req.len)
			continue;
		if (op->req.op != BLK_DISCARD)
			is_touched = true;
		if (value == (op->req.op == BLK_WRITE ? op->fill : 0))
			return true;
	}
	return (!is_touched || is_read) && value == model[at];
}

static void at_the_same_time(void)
{
	static uint8_t after[WINDOW];
	unsigned nops = 1 + (unsigned)rig_random(BATCH);
	uint64_t len;

	for (unsigned i = 0; i < nops; i++) {
		enum blk_op kind = any_op();
		uint64_t offset;

		any_range(&offset, &len);
		ops[i].fill = (uint8_t)(1 + rig_random(250));
		submit(&ops[i], kind, offset, len, any_flags(kind));
		for (uint64_t n = rig_random(4); n; n--)
			(void)rig_disk_step(disk);
	}
	drain();
	for (unsigned i = 0; i < nops; i++) {
		assert(ops[i].is_ended && ops[i].res == 0);
		if (ops[i].req.op == BLK_READ)
			for (uint64_t n = 0; n < ops[i].req.len; n++)
				assert(is_legal(nops,
						ops[i].req.offset - window + n,
						ops[i].buf[n], true));
	}
	/* The state afterwards, with ops[] kept for is_legal(). */
	len = in_window();
	{
		struct op *op = calloc(1, sizeof(*op));

		assert(op);
		submit(op, BLK_READ, 0, len, 0);
		drain();
		assert(op->is_ended && op->res == 0);
		memcpy(after, op->buf, len);
		free(op);
	}
	for (uint64_t n = 0; n < len; n++)
		assert(is_legal(nops, n, after[n], false));
	memcpy(model, after, len);
}

/* As after a kill -9: the files as they are, opened by the next process. */
static void reads_the_same_after_a_kill(void)
{
	struct blk *saved_blk = blk;
	struct rig_disk *saved_disk = disk;

	rig_copy(path, copy);
	rig_copy(dirty, copy_dirty);
	open_disk(copy, true);
	compare();
	close_disk();
	open_disk(copy, false); /* and what it recovered is in the file */
	compare();
	close_disk();
	blk = saved_blk;
	disk = saved_disk;
}

static void agrees_with_an_array(uint64_t disk_size, uint64_t backing_size,
				 uint64_t at, bool has_side, unsigned seed)
{
	rig_seed(seed);
	create(disk_size, backing_size, at);
	open_disk(path, has_side);
	compare();
	for (int i = 0; i < 8; i++) {
		one_by_one(30);
		for (int n = 0; n < 12; n++)
			at_the_same_time();
		compare();
		if (has_side)
			reads_the_same_after_a_kill();
		if (rig_random(2)) {
			close_disk();
			assert(access(dirty, F_OK) < 0);
			open_disk(path, has_side);
			compare();
		}
	}
	close_disk();
}

static void creates_once_and_refuses_nonsense(void)
{
	struct qcow2_header header;
	struct why why = {0};
	struct stat st;

	(void)unlink(path);
	assert(qcow2_create(path, 3 * MIB, "base.raw", NULL) == 0);
	assert(qcow2_create(path, 3 * MIB, NULL, NULL) == -EEXIST);
	assert(qcow2_create(copy, 1000, NULL, &why) == -EINVAL);
	assert(strstr(why.text, "multiple of 512"));
	assert(qcow2_create(copy, QCOW2_SIZE_MAX + 512, NULL, NULL) == -EINVAL);
	assert(qcow2_info(path, &header, NULL) == 0);
	assert(header.size == 3 * MIB && !strcmp(header.backing, "base.raw"));
	assert(stat(path, &st) == 0);
	assert((uint64_t)st.st_blocks * 512 < MIB);
}

static void flushes_only_what_there_is(void)
{
	struct qcow2_stats stats;

	create(3 * MIB, MIB, 0);
	open_disk(path, true);
	assert(once(BLK_FLUSH, 0, 0, 0) == 0);
	assert(disk->nreqs[BLK_FLUSH] == 0);
	assert(once(BLK_WRITE, 0, 4096, 'x') == 0);
	qcow2_get_stats(blk, &stats);
	assert(stats.dirty == 1 && stats.has_dirty_file);
	assert(once(BLK_FLUSH, 0, 0, 0) == 0);
	qcow2_get_stats(blk, &stats);
	assert(stats.dirty == 0 && stats.rounds == 1);
	assert(disk->nreqs[BLK_FLUSH] == 2 && disk->nreqs[BLK_WRITE] == 2);
	/* Written in place: nothing but the data is to be flushed. */
	assert(once(BLK_WRITE, 0, 4096, 'y') == 0);
	assert(once(BLK_FLUSH, 0, 0, 0) == 0);
	assert(disk->nreqs[BLK_FLUSH] == 3 && disk->nreqs[BLK_WRITE] == 3);
	assert(once(BLK_FLUSH, 0, 0, 0) == 0);
	assert(disk->nreqs[BLK_FLUSH] == 3);

	/* Three flushes at a time share one round. */
	assert(once(BLK_WRITE, 8192, 4096, 'y') == 0);
	for (int i = 0; i < 3; i++)
		submit(&ops[i], BLK_FLUSH, 0, 0, 0);
	drain();
	for (int i = 0; i < 3; i++)
		assert(ops[i].is_ended && !ops[i].res);
	assert(disk->nreqs[BLK_FLUSH] <= 3 + 4);
	close_disk();
}

/* Every request to the disk fails once: each of ours ends, with that error or
 * without, and nothing that had ended is lost. */
static void ends_every_request_when_the_disk_fails(void)
{
	static const int errors[] = {-EIO, -ENOSPC};

	for (unsigned nth = 1; nth < 25; nth++) {
		int err = errors[nth % 2];

		rig_seed(nth);
		create(3 * MIB + 512, MIB + 512, 0);
		open_disk(path, true);
		disk->fail_nth = nth;
		disk->fail_op = BLK_OP_MAX;
		disk->fail_err = err;
		for (unsigned n = 0; n < 40; n++) {
			enum blk_op kind = any_op();
			struct op *op = &ops[0];
			uint64_t offset, len;

			any_range(&offset, &len);
			op->fill = (uint8_t)(1 + rig_random(250));
			submit(op, kind, offset, len, 0);
			drain();
			assert(op->is_ended);
			assert(op->res == 0 || op->res == err);
			if (!op->res && kind == BLK_READ)
				assert(!memcmp(op->buf, model + offset, len));
			if (kind == BLK_READ || kind == BLK_FLUSH)
				continue;
			/* What a failed one leaves is one or the other. */
			memset(ops[1].buf, 0, 1);
			submit(&ops[1], BLK_READ, offset, len, 0);
			drain();
			assert(ops[1].is_ended);
			if (ops[1].res) {
				submit(&ops[1], BLK_READ, offset, len, 0);
				drain();
			}
			assert(!ops[1].res);
			for (uint64_t i = 0; i < len; i++)
				assert(is_legal(1, offset + i, ops[1].buf[i],
						op->res ||
							kind == BLK_DISCARD));
			memcpy(model + offset, ops[1].buf, len);
		}
		disk->fail_nth = 0;
		compare();
		reads_the_same_after_a_kill();
		close_disk();
		open_disk(path, true);
		compare();
		close_disk();
	}
}

/* The kernel forgets what it could not write: so do not say "done" later. */
static void promises_nothing_after_a_flush_has_failed(void)
{
	create(3 * MIB, MIB, 0);
	open_disk(path, true);
	assert(once(BLK_WRITE, 0, 4096, 'x') == 0);
	disk->fail_nth = 1;
	disk->fail_op = BLK_FLUSH;
	disk->fail_err = -EIO;
	assert(once(BLK_FLUSH, 0, 0, 0) == -EIO);
	assert(once(BLK_FLUSH, 0, 0, 0) == -EIO);
	assert(once(BLK_WRITE, 8192, 4096, 'x') == 0);
	assert(once(BLK_READ, 0, 4096, 0) == 0 && ops[0].buf[0] == 'x');
	close_disk();

	/* Our own bits are another matter: they are written again. */
	create(3 * MIB, MIB, 0);
	open_disk(path, true);
	assert(once(BLK_WRITE, 0, 4096, 'x') == 0);
	disk->fail_nth = 1;
	disk->fail_op = BLK_WRITE;
	disk->fail_err = -ENOSPC;
	assert(once(BLK_FLUSH, 0, 0, 0) == -ENOSPC);
	assert(once(BLK_FLUSH, 0, 0, 0) == 0);
	close_disk();
}

/* More clusters change than there are slots: rounds are made in between. */
static void discards_more_than_it_has_slots_for(void)
{
	struct qcow2_stats stats;
	uint64_t all = 5 * GIB;

	create(all, all, 0);
	open_disk(path, true);
	assert(once(BLK_WRITE, 0, 65536, 'x') == 0);
	ops[0].req = (struct blk_req){
		.op = BLK_DISCARD,
		.len = all,
		.done = on_done,
	};
	ops[0].is_ended = false;
	blk_submit(blk, &ops[0].req);
	drain();
	assert(ops[0].is_ended && ops[0].res == 0);
	qcow2_get_stats(blk, &stats);
	assert(stats.rounds == 2 && stats.dirty <= 16384);
	memset(model, 0, sizeof(model));
	compare();
	window = all - WINDOW;
	compare();
	reads_the_same_after_a_kill();
	close_disk();
}

int main(void)
{
	const char *tmp = rig_tmp();

	ops = calloc(BATCH, sizeof(*ops));
	assert(ops);
	(void)snprintf(path, sizeof(path), "%s/o.qcow2", tmp);
	(void)snprintf(copy, sizeof(copy), "%s/c.qcow2", tmp);
	(void)snprintf(dirty, sizeof(dirty), "%s.dirty", path);
	(void)snprintf(copy_dirty, sizeof(copy_dirty), "%s.dirty", copy);
	creates_once_and_refuses_nonsense();
	flushes_only_what_there_is();
	promises_nothing_after_a_flush_has_failed();
	discards_more_than_it_has_slots_for();
	for (unsigned seed = 1; seed <= rig_seeds(); seed++) {
		/* With a base that ends inside a subcluster; without one. */
		agrees_with_an_array(3 * MIB, 200 * KIB + 512, 0, true, seed);
		agrees_with_an_array(300 * KIB + 512, 3 * MIB, 0, true, seed);
		agrees_with_an_array(300 * KIB, 0, 0, false, seed);
		/* Where one chunk ends and the next begins. */
		agrees_with_an_array(GIB + MIB, GIB + 60 * KIB, GIB - 160 * KIB,
				     true, seed);
	}
	ends_every_request_when_the_disk_fails();
	free(ops);
	rig_tmp_remove();
	return 0;
}
