/* SPDX-License-Identifier: Apache-2.0 */
/*
 * store_cat.c - drive a store by hand, or from a test
 *
 *	store_cat [-w] [-d] ADDRESS OFFSET LEN	write those bytes to stdout
 *	store_cat [-w] [-d] ADDRESS		obey the lines of stdin
 *
 * -w opens for writing, -d past the page cache. Each line is one of
 *
 *	size				ok SIZE BLOCK CAN VERSION
 *	read OFFSET LEN [PIECES]	ok CRC32 of what was read into PIECES
 *	many OFFSET LEN COUNT STRIDE [low]
 *					COUNT reads at a time: ok CRC32 MS
 *	write OFFSET LEN BYTE [PIECES]	of LEN times BYTE
 *	fua OFFSET LEN BYTE		likewise with BLK_FUA
 *	zero OFFSET LEN, nohole OFFSET LEN, fast OFFSET LEN
 *	discard OFFSET LEN
 *	cache OFFSET LEN
 *	flush
 *	status OFFSET LEN		ok LEN:FLAGS ...
 *	wait MS				let the loop run
 *
 * and is answered with "ok ..." or "error ERRNO-NAME". The CRC is zlib's.
 */

#include <errno.h>
#include <isa-l/crc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/array.h"
#include "base/blk.h"
#include "base/clock.h"
#include "base/loop.h"
#include "base/why.h"
#include "store/store.h"

#define PIECES_MAX  1024u
#define EXTENTS_MAX 64

static struct loop *loop;
static struct blk *blk;
static struct store_version version;
static unsigned long left; /* requests to end */
static int first_err;

static void on_done(struct blk_req *req, int res)
{
	(void)req;
	if (res < 0 && !first_err)
		first_err = res;
	if (--left == 0)
		loop_stop(loop);
}

static int go(struct blk_req *reqs, unsigned long n)
{
	first_err = 0;
	left = n;
	for (unsigned long i = 0; i < n; i++) {
		reqs[i].done = on_done;
		blk_submit(blk, &reqs[i]);
	}
	/* Also when all have ended: what they left is done. */
	while (left)
		if (loop_run(loop) < 0)
			return -EIO;
	return first_err;
}

static void say(int err)
{
	if (err < 0)
		printf("error %s\n", strerrorname_np(-err));
}

/* Read or write @len bytes in @pieces of about the same length. */
static int data(enum blk_op op, uint32_t flags, uint64_t offset, uint64_t len,
		uint8_t *buf, unsigned pieces)
{
	static struct iovec iov[PIECES_MAX];
	struct blk_req req = {
		.op = op,
		.flags = flags,
		.offset = offset,
		.len = len,
		.iov = iov,
	};
	uint64_t at = 0;

	if (!pieces || pieces > PIECES_MAX)
		return -EINVAL;
	req.niov = (int)pieces;
	for (unsigned i = 0; i < pieces; i++) {
		uint64_t n = i + 1 < pieces ? len / pieces : len - at;

		iov[i] = (struct iovec){buf + at, n};
		at += n;
	}
	return go(&req, 1);
}

static void do_read(uint64_t offset, uint64_t len, unsigned pieces)
{
	uint8_t *buf = aligned_alloc(4096, round_up(len + 1, 4096));
	int err = buf ? data(BLK_READ, 0, offset, len, buf, pieces) : -ENOMEM;

	if (!err)
		printf("ok %u\n", crc32_gzip_refl(0, buf, len));
	say(err);
	free(buf);
}

static void do_many(uint64_t offset, uint64_t len, unsigned long count,
		    uint64_t stride, uint32_t flags)
{
	uint8_t *buf = malloc(len * count + 1);
	struct blk_req *reqs = calloc(count + 1, sizeof(*reqs));
	struct iovec *iov = calloc(count + 1, sizeof(*iov));
	uint64_t from = clock_ns();
	int err = -ENOMEM;

	if (buf && reqs && iov) {
		for (unsigned long i = 0; i < count; i++) {
			iov[i] = (struct iovec){buf + i * len, len};
			reqs[i] = (struct blk_req){
				.op = BLK_READ,
				.flags = flags,
				.offset = offset + i * stride,
				.len = len,
				.iov = &iov[i],
				.niov = 1,
			};
		}
		err = count ? go(reqs, count) : 0;
	}
	if (!err)
		printf("ok %u %llu\n", crc32_gzip_refl(0, buf, len * count),
		       (unsigned long long)((clock_ns() - from) / NS_PER_MS));
	say(err);
	free(buf);
	free(reqs);
	free(iov);
}

static void do_write(uint32_t flags, uint64_t offset, uint64_t len, int byte,
		     unsigned pieces)
{
	uint8_t *buf = aligned_alloc(4096, round_up(len + 1, 4096));
	int err = -ENOMEM;

	if (buf) {
		memset(buf, byte, len);
		err = data(BLK_WRITE, flags, offset, len, buf, pieces);
	}
	if (!err)
		printf("ok\n");
	say(err);
	free(buf);
}

