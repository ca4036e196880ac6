/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cache_test.c - an image is recorded, prefetched and shared, and whatever
 * fails below it, a guest reads the image's bytes or an error
 */
#undef NDEBUG
#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/array.h"
#include "base/blk.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/work.h"
#include "cache/cache.h"
#include "store/faulty.h"
#include "store/mem.h"
#include "store/slow.h"
#include "store/store.h"

/* Not a whole number of pages, so that the last one is a part. */
#define SIZE (6 * MIB + 1000)

static struct loop *loop;
static struct workers *workers;
static struct cache *cache;
static char dir[] = "/tmp/roost-cache-test-XXXXXX";
static char address[128];
static uint8_t bytes[SIZE];

/* What the next opening of an image or segment is wrapped in. */
static uint64_t image_delay_ns;
static unsigned image_fails_nth, segment_fails_nth;
static struct blk *slow_image;

static const struct recorder_limits any_boot = {
	.max_ns = UINT64_MAX,
	.max_bytes = UINT64_MAX,
	.settle_ns = UINT64_MAX,
};

static int open_here(struct loop *on, const char *what,
		     char version[static BOOT_VERSION_MAX], struct blk **ret,
		     struct why *why)
{
	struct store_version v;
	struct blk *blk = NULL;
	int err = store_open(on, what, 0, &v, &blk, why);

	static_assert(sizeof(v.text) == BOOT_VERSION_MAX, "one is the other");
	if (err < 0)
		return err;
	memcpy(version, v.text, BOOT_VERSION_MAX);
	if (strstr(what, "bootseg"))
		assert(faulty_new(blk, segment_fails_nth, -EIO, &blk) == 0);
	if (!strcmp(what, address)) {
		assert(faulty_new(blk, image_fails_nth, -EIO, &blk) == 0);
		if (image_delay_ns) {
			assert(slow_new(on, blk, image_delay_ns, &blk) == 0);
			slow_image = blk;
		}
	}
	*ret = blk;
	return 0;
}

static void start(uint64_t ram_bytes)
{
	assert(cache_new(loop, workers, ram_bytes, open_here, &cache, NULL) ==
	       0);
}

static void on_stopped(void *arg)
{
	*(bool *)arg = true;
}

static void stop(void)
{
	bool is_stopped = false;

	cache_stop(cache, on_stopped, &is_stopped);
	while (!is_stopped)
		assert(loop_turn(loop) == 0);
	cache = cache_free(cache);
}

struct opened {
	struct cache_opening opening;
	struct blk *handle;
	int res; /* 1: not yet */
};

static void on_opened(struct cache_opening *opening, int res,
		      struct blk *handle, const struct why *why)
{
	struct opened *o = container_of(opening, struct opened, opening);

	assert(res == 0 || *why->text);
	o->res = res;
	o->handle = handle;
}

static struct blk *open_image(void)
{
	struct cache_image_options options = {
		.name = "image",
		.address = address,
		.boot_dir = dir,
		.limits = &any_boot,
	};
	struct opened o = {.opening.done = on_opened, .res = 1};

	cache_open(cache, &options, &o.opening);
	while (o.res == 1)
		assert(loop_turn(loop) == 0);
	assert(o.res == 0);
	return o.handle;
}

static void keep(void *arg, const struct cache_image_stats *stats)
{
	*(struct cache_image_stats *)arg = *stats;
}

/* Of the only image there is. */
static struct cache_image_stats stats(void)
{
	struct cache_image_stats s = {0};

	cache_each(cache, keep, &s);
	return s;
}

struct io {
	struct blk_req req;
	struct iovec iov;
	uint8_t *buf;
	int res; /* 1: not yet */
};

static void on_io(struct blk_req *req, int res)
{
	struct io *io = container_of(req, struct io, req);

	assert(io->res == 1);
	io->res = res;
}

static void begin(struct blk *blk, struct io *io, uint64_t offset, uint64_t len)
{
	io->buf = malloc(len);
	memset(io->buf, 0xee, len);
	io->iov = (struct iovec){io->buf, len};
	io->res = 1;
	io->req = (struct blk_req){
		.op = BLK_READ,
		.offset = offset,
		.len = len,
		.iov = &io->iov,
		.niov = 1,
		.done = on_io,
	};
	blk_submit(blk, &io->req);
}

