/* SPDX-License-Identifier: Apache-2.0 */
/*
 * qcow2_power_test.c - power losses at any moment, over a disk that forgets
 *
 * The disk below does requests in any order, and of the sectors written since
 * its last flush any may be lost. For each sector we know which contents it
 * may have after a power loss: the one that the last flush made sure of, and
 * those that were written (begun) since. Anything else, such as zeroes where
 * the base should show, is a bit that was ahead of its data.
 */
#undef NDEBUG
#include <assert.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "store/qcow2.h"
#include "store/qcow2_rig.h"

#define SECTOR	 512u
#define WINDOW	 (3 * MIB)
#define NSECTORS ((unsigned)(WINDOW / SECTOR))
#define NOPS	 6u
#define ROUNDS	 50u

struct sector {
	bool may_be[256]; /* contents: this byte all over */
	uint8_t now; /* what it reads as */
	unsigned begun, ended; /* when it was last written */
	bool is_busy;
};

struct op {
	struct blk_req req; /* first */
	struct iovec iov;
	bool is_busy;
	unsigned begun;
	unsigned from, to; /* sectors, @to not in */
	uint8_t fill;
	uint8_t buf[WINDOW];
};

static struct sector sectors[NSECTORS];
static struct op *ops;
static unsigned now;
static char path[PATH_MAX], copy[PATH_MAX];
static uint64_t window, base_size;
static struct blk *blk;
static struct rig_disk *disk;
static uint64_t checked;

static void sure(struct sector *s)
{
	memset(s->may_be, 0, sizeof(s->may_be));
	s->may_be[s->now] = true;
}

static void on_done(struct blk_req *req, int res)
{
	struct op *op = (struct op *)req;

	assert(op->is_busy && res == 0);
	op->is_busy = false;
	now++;
	if (req->op == BLK_FLUSH) {
		for (unsigned i = 0; i < NSECTORS; i++)
			if (!sectors[i].is_busy && sectors[i].ended < op->begun)
				sure(&sectors[i]);
		return;
	}
	for (unsigned i = op->from; i < op->to; i++) {
		struct sector *s = &sectors[i];

		s->is_busy = false;
		s->now = op->fill;
		s->ended = now;
		if (req->flags & BLK_FUA)
			sure(s);
	}
}

static bool is_free(unsigned from, unsigned to)
{
	for (unsigned i = from; i < to; i++)
		if (sectors[i].is_busy)
			return false;
	return true;
}

static void begin(struct op *op)
{
	unsigned n = 1 + (unsigned)rig_random(rig_random(9) ? 20 : 600);
	unsigned from = (unsigned)rig_random(NSECTORS - n + 1);
	unsigned kind = (unsigned)rig_random(10);

	op->from = from;
	op->to = from + n;
	op->fill = (uint8_t)(1 + rig_random(255));
	op->req = (struct blk_req){.op = BLK_WRITE, .done = on_done};
	if (kind < 3)
		op->req.op = BLK_FLUSH;
	else if (kind == 3)
		op->req.op = BLK_ZERO;
	else if (kind == 4)
		op->req.op = BLK_DISCARD;
	if (op->req.op == BLK_DISCARD) { /* its edges would stay */
		op->from = from / 8 * 8;
		op->to = round_up(op->to, 8) < NSECTORS ? (op->to + 7) / 8 * 8
							: NSECTORS;
	}
	if (op->req.op != BLK_WRITE)
		op->fill = 0;
	op->begun = ++now;
	op->is_busy = true;
	if (op->req.op == BLK_FLUSH) {
		op->from = op->to = 0;
		blk_submit(blk, &op->req);
		return;
	}
	if (!is_free(op->from, op->to)) {
		op->is_busy = false;
		return;
	}
	for (unsigned i = op->from; i < op->to; i++) {
		sectors[i].is_busy = true;
		sectors[i].begun = now;
		sectors[i].may_be[op->fill] = true;
	}
	if (rig_random(10) == 0)
		op->req.flags = BLK_FUA;
	op->req.offset = window + (uint64_t)op->from * SECTOR;
	op->req.len = (uint64_t)(op->to - op->from) * SECTOR;
	op->iov = (struct iovec){op->buf, op->req.len};
	op->req.iov = &op->iov;
	op->req.niov = 1;
	memset(op->buf, op->fill, op->req.len);
	blk_submit(blk, &op->req);
}

