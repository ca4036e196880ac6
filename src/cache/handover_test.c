/* SPDX-License-Identifier: Apache-2.0 */
/*
 * handover_test.c - a cache goes on where another ended, or begins empty: but
 * no damaged description makes it crash
 */
#undef NDEBUG
#include "cache/handover.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/array.h"
#include "base/blk.h"
#include "base/crc32c.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/work.h"
#include "cache/cache.h"
#include "store/store.h"
#include "wire/bytes.h"

/* Not a whole number of pages, so that the last one is a part. */
#define SIZE (3 * MIB + 1000)
#define RAM  (8 * MIB)

/* Where fields are: see handover.h. */
#define HEADER_LEN 40
#define IMAGE_LEN  (16 + 128 + 4)
#define SLOT_LEN   16

static struct loop *loop;
static struct workers *workers;
static struct cache *cache;
static char dir[] = "/tmp/roost-handover-test-XXXXXX";
static char address[2][128];
static uint8_t bytes[SIZE];

static int open_here(struct loop *on, const char *what,
		     char version[static BOOT_VERSION_MAX], struct blk **ret,
		     struct why *why)
{
	struct store_version v;
	int err = store_open(on, what, 0, &v, ret, why);

	if (!err)
		memcpy(version, v.text, BOOT_VERSION_MAX);
	return err;
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

	(void)why;
	o->res = res;
	o->handle = handle;
}

static struct blk *open_image(int i, bool is_resumed)
{
	struct cache_image_options options = {
		.name = i ? "other" : "image",
		.address = address[i],
		.boot_dir = dir,
	};
	struct opened o = {
		.opening = {.done = on_opened, .is_resumed = is_resumed},
		.res = 1,
	};

	cache_open(cache, &options, &o.opening);
	while (o.res == 1)
		assert(loop_turn(loop) == 0);
	assert(o.res == 0);
	return o.handle;
}

struct io {
	struct blk_req req;
	int res; /* 1: not yet */
};

static void on_io(struct blk_req *req, int res)
{
	container_of(req, struct io, req)->res = res;
}

static void read_at(struct blk *blk, uint64_t offset, uint64_t len)
{
	struct iovec iov = {malloc(len), len};
	struct io io = {
		.req = {.op = BLK_READ,
			.offset = offset,
			.len = len,
			.iov = &iov,
			.niov = 1,
			.done = on_io},
		.res = 1,
	};

	memset(iov.iov_base, 0xee, len);
	blk_submit(blk, &io.req);
	while (io.res == 1)
		assert(loop_turn(loop) == 0);
	assert(io.res == 0);
	assert(!memcmp(iov.iov_base, bytes + offset, len));
	free(iov.iov_base);
}

static void keep(void *arg, const struct cache_image_stats *stats)
{
	struct cache_image_stats *all = arg;

	all[!strcmp(stats->address, address[1])] = *stats;
}

static struct cache_image_stats stats(int i)
{
	struct cache_image_stats all[2] = {0};

	cache_each(cache, keep, all);
	return all[i];
}

static void write_file(const char *path, const void *at, size_t len)
{
	FILE *file = fopen(path, "w");

	assert(file && fwrite(at, 1, len, file) == len && fclose(file) == 0);
}

/* A state of two images, as a stopped daemon has it. */
static uint8_t state[256 * KIB];
static size_t state_len;
static int memory = -1;

static void read_some(struct blk *blk)
{
	read_at(blk, 0, 200 * KIB);
	read_at(blk, MIB + 4096, 8192);
	read_at(blk, SIZE - 10, 10);
}

static void save(void)
{
	int fd = -1;

	stop();
	assert(cache_save_state(cache, &memory, &fd, NULL) == 0);
	state_len = (size_t)pread(fd, state, sizeof(state), 0);
	assert(state_len > HEADER_LEN && state_len < sizeof(state));
	close(fd);
	cache = cache_free(cache);
}

static void make(void)
{
	start(RAM);
	for (int i = 0; i < 2; i++) {
		struct blk *blk = open_image(i, true);

		read_some(blk);
		blk_free(blk);
	}
	save();
}

static int load(void)
{
	int fd = fcntl(memory, F_DUPFD_CLOEXEC, 0);
	int err = cache_load_state(cache, fd, state, state_len, NULL);

	if (err < 0)
		close(fd);
	return err;
}

