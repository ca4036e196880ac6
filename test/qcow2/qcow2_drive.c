/* SPDX-License-Identifier: Apache-2.0 */
/*
 * qcow2_drive.c - drive an overlay from a test
 *
 *	qcow2_drive create PATH SIZE [BASE]
 *	qcow2_drive grow PATH SIZE
 *	qcow2_drive run [-e] [-d] PATH		obey the lines of stdin
 *	qcow2_drive hammer PATH SEED		write until killed
 *
 * -e: ephemeral, -d: past the page cache. The base is opened by the address in
 * the header, which is an absolute path. Lines of run:
 *
 *	write OFFSET LEN BYTE, fua OFFSET LEN BYTE, zero OFFSET LEN,
 *	discard OFFSET LEN, flush, abort (end without closing)
 *	read OFFSET LEN			ok CRC32
 *	status OFFSET LEN		ok LEN:FLAGS ...
 *	stats				ok HAS_DIRTY_FILE DIRTY ROUNDS
 *
 * each answered with "ok ..." or "error ERRNO-NAME".
 *
 * hammer has WORKERS lanes, each its own part of the disk (their edges are
 * inside blocks). A lane does one thing at a time. What it begins it writes to
 * stdout before, "b LANE OP OFFSET LEN BYTE", and when it has ended "e LANE
 * ERROR": what was written there a kill does not take back.
 */
#include <errno.h>
#include <isa-l/crc.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/array.h"
#include "base/blk.h"
#include "base/loop.h"
#include "base/why.h"
#include "store/qcow2.h"
#include "store/store.h"

#define WORKERS	 16u
#define LEN_MAX	 (200 * KIB)
#define LINE_MAX 256
#define EXTENTS	 64
#define BUF_SIZE (64 * MIB)

static struct loop *loop;
static struct blk *disk;

struct lane {
	struct blk_req req; /* first */
	struct iovec iov;
	struct loop_task again;
	unsigned number;
	uint64_t random;
	uint64_t from, size;
	char buf[LEN_MAX];
};

static void say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* One write per line, past any buffer. */
static void say(const char *fmt, ...)
{
	char line[LINE_MAX * 8];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	if (write(STDOUT_FILENO, line, (size_t)n) != n)
		_exit(1);
}

static int die(const struct why *why, int err)
{
	say("error %s %s\n", strerrorname_np(-err), why->text);
	return 1;
}

static uint64_t any(struct lane *lane, uint64_t n)
{
	lane->random = lane->random * 6364136223846793005u + 1;
	return (lane->random >> 33) % n;
}

static void hammer_next(struct loop_task *task)
{
	struct lane *lane = container_of(task, struct lane, again);
	static const enum blk_op kinds[] = {
		BLK_WRITE, BLK_WRITE, BLK_WRITE,   BLK_WRITE,
		BLK_WRITE, BLK_ZERO,  BLK_DISCARD,
	};
	enum blk_op op = kinds[any(lane, ARRAY_SIZE(kinds))];
	uint64_t len = 1 + any(lane, any(lane, 4) ? 8 * KIB : LEN_MAX);
	uint64_t offset = lane->from + any(lane, lane->size - len);
	int fill = 1 + (int)any(lane, 255);

	if (any(lane, 40) == 0) {
		op = BLK_FLUSH;
		offset = len = 0;
	}
	if (op == BLK_WRITE)
		memset(lane->buf, fill, len);
	lane->iov = (struct iovec){lane->buf, len};
	lane->req.op = op;
	lane->req.flags = op != BLK_FLUSH && any(lane, 30) == 0 ? BLK_FUA : 0;
	lane->req.offset = offset;
	lane->req.len = len;
	lane->req.iov = &lane->iov;
	lane->req.niov = 1;
	say("b %u %d %ju %ju %d\n", lane->number, (int)op, (uintmax_t)offset,
	    (uintmax_t)len, fill);
	blk_submit(disk, &lane->req);
}

static void hammer_done(struct blk_req *req, int res)
{
	struct lane *lane = (struct lane *)req;

	say("e %u %d\n", lane->number, res);
	req->done = hammer_done;
	loop_defer(loop, &lane->again);
}

static int hammer(unsigned seed)
{
	static struct lane lanes[WORKERS];

	for (unsigned i = 0; i < WORKERS; i++) {
		struct lane *lane = &lanes[i];

		lane->number = i;
		lane->random = seed * 1000003ull + i * 7919;
		/* Odd, so that two lanes share the block between them. */
		lane->size = disk->size / WORKERS - 77;
		lane->from = lane->size * i;
		lane->req.done = hammer_done;
		loop_task_init(&lane->again, hammer_next);
		loop_defer(loop, &lane->again);
	}
	return loop_run(loop);
}

static int once_res;
static bool is_ended;

