/* SPDX-License-Identifier: Apache-2.0 */
/*
 * layout.c - merge a boot into what is known, and lay out the next segment
 *
 * Three steps over one array of blocks: join (this boot's reads with the old
 * map's blocks, by number), place (when in the boot does each belong), cut
 * (into batches, and those into runs).
 *
 * A block that this boot did not read has no time of its own, and times of two
 * boots do not compare: the first boot of a slow store takes minutes, the next
 * seconds. So it is placed by its company: where the middle one of those blocks
 * of its old batch came that were read in both.
 */
#include "boot/layout.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/cleanup.h"

#define MAIN_PERCENT 80u
#define TAIL_PERCENT 20u
/*
 * A batch is an extent's worth of first reads, so that extents come in the
 * order in which boot asks. Replayed traces pull an extent forward some 20
 * times with batches of 8 MiB, once at most with these; the map is an eighth
 * larger.
 */
#define BATCH_BLOCKS BOOT_EXTENT_BLOCKS
/* Large sets have larger batches, so that a search stays short. */
#define BATCHES_MOST (BOOT_BATCHES_MAX / 2)
/* A boot that was cut short has read less than this of the main blocks. */
#define PARTIAL_PERCENT 50u

#define NOT_NOW UINT32_MAX /* place of a block until it has one */

struct cand {
	uint32_t block;
	uint32_t place; /* position in the order of this boot's reads */
	uint32_t at_ms;
	uint32_t old_batch; /* NOT_NOW: of this boot only */
	uint8_t seen;
	bool is_tail;
};

static void cleanup_map(struct boot_map **map)
{
	boot_map_free(*map);
}

static int by_block(const void *a, const void *b)
{
	const struct cand *x = a, *y = b;

	return (x->block > y->block) - (x->block < y->block);
}

/* In order of time, main before tail; of one place in order of blocks. */
static int by_place(const void *a, const void *b)
{
	const struct cand *x = a, *y = b;

	if (x->is_tail != y->is_tail)
		return x->is_tail ? 1 : -1;
	if (x->place != y->place)
		return x->place > y->place ? 1 : -1;
	return by_block(a, b);
}

static int by_number(const void *a, const void *b)
{
	const uint32_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static uint32_t main_blocks(const struct boot_map *map)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < map->nbatches; i++)
		if (!map->batches[i].is_tail)
			n += map->batches[i].nblocks;
	return n;
}

bool boot_layout_is_partial(const struct boot_map *old,
			    const struct recorder_touch *touches,
			    uint32_t count)
{
	uint64_t most = old ? main_blocks(old) : 0, read = 0;
	uint32_t rank;

	for (uint32_t i = 0; i < count && old; i++)
		if (boot_map_find(old, touches[i].block, &rank) && rank < most)
			read++;
	return read * 100 < most * PARTIAL_PERCENT;
}

/* The old map's blocks, as if this boot had read none. Return: how many. */
static uint32_t take_old(const struct boot_map *old, struct cand *cands)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < old->nbatches; i++) {
		const struct boot_batch *batch = &old->batches[i];

		for (uint32_t k = 0; k < batch->nruns; k++) {
			const struct boot_run *run =
				&old->runs[batch->first_run + k];

			for (uint32_t j = 0; j < run->count; j++, n++)
				cands[n] = (struct cand){
					.block = run->first + j,
					.place = NOT_NOW,
					.old_batch = i,
					.seen = (uint8_t)(old->seen[n] << 1),
				};
		}
	}
	return n;
}

/*
 * Add what this boot read to the @n old blocks. A block is then there once,
 * however often it was. Return: how many there are.
 */
static uint32_t join(struct cand *cands, uint32_t n,
		     const struct recorder_touch *touches, uint32_t count,
		     uint64_t image_blocks)
{
	uint32_t to = 0;

	for (uint32_t i = 0; i < count; i++)
		if (touches[i].block < image_blocks)
			cands[n++] = (struct cand){
				.block = touches[i].block,
				.place = i,
				.at_ms = touches[i].at_ms,
				.old_batch = NOT_NOW,
				.seen = 1,
			};
	if (n)
		qsort(cands, n, sizeof(*cands), by_block);
	for (uint32_t i = 1; i < n; i++) {
		struct cand *last = &cands[to];

		if (cands[i].block != last->block) {
			cands[++to] = cands[i];
			continue;
		}
		last->seen |= cands[i].seen;
		if (cands[i].old_batch != NOT_NOW)
			last->old_batch = cands[i].old_batch;
		if (cands[i].place < last->place) {
			last->place = cands[i].place;
			last->at_ms = cands[i].at_ms;
		}
	}
	return n ? to + 1 : 0;
}

/* Drop what is rarely read, tell main from tail. Return: how many remain. */
static uint32_t sift(struct cand *cands, uint32_t n, uint32_t boots)
{
	uint32_t history = (uint32_t)min_u64(boots, BOOT_HISTORY), to = 0;

	for (uint32_t i = 0; i < n; i++) {
		uint32_t times = (uint32_t)__builtin_popcount(cands[i].seen);

		/*
		 * What this boot read stays at least until the next, however
		 * rare, or nothing new could ever be learned.
		 */
		if (times * 100 < TAIL_PERCENT * history &&
		    !(cands[i].seen & 1))
			continue;
		cands[i].is_tail = times * 100 < MAIN_PERCENT * history;
		cands[to++] = cands[i];
	}
	return to;
}

