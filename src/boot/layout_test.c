/* SPDX-License-Identifier: Apache-2.0 */
/* layout_test.c - boots are merged, cut into batches, and never unlearned */
#undef NDEBUG
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "boot/layout.h"
#include "boot/map_check.h"
#include "boot/map_sample.h"

static const struct boot_identity identity = {
	.size = 400000ull * BOOT_BLOCK - 1000,
	.fingerprint = 7,
	.version = "etag:x",
};

/* As the daemon does once the segment is written, so that it can be checked */
static void check(struct boot_map *map)
{
	const char *wrong = "not checked";
	uint64_t offset = 4096;

	assert(map->segment_id == 0);
	map->segment_id = 1;
	for (uint32_t i = 0; i < map->nextents; i++) {
		uint32_t raw = boot_map_extent_blocks(map, i) * BOOT_BLOCK;

		assert(!map->extents[i].stored && !map->extents[i].offset);
		map->extents[i].offset = offset;
		map->extents[i].stored = raw;
		offset += raw;
	}
	map->segment_size = offset;
	assert(map_check(map, &wrong) == 0);
	assert(!wrong);
}

/* Merge one more boot into *@map, which is replaced. */
static void boot(struct boot_map **map, const struct recorder_touch *touches,
		 uint32_t count)
{
	struct boot_map *next = NULL;

	assert(boot_layout(&identity, *map, touches, count, &next) == 0);
	check(next);
	boot_map_free(*map);
	*map = next;
}

/* A stretch of blocks read one after another, a millisecond each. */
static uint32_t stretch(struct recorder_touch *touches, uint32_t n,
			uint32_t first, uint32_t count, uint32_t at_ms)
{
	for (uint32_t i = 0; i < count; i++, n++)
		touches[n] = (struct recorder_touch){first + i, at_ms + i};
	return n;
}

enum where { GONE, MAIN, TAIL };

static enum where where(const struct boot_map *map, uint32_t block)
{
	uint32_t rank = 0;

	if (!boot_map_find(map, block, &rank))
		return GONE;
	for (uint32_t i = 0; i < map->nbatches; i++)
		if (rank - map->batches[i].rank < map->batches[i].nblocks)
			return map->batches[i].is_tail ? TAIL : MAIN;
	abort();
}

static void a_batch_is_an_extent_in_order_of_time(void)
{
	static struct recorder_touch touches[10000];
	struct boot_map *map = NULL;
	uint32_t n = 0;

	n = stretch(touches, n, 5000, 200, 0);
	n = stretch(touches, n, 1000, 40, 2000);
	n = stretch(touches, n, 100, 16, 4000);
	n = stretch(touches, n, 20000, 600, 8000); /* 256, 256, 88 */
	boot(&map, touches, n);
	assert(map->boots == 1 && map->nblocks == n);
	assert(map->identity.size == identity.size);
	assert(!strcmp(map->identity.version, "etag:x"));
	assert(map->nbatches == 4 && map->nextents == 4 && map->nruns == 6);
	assert(map->batches[0].nblocks == 256 && map->batches[0].start_ms == 0);
	assert(map->batches[0].nruns == 3);
	assert(map->runs[0].first == 100 && map->runs[1].first == 1000);
	assert(map->batches[1].start_ms == 8000);
	assert(map->batches[2].start_ms == 8256);
	assert(map->batches[3].start_ms == 8512);
	assert(map->batches[3].nblocks == 88);
	boot_map_free(map);
}

static void a_large_set_has_larger_batches(void)
{
	uint32_t n = 300000;
	struct recorder_touch *touches = calloc(n, sizeof(*touches));
	struct boot_map *map = NULL;

	assert(touches);
	for (uint32_t i = 0; i < n; i++)
		touches[i] = (struct recorder_touch){i, i};
	boot(&map, touches, n);
	assert(map->nbatches == 391); /* of 768 blocks */
	boot_map_free(map);
	free(touches);
}

/* Block 10 + i is read by those boots whose bit is set in reads[i]. */
static void keeps_what_most_boots_read(void)
{
	static const struct {
		uint8_t reads[10]; /* of each boot, the first first */
		enum where at_end;
	} blocks[] = {
		{{1, 1, 1, 1, 1, 1, 1, 1, 1, 1}, MAIN},
		{{0, 0, 1, 1, 1, 1, 1, 1, 1, 0}, MAIN}, /* 7 of 8 */
		{{1, 1, 0, 1, 1, 1, 1, 1, 1, 0}, TAIL}, /* 6 of 8 */
		{{0, 0, 0, 0, 0, 0, 0, 0, 1, 1}, TAIL}, /* 2 of 8 */
		{{0, 0, 1, 1, 0, 0, 0, 0, 0, 0}, TAIL}, /* 2 of 8 */
		{{1, 1, 1, 0, 0, 0, 0, 0, 0, 0}, GONE}, /* 1 of 8 */
		{{1, 1, 0, 0, 0, 0, 0, 0, 0, 0}, GONE}, /* 0 of 8 */
		{{0, 0, 0, 0, 0, 0, 0, 0, 0, 1}, TAIL}, /* new */
		{{0, 0, 0, 0, 0, 0, 0, 0, 1, 0}, GONE}, /* was new, once */
	};
	struct boot_map *map = NULL;

	for (unsigned b = 0; b < 10; b++) {
		struct recorder_touch touches[ARRAY_SIZE(blocks)];
		uint32_t n = 0;

		for (unsigned i = 0; i < ARRAY_SIZE(blocks); i++)
			if (blocks[i].reads[b])
				n = stretch(touches, n, 10 + 2 * i, 1, i);
		boot(&map, touches, n);
		assert(map->boots == b + 1);
	}
	for (unsigned i = 0; i < ARRAY_SIZE(blocks); i++)
		assert(where(map, 10 + 2 * i) == blocks[i].at_end);
	assert(map->seen[0] == 0xff);
	boot_map_free(map);
}