static struct blk *new_base(void)
{
	return rig_base_new(base_size, window,
			    min_u64(WINDOW, base_size - window));
}

static void lose_power(void)
{
	struct rig_disk *other;
	struct blk *after;
	struct op *op = &ops[NOPS]; /* one more than those in use */

	rig_disk_lose(disk, copy);
	other = rig_disk_new(copy);
	after = rig_open(copy, &other->blk, new_base(), false);
	op->from = op->to = 0;
	op->is_busy = true;
	op->iov = (struct iovec){op->buf, WINDOW};
	op->req = (struct blk_req){
		.op = BLK_READ,
		.offset = window,
		.len = WINDOW,
		.iov = &op->iov,
		.niov = 1,
		.done = on_done,
	};
	blk_submit(after, &op->req);
	assert(!op->is_busy);
	for (unsigned i = 0; i < NSECTORS; i++) {
		const uint8_t *is = op->buf + (size_t)i * SECTOR;

		assert(!memcmp(is, is + 1, SECTOR - 1));
		if (!sectors[i].may_be[is[0]]) {
			fprintf(stderr, "sector %u is %02x\n", i, is[0]);
			abort();
		}
		checked++;
	}
	blk_free(after);
}

static void shows_no_bit_ahead_of_its_data(uint64_t size, uint64_t with_base,
					   uint64_t at, bool has_side,
					   unsigned seed)
{
	char stable[PATH_MAX + 8];

	rig_seed(seed);
	window = at;
	base_size = with_base;
	(void)snprintf(stable, sizeof(stable), "%s.stable", path);
	(void)remove(path);
	assert(qcow2_create(path, size, "base.raw", NULL) == 0);
	memset(sectors, 0, sizeof(sectors));
	for (unsigned i = 0; i < NSECTORS; i++) {
		sectors[i].now =
			window + (uint64_t)i * SECTOR < base_size ? 'b' : 0;
		sure(&sectors[i]);
	}
	disk = rig_disk_new(path);
	disk->is_held = disk->is_volatile = true;
	blk = rig_open(path, &disk->blk, new_base(), has_side);
	for (unsigned i = 0; i < ROUNDS; i++) {
		for (unsigned n = 0; n < NOPS; n++)
			if (!ops[n].is_busy)
				begin(&ops[n]);
		for (uint64_t n = rig_random(60); n; n--)
			(void)rig_disk_step(disk);
		lose_power();
	}
	while (rig_disk_step(disk))
		;
	blk_free(blk);
}

int main(void)
{
	const char *tmp = rig_tmp();

	ops = calloc(NOPS + 1, sizeof(*ops));
	assert(ops);
	(void)snprintf(path, sizeof(path), "%s/o.qcow2", tmp);
	(void)snprintf(copy, sizeof(copy), "%s/c.qcow2", tmp);
	for (unsigned seed = 1; seed <= rig_seeds(); seed++) {
		shows_no_bit_ahead_of_its_data(3 * MIB, 2 * MIB + SECTOR, 0,
					       true, seed);
		shows_no_bit_ahead_of_its_data(3 * MIB, 3 * MIB, 0, false,
					       seed);
		shows_no_bit_ahead_of_its_data(GIB + 2 * MIB, GIB + 2 * MIB,
					       GIB - 1100 * KIB, true, seed);
	}
	assert(checked == 3ull * rig_seeds() * ROUNDS * NSECTORS);
	free(ops);
	rig_tmp_remove();
	return 0;
}
