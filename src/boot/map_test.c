/* SPDX-License-Identifier: Apache-2.0 */
/* map_test.c - rank and its inverse, against counting */
#undef NDEBUG
#include <assert.h>
#include <stdlib.h>

#include "boot/map.h"
#include "boot/map_sample.h"

#define N_MAX 3000u

/* Look at every block and every stretch of ranks of one map. */
static void agrees_with_counting(uint64_t seed, uint32_t n, uint32_t nbatches)
{
	static int owner[N_MAX];
	static uint32_t at_rank[N_MAX], blocks[N_MAX];
	struct boot_map *map;
	uint32_t count = 0;

	sample_owners(&seed, owner, n, nbatches);
	map = sample_map(&seed, owner, n, nbatches);
	for (uint32_t b = 0; b < nbatches; b++)
		for (uint32_t i = 0; i < n; i++)
			if (owner[i] == (int)b)
				at_rank[count++] = i;
	assert(map->nblocks == count);

	for (uint32_t i = 0; i < count; i++) {
		uint32_t rank = UINT32_MAX;

		assert(boot_map_find(map, at_rank[i], &rank));
		assert(rank == i);
	}
	for (uint32_t i = 0; i < n + 2; i++) {
		uint32_t rank = 12345;

		if (i < n && owner[i] >= 0)
			continue;
		assert(!boot_map_find(map, i, &rank) && rank == 12345);
	}
	assert(!boot_map_find(map, UINT32_MAX, &count));
	for (uint32_t i = 0; i <= count; i++) {
		uint32_t most = count - i < 40 ? count - i : 40;

		for (uint32_t len = 0; len <= most; len++) {
			blocks[len] = 777;
			boot_map_blocks(map, i, len, blocks);
			assert(!memcmp(blocks, at_rank + i,
				       len * sizeof(*blocks)));
			assert(blocks[len] == 777);
		}
	}
	boot_map_blocks(map, 0, count, blocks);
	assert(!memcmp(blocks, at_rank, count * sizeof(*blocks)));
	boot_map_free(map);
}

static void a_copy_is_its_own(void)
{
	static int owner[500];
	uint64_t seed = 8;
	struct boot_map *map, *copy;
	uint32_t blocks[2], rank = 0;

	sample_owners(&seed, owner, 500, 3);
	map = sample_map(&seed, owner, 500, 3);
	copy = boot_map_copy(map);
	assert(copy && copy->runs != map->runs && copy->seen != map->seen);
	assert(!memcmp(copy->seen, map->seen, map->nblocks));
	assert(copy->nextents == map->nextents);
	boot_map_blocks(map, map->nblocks - 1, 1, &blocks[0]);
	map = boot_map_free(map);
	boot_map_blocks(copy, copy->nblocks - 1, 1, &blocks[1]);
	assert(blocks[0] == blocks[1]);
	assert(boot_map_find(copy, blocks[1], &rank));
	assert(rank == copy->nblocks - 1);
	boot_map_free(copy);
}

static void the_last_extent_holds_the_rest(void)
{
	struct boot_map map = {.nblocks = 2 * BOOT_EXTENT_BLOCKS + 3,
			       .nextents = 3};

	assert(boot_map_extent_blocks(&map, 0) == BOOT_EXTENT_BLOCKS);
	assert(boot_map_extent_blocks(&map, 1) == BOOT_EXTENT_BLOCKS);
	assert(boot_map_extent_blocks(&map, 2) == 3);
}

int main(void)
{
	for (uint64_t seed = 1; seed < 60; seed++)
		agrees_with_counting(seed, 20 + (uint32_t)seed * 20,
				     1 + seed % 7);
	agrees_with_counting(99, N_MAX, 40);
	a_copy_is_its_own();
	the_last_extent_holds_the_rest();
	assert(!boot_map_free(NULL));
	return 0;
}