static void the_second_boot_of_the_same_changes_nothing(void)
{
	static struct recorder_touch touches[5000];
	struct boot_map *map = NULL;
	uint32_t n = 0, blocks[100], again[100];

	n = stretch(touches, n, 9000, 3000, 0);
	n = stretch(touches, n, 100, 300, 9000);
	boot(&map, touches, n);
	boot_map_blocks(map, 2000, 100, blocks);
	boot(&map, touches, n);
	boot_map_blocks(map, 2000, 100, again);
	assert(map->boots == 2 && map->nblocks == n && map->nbatches == 13);
	assert(!memcmp(blocks, again, sizeof(blocks)));
	assert(map->seen[0] == 3 && !map->batches[12].is_tail);
	boot_map_free(map);
}

/*
 * Blocks that most boots read but this one did not stay where their company
 * is, though this boot was ten times as fast.
 */
static void a_block_not_read_keeps_its_place(void)
{
	static struct recorder_touch touches[5000];
	struct boot_map *map = NULL;
	uint32_t n, rank = 0;

	for (int i = 0; i < 7; i++) {
		n = stretch(touches, 0, 50000, 256, 0);
		n = stretch(touches, n, 30000, 256, 50000);
		n = stretch(touches, n, 10000, 256, 100000);
		boot(&map, touches, n);
	}
	assert(map->nbatches == 3);
	n = stretch(touches, 0, 50000, 256, 0);
	n = stretch(touches, n, 30000, 128, 5000);
	n = stretch(touches, n, 10000, 256, 10000);
	boot(&map, touches, n);
	assert(map->nbatches == 3 && map->nblocks == 3 * 256);
	assert(boot_map_find(map, 30200, &rank));
	assert(rank == 256 + 200 && where(map, 30200) == MAIN);
	assert(map->batches[1].start_ms == 5000);
	boot_map_free(map);
}

static void a_boot_cut_short_is_told_and_does_no_harm(void)
{
	static struct recorder_touch touches[5000];
	struct boot_map *map = NULL;
	uint32_t n = stretch(touches, 0, 1000, 4000, 0);

	assert(!boot_layout_is_partial(NULL, touches, 10));
	boot(&map, touches, n);
	assert(boot_layout_is_partial(map, NULL, 0));
	assert(boot_layout_is_partial(map, touches, 1999));
	assert(!boot_layout_is_partial(map, touches, 2000));
	/* Merged all the same, nothing is forgotten. */
	boot(&map, touches, 500);
	assert(map->nblocks == 4000);
	assert(where(map, 1100) == MAIN && where(map, 4900) == TAIL);
	boot_map_free(map);
}

static void nothing_is_no_map(void)
{
	struct recorder_touch touch = {.block = 400000, .at_ms = 0};
	struct boot_map *map = NULL;

	assert(boot_layout(&identity, NULL, NULL, 0, &map) == -ENODATA);
	/* Past the image's end; its last block, which is not whole, is in. */
	assert(boot_layout(&identity, NULL, &touch, 1, &map) == -ENODATA);
	assert(!map);
	touch.block--;
	boot(&map, &touch, 1);
	assert(map->nblocks == 1 && map->nextents == 1);
	boot_map_free(map);
}

/* Random boots, random order: always a valid map of all that was read. */
static void every_layout_is_a_valid_map(uint64_t seed)
{
	static struct recorder_touch touches[20000];
	struct boot_map *map = NULL;

	for (int b = 0; b < 12; b++) {
		uint32_t n = 0, at = 0, base = 0;

		while (n < 15000) {
			uint32_t len = 1 + sample_random(&seed, 500);

			base += 1 + sample_random(&seed, 2000);
			if (sample_random(&seed, 10) == 0)
				continue;
			n = stretch(touches, n, base, len, at);
			base += len;
			at += len + sample_random(&seed, 2) * 400;
		}
		boot(&map, touches, n);
		for (uint32_t i = 0; i < n; i++)
			assert(where(map, touches[i].block) != GONE);
	}
	boot_map_free(map);
}

int main(void)
{
	a_batch_is_an_extent_in_order_of_time();
	a_large_set_has_larger_batches();
	keeps_what_most_boots_read();
	the_second_boot_of_the_same_changes_nothing();
	a_block_not_read_keeps_its_place();
	a_boot_cut_short_is_told_and_does_no_harm();
	nothing_is_no_map();
	for (uint64_t seed = 1; seed < 6; seed++)
		every_layout_is_a_valid_map(seed);
	return 0;
}
