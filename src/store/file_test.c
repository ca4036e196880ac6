/* SPDX-License-Identifier: Apache-2.0 */
/*
 * file_test.c - files by page cache and O_DIRECT: bytes, holes, a file that
 * shrinks, a full disk, locks
 */
#undef NDEBUG
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/array.h"
#include "base/blk.h"
#include "base/loop.h"
#include "base/why.h"
#include "store/store.h"

#define SIZE (256 * KIB)

static struct loop *loop;
static char path[] = "/tmp/roost-file-test-XXXXXX";
static uint8_t bytes[SIZE]; /* what the file holds at first */

static int ended, res_seen;

static void on_done(struct blk_req *req, int res)
{
	(void)req;
	ended++;
	res_seen = res;
}

/* Submit @req, turn until it ends, see that it ends once. */
static int wait_for(struct blk *blk, struct blk_req *req)
{
	ended = 0;
	req->done = on_done;
	blk_submit(blk, req);
	while (!ended)
		assert(loop_turn(loop) == 0);
	assert(ended == 1);
	return res_seen;
}

static int once(struct blk *blk, enum blk_op op, uint32_t flags,
		uint64_t offset, void *buf, uint64_t len)
{
	struct iovec iov = {.iov_base = buf, .iov_len = len};
	struct blk_req req = {
		.op = op,
		.flags = flags,
		.offset = offset,
		.len = len,
		.iov = &iov,
		.niov = 1,
	};

	return wait_for(blk, &req);
}

static struct blk *open_it(unsigned flags)
{
	struct blk *blk = NULL;
	struct why w = {0};

	if (store_open(loop, path, flags, NULL, &blk, &w) < 0)
		fprintf(stderr, "%s\n", w.text);
	assert(blk && blk->size == SIZE && blk->block == 1);
	return blk;
}

static void make_file(void)
{
	int fd = open(path, O_WRONLY | O_TRUNC);

	assert(fd >= 0);
	for (size_t i = 0; i < SIZE; i++)
		bytes[i] = (uint8_t)(i * 7 + (i >> 8) * 13 + 1);
	assert(write(fd, bytes, SIZE) == (ssize_t)SIZE);
	assert(fsync(fd) == 0);
	close(fd);
}

static void reads_any_bytes(unsigned flags)
{
	static const struct {
		uint64_t offset, len;
	} at[] = {
		{0, 1},	       {0, 4096},     {4096, 8192}, {4095, 2},
		{1, SIZE - 1}, {SIZE - 1, 1}, {0, SIZE},    {12345, 6789},
	};
	struct blk *blk = open_it(flags);
	uint8_t *buf = aligned_alloc(4096, SIZE + 4096);

	assert(buf);
	for (size_t i = 0; i < ARRAY_SIZE(at); i++)
		for (size_t shift = 0; shift < 2; shift++) {
			memset(buf, 0xee, SIZE + 4096);
			assert(once(blk, BLK_READ, 0, at[i].offset, buf + shift,
				    at[i].len) == 0);
			assert(!memcmp(buf + shift, bytes + at[i].offset,
				       at[i].len));
			assert(buf[shift + at[i].len] == 0xee);
		}
	assert(once(blk, BLK_READ, 0, SIZE, buf, 1) == -ERANGE);
	assert(once(blk, BLK_WRITE, 0, 0, buf, 1) == -EROFS);
	assert(once(blk, BLK_FLUSH, 0, 0, NULL, 0) == 0);
	assert(once(blk, BLK_CACHE, 0, 0, NULL, SIZE) == 0);
	free(buf);
	blk_free(blk);
}

static void reads_into_many_buffers(unsigned flags)
{
	enum { N = 1500 }; /* more than the kernel takes at once */
	struct blk *blk = open_it(flags);
	static uint8_t buf[SIZE];
	static struct iovec iov[N];
	struct blk_req req = {.op = BLK_READ, .offset = 3, .iov = iov};

	memset(buf, 0, sizeof(buf));
	for (int i = 0; i < N; i++) {
		iov[i].iov_base = buf + req.len;
		iov[i].iov_len = (size_t)(i % 5) * 31; /* some are empty */
		req.len += iov[i].iov_len;
	}
	req.niov = N;
	assert(wait_for(blk, &req) == 0);
	assert(!memcmp(buf, bytes + 3, req.len));
	blk_free(blk);
}