static void do_range(enum blk_op op, uint32_t flags, uint64_t offset,
		     uint64_t len)
{
	struct blk_req req = {
		.op = op,
		.flags = flags,
		.offset = offset,
		.len = len,
	};
	int err = go(&req, 1);

	if (!err)
		printf("ok\n");
	say(err);
}

static void do_status(uint64_t offset, uint64_t len)
{
	struct blk_extent extents[EXTENTS_MAX];
	struct blk_req req = {
		.op = BLK_STATUS,
		.offset = offset,
		.len = len,
		.extents = extents,
		.nextents = EXTENTS_MAX,
	};
	int err = go(&req, 1);

	if (err < 0) {
		say(err);
		return;
	}
	printf("ok");
	for (int i = 0; i < req.nextents; i++)
		printf(" %llu:%u", (unsigned long long)extents[i].len,
		       extents[i].flags);
	printf("\n");
}

static void on_time(struct loop_timer *timer)
{
	(void)timer;
	loop_stop(loop);
}

static void do_wait(uint64_t ms)
{
	struct loop_timer timer;

	loop_timer_init(&timer, on_time);
	loop_timer_set(loop, &timer, clock_ns() + ms * NS_PER_MS);
	say(loop_run(loop));
	loop_timer_cancel(&timer);
	printf("ok\n");
}

static void obey(const char *line)
{
	unsigned long long a = 0, b = 0, c = 0, d = 0;
	char word[16] = "", last[8] = "";
	int n = sscanf(line, "%15s %llu %llu %llu %llu %7s", word, &a, &b, &c,
		       &d, last);

	if (!strcmp(word, "size"))
		printf("ok %llu %u %u %s\n", (unsigned long long)blk->size,
		       blk->block, blk->can, version.text);
	else if (!strcmp(word, "read"))
		do_read(a, b, n > 3 ? (unsigned)c : 1);
	else if (!strcmp(word, "many"))
		do_many(a, b, c, d, *last ? BLK_LOW : 0);
	else if (!strcmp(word, "write"))
		do_write(0, a, b, (int)c, n > 4 ? (unsigned)d : 1);
	else if (!strcmp(word, "fua"))
		do_write(BLK_FUA, a, b, (int)c, 1);
	else if (!strcmp(word, "zero"))
		do_range(BLK_ZERO, 0, a, b);
	else if (!strcmp(word, "nohole"))
		do_range(BLK_ZERO, BLK_NO_HOLE, a, b);
	else if (!strcmp(word, "fast"))
		do_range(BLK_ZERO, BLK_FAST, a, b);
	else if (!strcmp(word, "discard"))
		do_range(BLK_DISCARD, BLK_FUA, a, b);
	else if (!strcmp(word, "cache"))
		do_range(BLK_CACHE, 0, a, b);
	else if (!strcmp(word, "flush"))
		do_range(BLK_FLUSH, 0, 0, 0);
	else if (!strcmp(word, "status"))
		do_status(a, b);
	else if (!strcmp(word, "wait"))
		do_wait(a);
	else
		say(-EINVAL);
	(void)fflush(stdout);
}

static int cat(uint64_t offset, uint64_t len)
{
	uint8_t *buf = malloc(len + 1);
	int err = buf ? data(BLK_READ, 0, offset, len, buf, 1) : -ENOMEM;

	if (err < 0)
		fprintf(stderr, "store_cat: read: %s\n", strerror(-err));
	else if (fwrite(buf, 1, len, stdout) != len)
		err = -EIO;
	free(buf);
	return err;
}

int main(int argc, char **argv)
{
	struct why w = {0};
	unsigned flags = 0;
	char line[256];
	int opt, err;

	while ((opt = getopt(argc, argv, "wd")) != -1) {
		if (opt != 'w' && opt != 'd')
			return 2;
		flags |= opt == 'w' ? STORE_WRITE : STORE_DIRECT;
	}
	argc -= optind;
	argv += optind;
	if (argc != 1 && argc != 3)
		return 2;
	(void)signal(SIGPIPE, SIG_IGN);
	err = loop_new(&loop, &w);
	if (!err)
		err = store_open(loop, argv[0], flags, &version, &blk, &w);
	if (err < 0) {
		printf("error %s %s\n", strerrorname_np(-err), w.text);
		loop_free(loop);
		return 1;
	}
	if (argc == 3)
		err = cat(strtoull(argv[1], NULL, 0),
			  strtoull(argv[2], NULL, 0));
	else
		while (fgets(line, sizeof(line), stdin))
			obey(line);
	blk_free(blk);
	loop_free(loop);
	return err < 0;
}