/* Wait for the end; if it is a success the bytes are the image's. */
static int end(struct io *io)
{
	while (io->res == 1)
		assert(loop_turn(loop) == 0);
	if (!io->res)
		assert(!memcmp(io->buf, bytes + io->req.offset, io->req.len));
	free(io->buf);
	return io->res;
}

static int read_at(struct blk *blk, uint64_t offset, uint64_t len)
{
	struct io io;

	begin(blk, &io, offset, len);
	return end(&io);
}

static void wait_while_prefetching(void)
{
	while (stats().is_prefetching)
		assert(loop_turn(loop) == 0);
}

/* What our guest reads at each boot: 2 MiB in 32 pieces, and the last byte. */
static void boot(struct blk *blk)
{
	for (uint64_t i = 0; i < 32; i++)
		assert(read_at(blk, i * 37 % 32 * 192 * KIB, 64 * KIB) == 0);
	assert(read_at(blk, SIZE - 1, 1) == 0);
}

static unsigned files_like(const char *part)
{
	DIR *d = opendir(dir);
	struct dirent *entry;
	unsigned n = 0;

	assert(d);
	while ((entry = readdir(d)))
		n += strstr(entry->d_name, part) != NULL;
	closedir(d);
	return n;
}

static void remove_boot_files(void)
{
	char command[256];

	(void)snprintf(command, sizeof(command), "rm -f %s/image.boot*", dir);
	assert(system(command) == 0);
}

static void record(void)
{
	struct blk *blk;

	remove_boot_files();
	start(64 * MIB);
	blk = open_image();
	assert(stats().is_recording);
	boot(blk);
	blk_free(blk);
	stop();
	assert(files_like(".bootmap") == 1 && files_like(".bootseg-") == 1);
	assert(files_like(".tmp") == 0);
}

static void boots_the_second_time_from_the_segment(void)
{
	struct cache_image_stats s;
	struct blk *blk;

	record();
	start(64 * MIB);
	blk = open_image();
	wait_while_prefetching();
	s = stats();
	assert(s.map && s.map->boots == 1);
	assert(s.map->nblocks == 32 * 16 + 1);
	assert(s.prefetch_requests == s.map->nextents);
	assert(s.prefetched_pages == s.map->nblocks);
	boot(blk);
	/* But for the fingerprint the image was never read. */
	assert(stats().demand_requests == s.demand_requests);
	assert(stats().reads.misses == 0 && stats().reads.waits == 0);
	assert(stats().used_pages == s.prefetched_pages);
	blk_free(blk);
	stop();
}

static void reads_a_page_once_for_many_clones(void)
{
	struct blk *blk[16];
	struct io io[16];
	uint64_t before;

	remove_boot_files();
	image_delay_ns = NS_PER_MS;
	start(64 * MIB);
	for (int i = 0; i < 16; i++)
		blk[i] = open_image();
	before = stats().demand_requests;
	for (int i = 0; i < 16; i++)
		begin(blk[i], &io[i], 8192, 65536);
	for (int i = 0; i < 16; i++)
		assert(end(&io[i]) == 0);
	assert(stats().demand_requests == before + 1);
	assert(stats().reads.waits == 15 && stats().reads.misses == 1);
	for (int i = 0; i < 16; i++)
		blk_free(blk[i]);
	stop();
	image_delay_ns = 0;
}

static void stays_right_when_the_cache_is_tiny(void)
{
	struct blk *blk[4];
	struct io io[64];

	image_delay_ns = NS_PER_MS / 20;
	start(16 * 64 * KIB); /* 16 slots for 97 */
	for (int i = 0; i < 4; i++)
		blk[i] = open_image();
	srand(1);
	for (int round = 0; round < 50; round++) {
		for (int i = 0; i < 64; i++) {
			uint64_t offset = (uint64_t)rand() % SIZE;
			uint64_t len = 1 + (uint64_t)rand() % (300 * KIB);

			begin(blk[i % 4], &io[i], offset,
			      min_u64(len, SIZE - offset));
		}
		for (int i = 0; i < 64; i++)
			assert(end(&io[i]) == 0);
	}
	assert(cache_totals(cache).evictions > 0);
	for (int i = 0; i < 4; i++)
		blk_free(blk[i]);
	stop();
	image_delay_ns = 0;
}