/* Give the blocks of old batches that this boot did not read a place. */
static int place(struct cand *cands, uint32_t n, const struct boot_map *old)
{
	CLEANUP(cleanup_free) uint32_t *places = NULL;
	CLEANUP(cleanup_free) uint32_t *first = NULL;
	uint32_t last = 0;

	if (!old)
		return 0;
	/* Bucket the places by batch: counts, sums, fill. */
	places = malloc(n * sizeof(*places));
	first = calloc(old->nbatches + 2, sizeof(*first));
	if (!places || !first)
		return -ENOMEM;
	for (uint32_t i = 0; i < n; i++)
		if (cands[i].old_batch != NOT_NOW && cands[i].place != NOT_NOW)
			first[cands[i].old_batch + 2]++;
	for (uint32_t i = 2; i < old->nbatches + 2; i++)
		first[i] += first[i - 1];
	for (uint32_t i = 0; i < n; i++)
		if (cands[i].old_batch != NOT_NOW && cands[i].place != NOT_NOW)
			places[first[cands[i].old_batch + 1]++] =
				cands[i].place;
	/* Now first[b] is where batch b begins; keep its middle one there. */
	for (uint32_t b = 0; b < old->nbatches; b++) {
		uint32_t begin = first[b], len = first[b + 1] - begin;

		if (len) {
			qsort(places + begin, len, sizeof(*places), by_number);
			last = places[begin + len / 2];
		}
		first[b] = last; /* none in common: with the batch before */
	}
	for (uint32_t i = 0; i < n; i++)
		if (cands[i].place == NOT_NOW)
			cands[i].place = first[cands[i].old_batch];
	return 0;
}

/* Where the batch that begins at @i ends. */
static uint32_t batch_end(const struct cand *cands, uint32_t n, uint32_t i)
{
	uint64_t most = round_up(div_up(n, BATCHES_MOST), BATCH_BLOCKS);
	uint32_t end = i + 1;

	while (end < n && end - i < most &&
	       cands[end].is_tail == cands[i].is_tail)
		end++;
	return end;
}

/* When a batch begins: its first read of this boot; none: @last_ms. */
static uint32_t start_ms(const struct cand *cands, uint32_t n, uint32_t last_ms)
{
	for (uint32_t i = 0; i < n; i++)
		if (cands[i].seen & 1)
			return cands[i].at_ms;
	return last_ms;
}

/* Add a batch of @n blocks, which are sorted in place. */
static void add_batch(struct boot_map *map, struct cand *cands, uint32_t n)
{
	struct boot_batch *batch = &map->batches[map->nbatches];
	uint32_t last_ms = map->nbatches ? batch[-1].start_ms : 0;

	*batch = (struct boot_batch){
		.first_run = map->nruns,
		.rank = map->nblocks,
		.nblocks = n,
		.start_ms = start_ms(cands, n, last_ms),
		.is_tail = cands[0].is_tail,
	};
	map->nbatches++;
	qsort(cands, n, sizeof(*cands), by_block);
	for (uint32_t i = 0; i < n; i++) {
		map->seen[map->nblocks] = cands[i].seen;
		if (i && cands[i].block == cands[i - 1].block + 1)
			map->runs[map->nruns - 1].count++;
		else
			map->runs[map->nruns++] = (struct boot_run){
				.first = cands[i].block,
				.count = 1,
				.rank = map->nblocks,
			};
		map->nblocks++;
	}
	batch->nruns = map->nruns - batch->first_run;
}

static int cut(struct cand *cands, uint32_t n, struct boot_map *map)
{
	struct boot_run *runs;

	qsort(cands, n, sizeof(*cands), by_place);
	n = (uint32_t)min_u64(n, BOOT_BLOCKS_MAX);
	map->nextents = (uint32_t)div_up(n, BOOT_EXTENT_BLOCKS);
	map->runs = calloc(n, sizeof(*map->runs));
	map->batches = calloc(BOOT_BATCHES_MAX, sizeof(*map->batches));
	map->extents = calloc(map->nextents, sizeof(*map->extents));
	map->seen = malloc(n);
	if (!map->runs || !map->batches || !map->extents || !map->seen)
		return -ENOMEM;
	for (uint32_t i = 0, end; i < n; i = end) {
		end = batch_end(cands, n, i);
		add_batch(map, cands + i, end - i);
	}
	/* There were as many as blocks; a failure to shrink is no harm. */
	runs = realloc(map->runs, map->nruns * sizeof(*runs));
	if (runs)
		map->runs = runs;
	return 0;
}

int boot_layout(const struct boot_identity *identity,
		const struct boot_map *old,
		const struct recorder_touch *touches, uint32_t count,
		struct boot_map **ret)
{
	CLEANUP(cleanup_map) struct boot_map *map = NULL;
	CLEANUP(cleanup_free) struct cand *cands = NULL;
	uint64_t most = (uint64_t)count + (old ? old->nblocks : 0);
	uint32_t n = 0;
	int res;

	if (!most)
		return -ENODATA;
	map = calloc(1, sizeof(*map));
	cands = malloc(most * sizeof(*cands));
	if (!map || !cands)
		return -ENOMEM;
	map->identity = *identity;
	map->boots = old ? old->boots : 0;
	map->boots += map->boots < UINT32_MAX;
	if (old)
		n = take_old(old, cands);
	n = join(cands, n, touches, count, div_up(identity->size, BOOT_BLOCK));
	n = sift(cands, n, map->boots);
	if (!n)
		return -ENODATA;
	res = place(cands, n, old);
	if (!res)
		res = cut(cands, n, map);
	if (res)
		return res;
	*ret = take_ptr(&map);
	return 0;
}
