/* SPDX-License-Identifier: Apache-2.0 */
/* map.c - rank of a block in a boot workload map, and its inverse */
#include "boot/map.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"

struct boot_map *boot_map_free(struct boot_map *map)
{
	if (!map)
		return NULL;
	free(map->runs);
	free(map->batches);
	free(map->extents);
	free(map->seen);
	free(map);
	return NULL;
}

/* The last of @n runs, in order of blocks, that begins at or before @block. */
static const struct boot_run *run_of_block(const struct boot_run *runs,
					   uint32_t n, uint32_t block)
{
	uint32_t low = 0, high = n;

	while (low < high) {
		uint32_t mid = low + (high - low) / 2;

		if (runs[mid].first <= block)
			low = mid + 1;
		else
			high = mid;
	}
	return low ? &runs[low - 1] : NULL;
}

bool boot_map_find(const struct boot_map *map, uint32_t block, uint32_t *ret)
{
	for (uint32_t i = 0; i < map->nbatches; i++) {
		const struct boot_batch *batch = &map->batches[i];
		const struct boot_run *run = run_of_block(
			map->runs + batch->first_run, batch->nruns, block);

		if (!run || block - run->first >= run->count)
			continue;
		*ret = run->rank + (block - run->first);
		return true;
	}
	return false;
}

/* The run that holds @rank: ranks ascend over all runs of all batches. */
static uint32_t run_of_rank(const struct boot_map *map, uint32_t rank)
{
	uint32_t low = 0, high = map->nruns - 1;

	while (low < high) {
		uint32_t mid = low + (high - low + 1) / 2;

		if (map->runs[mid].rank <= rank)
			low = mid;
		else
			high = mid - 1;
	}
	return low;
}

void boot_map_blocks(const struct boot_map *map, uint32_t rank, uint32_t n,
		     uint32_t *blocks)
{
	uint32_t i;

	assert(rank <= map->nblocks && n <= map->nblocks - rank);
	if (!n)
		return;
	for (i = run_of_rank(map, rank); n; i++) {
		const struct boot_run *run = &map->runs[i];
		uint32_t skip = rank - run->rank;

		for (; skip < run->count && n; skip++, rank++, n--)
			*blocks++ = run->first + skip;
	}
}

uint32_t boot_map_extent_blocks(const struct boot_map *map, uint32_t i)
{
	assert(i < map->nextents);
	return (uint32_t)min_u64(BOOT_EXTENT_BLOCKS,
				 map->nblocks - i * BOOT_EXTENT_BLOCKS);
}

static void *memdup(const void *from, size_t len)
{
	void *to = malloc(len ? len : 1);

	return to ? memcpy(to, from, len) : NULL;
}

struct boot_map *boot_map_copy(const struct boot_map *map)
{
	struct boot_map *copy = malloc(sizeof(*copy));

	if (!copy)
		return NULL;
	*copy = *map;
	copy->runs = memdup(map->runs, map->nruns * sizeof(*map->runs));
	copy->batches =
		memdup(map->batches, map->nbatches * sizeof(*map->batches));
	copy->extents =
		memdup(map->extents, map->nextents * sizeof(*map->extents));
	copy->seen = memdup(map->seen, map->nblocks);
	if (!copy->runs || !copy->batches || !copy->extents || !copy->seen)
		return boot_map_free(copy);
	return copy;
}