static void what_was_cached_is_read_from_memory(void)
{
	uint64_t used;

	make();
	start(RAM);
	assert(load() == 0);
	used = cache_totals(cache).used_bytes;
	assert(used == 2 * (4 + 1 + 1) * 64 * KIB);
	for (int i = 0; i < 2; i++) {
		struct blk *blk = open_image(i, true);
		uint64_t asked = stats(i).demand_requests;

		assert(asked == 7); /* the fingerprint */
		read_some(blk);
		assert(stats(i).demand_requests == asked);
		assert(stats(i).reads.hits == 3);
		assert(!strcmp(stats(i).name, i ? "other" : "image"));
		read_at(blk, 2 * MIB, 4096); /* and all else as ever */
		assert(stats(i).demand_requests > asked);
		blk_free(blk);
	}
	/* It can be handed on. */
	close(memory);
	save();
	start(RAM);
	assert(load() == 0);
	assert(cache_totals(cache).used_bytes > used);
	stop();
	cache = cache_free(cache);
	close(memory);
}

static void an_image_that_has_changed_is_read_anew(void)
{
	struct blk *blk;

	make();
	bytes[5] ^= 1;
	write_file(address[0], bytes, SIZE);
	start(RAM);
	assert(load() == 0);
	blk = open_image(0, true);
	read_some(blk);
	assert(stats(0).reads.misses == 3);
	blk_free(blk);
	write_file(address[1], bytes, SIZE);
	stop();
	cache = cache_free(cache);
	close(memory);
}

static void a_smaller_cache_keeps_what_fits(void)
{
	struct blk *blk;

	make();
	start(16 * 64 * KIB);
	assert(load() == 0);
	assert(cache_totals(cache).used_bytes == 12 * 64 * KIB);
	for (uint64_t at = 0; at + 64 * KIB < SIZE; at += 64 * KIB) {
		blk = open_image(0, true);
		read_at(blk, at, 64 * KIB);
		blk_free(blk);
	}
	stop();
	cache = cache_free(cache);
	close(memory);
}

static void a_slot_behind_the_end_is_dropped(void)
{
	size_t slots;

	make();
	slots = state_len - 12 * SLOT_LEN;
	put_le32(state + slots, RAM / (64 * KIB)); /* the last there is */
	put_le32(state + 16, 0);
	put_le32(state + 16, crc32c(0, state, state_len));
	start(16 * 64 * KIB);
	assert(load() == 0);
	assert(cache_totals(cache).used_bytes == 11 * 64 * KIB);
	stop();
	cache = cache_free(cache);
	close(memory);
}

static void a_guest_that_comes_back_is_no_boot(void)
{
	struct blk *blk, *other;

	start(RAM);
	blk = open_image(0, true);
	assert(!stats(0).is_recording);
	other = open_image(0, false);
	assert(stats(0).is_recording);
	cache_drop_records(cache);
	assert(!stats(0).is_recording);
	read_some(other);
	blk_free(blk);
	blk_free(other);
	stop();
	cache = cache_free(cache);
}

/* A cache that refused has nothing, and works. */
static void is_refused(const char *what)
{
	struct blk *blk;

	start(RAM);
	if (load() != -EBADMSG) {
		fprintf(stderr, "taken in: %s\n", what);
		abort();
	}
	assert(cache_totals(cache).used_bytes == 0);
	assert(!stats(0).address && !stats(1).address);
	blk = open_image(0, true);
	read_at(blk, 0, 4096);
	assert(stats(0).reads.misses == 1);
	blk_free(blk);
	stop();
	cache = cache_free(cache);
}

/* Change @n bytes and make the checksum right; then undo that. */
static void damage(const char *what, size_t at, const void *to, size_t n)
{
	uint8_t was[256];

	assert(n <= sizeof(was) && at + n <= state_len);
	memcpy(was, state + at, n);
	memcpy(state + at, to, n);
	put_le32(state + 16, 0);
	put_le32(state + 16, crc32c(0, state, state_len));
	is_refused(what);
	memcpy(state + at, was, n);
	put_le32(state + 16, 0);
	put_le32(state + 16, crc32c(0, state, state_len));
}

static void damage32(const char *what, size_t at, uint32_t to)
{
	uint8_t le[4];

	put_le32(le, to);
	damage(what, at, le, sizeof(le));
}