static void writes_what_is_read_later(unsigned flags)
{
	struct blk *blk = open_it(flags | STORE_WRITE);
	uint8_t *in = aligned_alloc(4096, 16384), *out = malloc(16384);

	assert(in && out);
	for (int i = 0; i < 16384; i++)
		in[i] = (uint8_t)(i * 11);
	/* Aligned, and then not, and both visible to each other. */
	assert(once(blk, BLK_WRITE, BLK_FUA, 8192, in, 16384) == 0);
	assert(once(blk, BLK_READ, 0, 8192, out, 16384) == 0);
	assert(!memcmp(in, out, 16384));
	assert(once(blk, BLK_WRITE, 0, 8193, in, 5000) == 0);
	assert(once(blk, BLK_FLUSH, 0, 0, NULL, 0) == 0);
	assert(once(blk, BLK_READ, 0, 8193, out, 5000) == 0);
	assert(!memcmp(in, out, 5000));
	blk_free(blk);

	blk = open_it(0);
	assert(once(blk, BLK_READ, 0, 8193, out, 5000) == 0);
	assert(!memcmp(in, out, 5000));
	blk_free(blk);
	free(in);
	free(out);
	make_file();
}

static void many_at_once_all_end(unsigned flags)
{
	enum { N = 6000 }; /* more than there are ops */
	struct blk *blk = open_it(flags);
	static struct blk_req reqs[N];
	static struct iovec iov[N];
	static uint8_t buf[N];

	ended = 0;
	for (size_t i = 0; i < N; i++) {
		iov[i] = (struct iovec){buf + i, 1};
		reqs[i] = (struct blk_req){
			.op = BLK_READ,
			.offset = i * 40,
			.len = 1,
			.iov = &iov[i],
			.niov = 1,
			.done = on_done,
		};
		blk_submit(blk, &reqs[i]);
	}
	while (ended < N)
		assert(loop_turn(loop) == 0);
	for (size_t i = 0; i < N; i++)
		assert(buf[i] == bytes[i * 40]);
	blk_free(blk);
}

static bool is_zero(const uint8_t *p, size_t n)
{
	while (n--)
		if (*p++)
			return false;
	return true;
}

static uint64_t blocks_taken(void)
{
	struct stat st;

	assert(stat(path, &st) == 0);
	return (uint64_t)st.st_blocks * 512;
}

static void zeroes_and_discards(unsigned flags)
{
	struct blk *blk = open_it(flags | STORE_WRITE);
	static uint8_t out[SIZE];
	uint64_t taken = blocks_taken();

	/* Not whole pages: the bytes beside it stay. */
	assert(once(blk, BLK_ZERO, BLK_FUA, 5000, NULL, 60000) == 0);
	assert(once(blk, BLK_READ, 0, 0, out, SIZE) == 0);
	assert(!memcmp(out, bytes, 5000));
	assert(is_zero(out + 5000, 60000));
	assert(!memcmp(out + 65000, bytes + 65000, SIZE - 65000));
	assert(blocks_taken() < taken);

	assert(once(blk, BLK_ZERO, BLK_NO_HOLE, 0, NULL, 100000) == 0);
	assert(once(blk, BLK_READ, 0, 0, out, SIZE) == 0);
	assert(is_zero(out, 100000) && out[100000] == bytes[100000]);
	assert(blocks_taken() == taken);

	assert(once(blk, BLK_ZERO, BLK_FAST, 100000, NULL, 70000) == 0);
	assert(once(blk, BLK_READ, 0, 100000, out, 70001) == 0);
	assert(is_zero(out, 70000) && out[70000] == bytes[170000]);

	assert(once(blk, BLK_DISCARD, BLK_FUA, 0, NULL, 131072) == 0);
	assert(blocks_taken() < taken);
	assert(blk->size == SIZE);
	blk_free(blk);
	make_file();
}

static void tells_holes_from_data(void)
{
	struct blk *blk = open_it(STORE_WRITE);
	struct blk_extent extents[8];
	struct blk_req req = {
		.op = BLK_STATUS,
		.len = SIZE,
		.extents = extents,
		.nextents = 8,
	};

	assert(once(blk, BLK_DISCARD, 0, 65536, NULL, 65536) == 0);
	assert(once(blk, BLK_DISCARD, 0, SIZE - 65536, NULL, 65536) == 0);
	assert(wait_for(blk, &req) == 0);
	assert(req.nextents == 4);
	assert(extents[0].len == 65536 && extents[0].flags == 0);
	assert(extents[1].len == 65536 &&
	       extents[1].flags == (BLK_HOLE | BLK_ZEROES));
	assert(extents[2].len == 65536 && extents[2].flags == 0);
	assert(extents[3].len == 65536 &&
	       extents[3].flags == (BLK_HOLE | BLK_ZEROES));

	/* From the middle, and with room for one only. */
	req = (struct blk_req){
		.op = BLK_STATUS,
		.offset = 70000,
		.len = 100000,
		.extents = extents,
		.nextents = 1,
	};
	assert(wait_for(blk, &req) == 0);
	assert(req.nextents == 1 && extents[0].len == 131072 - 70000);
	blk_free(blk);
	make_file();
}