static void reads_back_what_ram_gave_up(void)
{
	uint64_t before;
	struct blk *blk, *mem = NULL;

	for (int is_bad = 0; is_bad < 2; is_bad++) {
		remove_boot_files();
		start(16 * 64 * KIB); /* 16 slots for 97 */
		assert(mem_new(8 * MIB, 4096, &mem) == 0);
		/* One write is lost: that slot is asked of the store. */
		if (is_bad)
			assert(faulty_new(mem, 5, -EIO, &mem) == 0);
		assert(cache_add_file_tier(cache, mem) == 0);
		blk = open_image();
		assert(read_at(blk, 0, SIZE) == 0);
		before = stats().demand_requests;
		for (uint64_t i = 0; i < 40; i++)
			assert(read_at(blk, i * 64 * KIB, 64 * KIB) == 0);
		assert(stats().tier_requests >= 20); /* 16 are in RAM */
		assert(stats().demand_requests <= before + (unsigned)is_bad);
		blk_free(blk);
		stop();
	}
}

static void a_damaged_file_tier_costs_only_time(void)
{
	static uint8_t garbage[8 * MIB];
	struct blk *blk, *mem = NULL;
	struct iovec iov = {garbage, sizeof(garbage)};
	struct io io = {.res = 1};

	remove_boot_files();
	start(16 * 64 * KIB);
	assert(mem_new(sizeof(garbage), 4096, &mem) == 0);
	assert(cache_add_file_tier(cache, mem) == 0);
	blk = open_image();
	assert(read_at(blk, 0, SIZE) == 0);
	memset(garbage, 0x77, sizeof(garbage));
	io.req = (struct blk_req){
		.op = BLK_WRITE,
		.len = sizeof(garbage),
		.iov = &iov,
		.niov = 1,
		.done = on_io,
	};
	blk_submit(mem, &io.req); /* behind the cache's back */
	assert(io.res == 0);
	assert(read_at(blk, 0, 4 * MIB) == 0); /* compares every byte */
	assert(cache_totals(cache).tier_damaged > 0);
	blk_free(blk);
	stop();
}

static void ends_every_read_when_the_store_fails(void)
{
	unsigned failed;
	unsigned nth = 9; /* the first 8 identify the image */

	do {
		struct blk *blk[2];
		struct io io[8];

		remove_boot_files();
		failed = 0;
		image_fails_nth = nth++;
		image_delay_ns = NS_PER_MS / 20;
		start(64 * MIB);
		blk[0] = open_image();
		blk[1] = open_image();
		for (int i = 0; i < 8; i++)
			begin(blk[i % 2], &io[i], (uint64_t)i * 256 * KIB,
			      512 * KIB);
		for (int i = 0; i < 8; i++) {
			int res = end(&io[i]);

			assert(res == 0 || res == -EIO);
			failed += res < 0;
		}
		/* Once the store is well again, so are we. */
		assert(read_at(blk[0], 0, 4 * MIB) == 0 || failed == 0);
		blk_free(blk[0]);
		blk_free(blk[1]);
		stop();
	} while (failed);
	assert(nth > 10);
	image_fails_nth = 0;
	image_delay_ns = 0;
}

static void reads_the_image_when_the_segment_fails(void)
{
	for (segment_fails_nth = 1; segment_fails_nth < 5;
	     segment_fails_nth++) {
		struct blk *blk;

		record();
		start(64 * MIB);
		blk = open_image();
		boot(blk);
		blk_free(blk);
		stop();
	}
	segment_fails_nth = 0;
}

/* Change one byte, or cut, of the only file whose name has @part in it. */
static void damage(const char *part, long at, bool cut)
{
	char path[512] = "";
	struct dirent *entry;
	DIR *d = opendir(dir);
	FILE *file;
	int c;

	while ((entry = readdir(d)))
		if (strstr(entry->d_name, part))
			(void)snprintf(path, sizeof(path), "%s/%s", dir,
				       entry->d_name);
	closedir(d);
	if (cut) {
		assert(truncate(path, at) == 0);
		return;
	}
	file = fopen(path, "r+b");
	assert(file && fseek(file, at, SEEK_SET) == 0);
	c = fgetc(file);
	assert(c != EOF && fseek(file, at, SEEK_SET) == 0);
	assert(fputc(c ^ 1, file) != EOF && fclose(file) == 0);
}