static void refuses_each_damaged_field(void)
{
	size_t name = HEADER_LEN + IMAGE_LEN;
	size_t image2, slots, slot2;
	uint8_t text[256];

	make();
	image2 = name + strlen("image") + strlen(address[0]);
	slots = image2 + IMAGE_LEN + strlen("other") + strlen(address[1]);
	slot2 = slots + SLOT_LEN;
	assert(state_len == slots + 12 * SLOT_LEN);

	damage("magic", 0, "ROOSTCA2", 8);
	damage32("length", 8, (uint32_t)state_len - 1);
	damage32("length", 8, (uint32_t)state_len + 1);
	damage32("high half of the length", 12, 1);
	damage32("bytes of a slot", 20, 4096);
	damage32("bytes of a page", 24, 512);
	damage32("slots there are", 28, 16);
	damage32("slots there are", 28, UINT32_MAX);
	damage32("no images", 32, 0);
	damage32("too many images", 32, UINT32_MAX);
	damage32("one image more", 32, 3);
	damage32("one slot less", 36, 11);
	damage32("one slot more", 36, 13);
	damage32("too many slots", 36, UINT32_MAX);
	memset(text, 0, 8);
	damage("image of size 0", HEADER_LEN, text, 8);
	memset(text, 0xff, sizeof(text));
	damage("image of a size that overflows", HEADER_LEN, text, 8);
	text[7] = 0x7f;
	damage("image of a huge size", HEADER_LEN, text, 8);
	damage32("an image smaller than its slots", HEADER_LEN, 100000);
	damage("version without an end", HEADER_LEN + 16, text, 128);
	damage("no name", name - 4, "\0\0", 2);
	damage("a long name", name - 4, "\xff\xff", 2);
	damage("no address", name - 2, "\0\0", 2);
	damage("a long address", name - 2, "\xff\xff", 2);
	damage("a name with a 0", name, "", 1);
	damage("the same image twice", image2 + IMAGE_LEN + strlen("other"),
	       address[0], strlen(address[0]));
	damage32("slot 0", slots, 0);
	damage32("a slot that is not there", slots, RAM / (64 * KIB) + 1);
	damage32("slot of a high number", slots, UINT32_MAX);
	damage("a slot twice", slot2, state + slots, 4);
	damage32("an image that is not there", slots + 4, 2);
	damage32("a block that is not there", slots + 8, SIZE / (64 * KIB) + 1);
	damage32("a block of a high number", slots + 8, UINT32_MAX);
	damage("a block twice", slot2 + 4, state + slots + 4, 8);
	damage("no valid page", slots + 12, "\0\0", 2);
	damage("an unknown flag", slots + 14, "\4", 1);
	damage("reads", slots + 15, "\4", 1);
	/* The last block of the image has one page. */
	damage32("valid pages behind the end", slots + 8, SIZE / (64 * KIB));

	state[slots] ^= 1; /* and the checksum is that of before */
	is_refused("a flipped bit");
	state[slots] ^= 1;
	for (size_t len = 0; len < state_len; len += len < 64 ? 1 : 37) {
		size_t whole = state_len;

		state_len = len;
		is_refused("a part");
		state_len = whole;
	}
	start(RAM);
	assert(load() == 0); /* as it was it is right */
	stop();
	cache = cache_free(cache);

	assert(ftruncate(memory, RAM - 4096) == 0);
	is_refused("memory that is too short");
	close(memory);
	memory = open("/dev/null", O_RDWR | O_CLOEXEC);
	is_refused("no memory at all");
	close(memory);
}

int main(void)
{
	char command[256];

	log_setup("handover_test", LOG_LEVEL_ERROR);
	assert(mkdtemp(dir));
	srandom(3);
	for (size_t i = 0; i < SIZE; i++)
		bytes[i] = (uint8_t)random();
	for (int i = 0; i < 2; i++) {
		(void)snprintf(address[i], sizeof(address[i]), "%s/image%d",
			       dir, i);
		write_file(address[i], bytes, SIZE);
	}
	if (loop_new(&loop, NULL) < 0) {
		printf("skipped: no io_uring here\n");
		return 77;
	}
	assert(workers_new(loop, 1, &workers, NULL) == 0);
	what_was_cached_is_read_from_memory();
	an_image_that_has_changed_is_read_anew();
	a_smaller_cache_keeps_what_fits();
	a_slot_behind_the_end_is_dropped();
	a_guest_that_comes_back_is_no_boot();
	refuses_each_damaged_field();
	workers_free(workers);
	loop_free(loop);
	(void)snprintf(command, sizeof(command), "rm -r %s", dir);
	assert(system(command) == 0);
	return 0;
}