static void is_an_error_where_the_file_has_shrunk(unsigned flags)
{
	struct blk *blk = open_it(flags);
	struct blk_extent extent;
	struct blk_req req = {
		.op = BLK_STATUS,
		.offset = 200000,
		.len = 10,
		.extents = &extent,
		.nextents = 1,
	};
	uint8_t *buf = aligned_alloc(4096, SIZE);

	assert(buf && truncate(path, 100000) == 0);
	assert(once(blk, BLK_READ, 0, 0, buf, 100000) == 0);
	assert(!memcmp(buf, bytes, 100000));
	assert(once(blk, BLK_READ, 0, 0, buf, 100001) == -EIO);
	assert(once(blk, BLK_READ, 0, 98304, buf, 4096) == -EIO);
	assert(once(blk, BLK_READ, 0, 131072, buf, 4096) == -EIO);
	assert(wait_for(blk, &req) == -EIO);
	free(buf);
	blk_free(blk);
	make_file();
}

static void passes_up_what_a_full_disk_says(void)
{
	struct rlimit was, small;
	struct blk *blk;
	uint8_t buf[4096] = {0};

	/* A limit of the file's size stands in for the disk's. */
	assert(signal(SIGXFSZ, SIG_IGN) != SIG_ERR);
	assert(getrlimit(RLIMIT_FSIZE, &was) == 0);
	small = was;
	small.rlim_cur = 100000;
	blk = open_it(STORE_WRITE);
	assert(setrlimit(RLIMIT_FSIZE, &small) == 0);
	assert(once(blk, BLK_WRITE, 0, 0, buf, 4096) == 0);
	/* The first part fits, the rest does not. */
	assert(once(blk, BLK_WRITE, 0, 98304, buf, 4096) == -EFBIG);
	assert(setrlimit(RLIMIT_FSIZE, &was) == 0);
	blk_free(blk);
	make_file();
}

static void one_writer_at_a_time(void)
{
	struct blk *writer = open_it(STORE_WRITE), *reader = open_it(0);
	struct blk *second = NULL;
	struct why w = {0};

	assert(store_open(loop, path, STORE_WRITE, NULL, &second, &w) ==
	       -EBUSY);
	assert(!second && strstr(w.text, "in use"));
	blk_free(writer);
	writer = open_it(STORE_WRITE | STORE_DIRECT);
	blk_free(writer);
	blk_free(reader);
}

static void says_what_it_cannot_open(void)
{
	struct store_version version = {0}, later = {0};
	struct blk *blk = NULL;
	struct why w = {0};
	char url[64];

	assert(store_open(loop, "/nonexistent", 0, NULL, &blk, &w) == -ENOENT);
	assert(strstr(w.text, "/nonexistent: No such file"));
	assert(store_open(loop, "/tmp", 0, NULL, &blk, &w) == -EISDIR);
	assert(store_open(loop, "/dev/null", 0, NULL, &blk, &w) == -EINVAL);
	assert(store_open(loop, "", 0, NULL, &blk, &w) == -EINVAL);
	assert(store_open(loop, "gopher://x", 0, NULL, &blk, &w) == -EINVAL);
	assert(!blk);

	(void)snprintf(url, sizeof(url), "file://%s", path);
	assert(store_open(loop, url, 0, &version, &blk, &w) == 0);
	blk = blk_free(blk);
	assert(!strncmp(version.text, "mtime:", 6));
	make_file();
	assert(store_open(loop, url, 0, &later, &blk, &w) == 0);
	blk_free(blk);
	assert(strcmp(version.text, later.text));
}

int main(void)
{
	static const unsigned ways[] = {0, STORE_DIRECT};
	struct why w = {0};
	int fd = mkstemp(path);

	if (loop_new(&loop, &w) < 0) {
		printf("skipped: %s\n", w.text);
		return 77;
	}
	assert(fd >= 0);
	close(fd);
	make_file();
	for (size_t i = 0; i < ARRAY_SIZE(ways); i++) {
		reads_any_bytes(ways[i]);
		reads_into_many_buffers(ways[i]);
		writes_what_is_read_later(ways[i]);
		many_at_once_all_end(ways[i]);
		zeroes_and_discards(ways[i]);
		is_an_error_where_the_file_has_shrunk(ways[i]);
	}
	tells_holes_from_data();
	passes_up_what_a_full_disk_says();
	one_writer_at_a_time();
	says_what_it_cannot_open();
	assert(unlink(path) == 0);
	loop_free(loop);
	return 0;
}
