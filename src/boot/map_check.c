/* SPDX-License-Identifier: Apache-2.0 */
/*
 * map_check.c - are the invariants of a boot workload map true?
 *
 * Each check returns NULL or what is wrong, and trusts the ones before it.
 */
#include "boot/map_check.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "boot/map.h"
#include "boot/map_fmt.h"

static uint64_t image_blocks(const struct boot_map *map)
{
	return div_up(map->identity.size, BOOT_BLOCK);
}

const char *map_check_counts(const struct boot_map *map)
{
	if (!map->identity.size || image_blocks(map) > 1ull << 32)
		return "size of the image";
	if (!map->segment_id)
		return "no segment";
	if (!map->boots)
		return "no boots";
	if (!map->nblocks || map->nblocks > BOOT_BLOCKS_MAX ||
	    map->nblocks > image_blocks(map))
		return "number of blocks";
	if (!map->nbatches || map->nbatches > BOOT_BATCHES_MAX)
		return "number of batches";
	if (map->nruns < map->nbatches || map->nruns > map->nblocks)
		return "number of runs";
	if (map->nextents != div_up(map->nblocks, BOOT_EXTENT_BLOCKS))
		return "number of extents";
	if (map->segment_size < SEGMENT_FMT_HEADER ||
	    map->segment_size % SEGMENT_FMT_ALIGN ||
	    map->segment_size > SEGMENT_FMT_HEADER + (uint64_t)map->nextents *
							     BOOT_EXTENT_BYTES)
		return "size of the segment";
	if (!memchr(map->identity.version, 0, BOOT_VERSION_MAX))
		return "version of the image has no end";
	return NULL;
}

/* Invariant (1); batches and runs come one after another, all in use. */
static const char *check_batches(const struct boot_map *map)
{
	uint64_t end_of_image = image_blocks(map);
	uint32_t run = 0, rank = 0;
	bool in_tail = false;

	for (uint32_t i = 0; i < map->nbatches; i++) {
		const struct boot_batch *batch = &map->batches[i];
		uint64_t next = 0; /* where the batch's next run may begin */

		if (in_tail && !batch->is_tail)
			return "a main batch after the tail";
		in_tail = batch->is_tail;
		if (batch->first_run != run || batch->rank != rank ||
		    !batch->nruns || batch->nruns > map->nruns - run)
			return "runs of a batch";
		for (; run < batch->first_run + batch->nruns; run++) {
			const struct boot_run *r = &map->runs[run];

			if (r->rank != rank || !r->count ||
			    r->count > map->nblocks - rank)
				return "length of a run";
			if (r->first < next)
				return "runs that do not ascend or that touch";
			if (r->first + (uint64_t)r->count > end_of_image)
				return "a run past the end of the image";
			next = r->first + (uint64_t)r->count + 1;
			rank += r->count;
		}
		if (rank - batch->rank != batch->nblocks)
			return "blocks of a batch";
	}
	return run == map->nruns && rank == map->nblocks ? NULL
							 : "blocks in no batch";
}

static int compare_runs(const void *a, const void *b)
{
	const struct boot_run *x = a, *y = b;

	return (x->first > y->first) - (x->first < y->first);
}

/* Invariant (2). @runs: a copy of the map's, which is put in another order. */
static const char *check_overlap(struct boot_run *runs, uint32_t n)
{
	qsort(runs, n, sizeof(*runs), compare_runs);
	for (uint32_t i = 1; i < n; i++)
		if (runs[i].first <
		    runs[i - 1].first + (uint64_t)runs[i - 1].count)
			return "a block in two batches";
	return NULL;
}

/* Invariant (3), and that an extent can hold what it says it holds. */
static const char *check_extents(const struct boot_map *map)
{
	uint64_t next = SEGMENT_FMT_HEADER;

	for (uint32_t i = 0; i < map->nextents; i++) {
		const struct boot_extent *extent = &map->extents[i];
		uint32_t raw = boot_map_extent_blocks(map, i) * BOOT_BLOCK;

		if (extent->offset % SEGMENT_FMT_ALIGN || extent->offset < next)
			return "place of an extent";
		if (extent->offset > map->segment_size ||
		    extent->stored > map->segment_size - extent->offset)
			return "an extent past the end of the segment";
		if (!extent->stored || extent->stored > raw ||
		    (extent->codec == BOOT_PLAIN && extent->stored != raw))
			return "length of an extent";
		if ((unsigned)extent->codec >= BOOT_CODEC_MAX)
			return "codec of an extent";
		next = extent->offset + extent->stored;
	}
	return NULL;
}

static const char *check_seen(const struct boot_map *map)
{
	unsigned history = (unsigned)min_u64(map->boots, BOOT_HISTORY);

	for (uint32_t i = 0; i < map->nblocks; i++)
		if (!map->seen[i] || map->seen[i] >> history)
			return "boots that a block was seen in";
	return NULL;
}

int map_check(const struct boot_map *map, const char **ret_wrong)
{
	const char *wrong = map_check_counts(map);
	struct boot_run *runs;

	if (!wrong)
		wrong = check_batches(map);
	if (!wrong)
		wrong = check_extents(map);
	if (!wrong)
		wrong = check_seen(map);
	if (!wrong) {
		runs = malloc(map->nruns * sizeof(*runs));
		if (!runs)
			return -ENOMEM;
		memcpy(runs, map->runs, map->nruns * sizeof(*runs));
		wrong = check_overlap(runs, map->nruns);
		free(runs);
	}
	*ret_wrong = wrong;
	return 0;
}