static void never_serves_a_damaged_pair(void)
{
	for (int i = 0; i < 6; i++) {
		struct blk *blk;

		record();
		switch (i) {
		case 0:
			damage(".bootmap", 100, false);
			break;
		case 1:
			damage(".bootmap", 50, true);
			break;
		case 2:
			damage(".bootmap", 0, true);
			break;
		case 3: /* a byte of the first extent */
			damage(".bootseg-", 5000, false);
			break;
		case 4:
			damage(".bootseg-", 100000, true);
			break;
		case 5: /* only a byte of the header, which nobody needs */
			damage(".bootseg-", 9, false);
			break;
		}
		start(64 * MIB);
		blk = open_image();
		wait_while_prefetching();
		boot(blk);
		blk_free(blk);
		stop();
		/* Recorded anew, and as good as ever. */
		start(64 * MIB);
		blk = open_image();
		wait_while_prefetching();
		boot(blk);
		assert(stats().reads.misses == 0);
		blk_free(blk);
		stop();
	}
}

/* Always of the same time and inode: its version does not tell. */
static void write_image(void)
{
	const struct timespec times[2] = {{.tv_sec = 1}, {.tv_sec = 1}};
	int fd = open(address, O_CREAT | O_TRUNC | O_WRONLY, 0644);

	assert(fd >= 0);
	assert(write(fd, bytes, SIZE) == (ssize_t)SIZE);
	assert(futimens(fd, times) == 0);
	assert(close(fd) == 0);
}

static void forgets_an_image_that_was_replaced(void)
{
	struct blk *blk;

	record();
	start(64 * MIB);
	blk = open_image();
	boot(blk);
	blk_free(blk);
	while (stats().handles || stats().is_saving || stats().is_prefetching)
		assert(loop_turn(loop) == 0);
	assert(loop_turn(loop) == 0); /* closed at the end of a turn */

	for (uint64_t i = 0; i < SIZE; i++)
		bytes[i] ^= 0x55;
	write_image();
	blk = open_image();
	wait_while_prefetching();
	assert(stats().prefetched_pages == stats().used_pages);
	boot(blk); /* compares every byte */
	assert(stats().reads.misses > 0);
	blk_free(blk);
	stop();
}

static void an_open_error_says_why(void)
{
	struct cache_image_options options = {
		.name = "none",
		.address = "/nonexistent/image",
	};
	struct opened o = {.opening.done = on_opened, .res = 1};

	start(64 * MIB);
	for (int i = 0; i < 2; i++) {
		o.res = 1;
		cache_open(cache, &options, &o.opening);
		while (o.res == 1)
			assert(loop_turn(loop) == 0);
		assert(o.res == -ENOENT && !o.handle);
	}
	stop();
}

int main(void)
{
	log_setup("cache_test", LOG_LEVEL_ERROR);
	assert(mkdtemp(dir));
	(void)snprintf(address, sizeof(address), "%s/image", dir);
	srand(7);
	for (uint64_t i = 0; i < SIZE; i++)
		bytes[i] = (uint8_t)rand();
	write_image();
	assert(loop_new(&loop, NULL) == 0);
	assert(workers_new(loop, 2, &workers, NULL) == 0);

	boots_the_second_time_from_the_segment();
	reads_a_page_once_for_many_clones();
	stays_right_when_the_cache_is_tiny();
	reads_back_what_ram_gave_up();
	a_damaged_file_tier_costs_only_time();
	ends_every_read_when_the_store_fails();
	reads_the_image_when_the_segment_fails();
	never_serves_a_damaged_pair();
	forgets_an_image_that_was_replaced();
	an_open_error_says_why();

	workers_free(workers);
	loop_free(loop);
	remove_boot_files();
	(void)unlink(address);
	(void)rmdir(dir);
	return 0;
}