static void once_done(struct blk_req *req, int res)
{
	(void)req;
	once_res = res;
	is_ended = true;
}

static int once(struct blk_req *req)
{
	req->done = once_done;
	is_ended = false;
	blk_submit(disk, req);
	while (!is_ended)
		if (loop_turn(loop) < 0)
			return -EIO;
	return once_res;
}

static void answer(struct blk_req *req, int res, const char *buf)
{
	char text[LINE_MAX * 4] = "";
	size_t n = 0;

	if (res < 0) {
		say("error %s\n", strerrorname_np(-res));
		return;
	}
	if (req->op == BLK_READ)
		(void)snprintf(
			text, sizeof(text), " %u",
			crc32_gzip_refl(0, (const uint8_t *)buf, req->len));
	if (req->op == BLK_STATUS)
		for (int i = 0; i < req->nextents; i++)
			n += (size_t)snprintf(text + n, sizeof(text) - n,
					      " %ju:%u",
					      (uintmax_t)req->extents[i].len,
					      req->extents[i].flags);
	say("ok%s\n", text);
}

static void obey(const char *line, char *buf)
{
	static const struct {
		const char *word;
		enum blk_op op;
		unsigned flags;
	} words[] = {
		{"read", BLK_READ, 0},	     {"write", BLK_WRITE, 0},
		{"fua", BLK_WRITE, BLK_FUA}, {"zero", BLK_ZERO, 0},
		{"discard", BLK_DISCARD, 0}, {"flush", BLK_FLUSH, 0},
		{"status", BLK_STATUS, 0},
	};
	struct blk_extent extents[EXTENTS];
	char word[LINE_MAX] = "";
	uintmax_t offset = 0, len = 0;
	int fill = 0;
	struct iovec iov;

	(void)sscanf(line, "%255s %ju %ju %d", word, &offset, &len, &fill);
	if (!strcmp(word, "abort"))
		_exit(0);
	if (!strcmp(word, "stats")) {
		struct qcow2_stats stats;

		qcow2_get_stats(disk, &stats);
		say("ok %d %u %ju\n", stats.has_dirty_file, stats.dirty,
		    (uintmax_t)stats.rounds);
		return;
	}
	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		struct blk_req req = {
			.op = words[i].op,
			.flags = words[i].flags,
			.offset = offset,
			.len = len,
			.iov = &iov,
			.niov = 1,
			.extents = extents,
			.nextents = EXTENTS,
		};

		if (strcmp(word, words[i].word) != 0)
			continue;
		if (req.op == BLK_WRITE)
			memset(buf, fill, len);
		iov = (struct iovec){buf, len};
		answer(&req, once(&req), buf);
		return;
	}
	say("error EINVAL\n");
}

static int run(void)
{
	char *buf = aligned_alloc(4096, BUF_SIZE);
	char line[LINE_MAX];

	if (!buf)
		return 1;
	say("ok %ju\n", (uintmax_t)disk->size);
	while (fgets(line, sizeof(line), stdin))
		obey(line, buf);
	free(buf);
	return 0;
}

static int open_disk(const char *path, unsigned flags, struct why *why)
{
	struct qcow2_header header;
	struct blk *base = NULL;
	int err = qcow2_info(path, &header, why);

	if (!err && header.backing[0])
		err = store_open(loop, header.backing, 0, NULL, &base, why);
	if (!err)
		err = qcow2_open(loop, path, flags, base, &disk, why);
	if (err < 0)
		blk_free(base);
	return err;
}

int main(int argc, char **argv)
{
	const char *verb = argc > 1 ? argv[1] : "";
	struct why why = {0};
	unsigned flags = 0;
	int err, opt;

	if (!strcmp(verb, "create") && argc >= 4) {
		err = qcow2_create(argv[2], strtoull(argv[3], NULL, 0),
				   argc > 4 ? argv[4] : NULL, &why);
		return err < 0 ? die(&why, err) : 0;
	}
	if (!strcmp(verb, "grow") && argc == 4) {
		err = qcow2_grow(argv[2], strtoull(argv[3], NULL, 0), &why);
		return err < 0 ? die(&why, err) : 0;
	}
	optind = 2;
	while ((opt = getopt(argc, argv, "ed")) != -1)
		flags |= opt == 'e' ? QCOW2_EPHEMERAL : STORE_DIRECT;
	if (optind >= argc)
		return 2;
	err = loop_new(&loop, &why);
	if (!err)
		err = open_disk(argv[optind], flags, &why);
	if (err < 0)
		return die(&why, err);
	if (!strcmp(verb, "hammer"))
		err = hammer((unsigned)strtoul(argv[optind + 1], NULL, 0));
	else
		err = run();
	blk_free(disk);
	loop_free(loop);
	return err != 0;
}
