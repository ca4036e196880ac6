/* SPDX-License-Identifier: Apache-2.0 */
/* map_sample.h - for tests: a map made at random, and where its blocks are */
#ifndef BOOT_MAP_SAMPLE_H
#define BOOT_MAP_SAMPLE_H

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "boot/map.h"

/** sample_random() - below @n; the same numbers for the same @seed */
static inline uint32_t sample_random(uint64_t *seed, uint32_t n)
{
	*seed = *seed * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)(*seed >> 33) % n;
}

/**
 * sample_owners() - give blocks to batches, in stretches, each batch some
 * @owner:	filled: for each of @n blocks its batch, or -1
 */
static inline void sample_owners(uint64_t *seed, int *owner, uint32_t n,
				 uint32_t nbatches)
{
	uint32_t i = 0;

	assert(n >= 2 * nbatches);
	while (i < n) {
		uint32_t len = 1 + sample_random(seed, 12);
		int who = (int)sample_random(seed, nbatches + 1) - 1;

		for (; len && i < n; len--)
			owner[i++] = who;
	}
	for (i = 0; i < nbatches; i++)
		owner[2 * i] = (int)i;
}

/** sample_map() - the map with exactly those blocks; extents made up */
static inline struct boot_map *sample_map(uint64_t *seed, const int *owner,
					  uint32_t n, uint32_t nbatches)
{
	struct boot_map *map = calloc(1, sizeof(*map));
	uint64_t offset = 4096;

	assert(map);
	map->identity.size = (uint64_t)n * BOOT_BLOCK - 512;
	map->identity.fingerprint = 0x1122334455667788;
	(void)snprintf(map->identity.version, sizeof(map->identity.version),
		       "mtime:1700000000.123456789");
	map->segment_id = 0xfeedface;
	map->created_s = 1700000001;
	map->boots = 3;
	map->runs = calloc(n, sizeof(*map->runs));
	map->seen = calloc(n, 1);
	map->batches = calloc(nbatches, sizeof(*map->batches));
	map->nbatches = nbatches;
	assert(map->runs && map->seen && map->batches);
	for (uint32_t b = 0; b < nbatches; b++) {
		struct boot_batch *batch = &map->batches[b];
		uint32_t last = UINT32_MAX;

		*batch = (struct boot_batch){
			.first_run = map->nruns,
			.rank = map->nblocks,
			.start_ms = b * 1000,
			.is_tail = b && b == nbatches - 1,
		};
		for (uint32_t i = 0; i < n; i++) {
			if (owner[i] != (int)b)
				continue;
			if (!batch->nruns || last + 1 != i) {
				map->runs[map->nruns++] = (struct boot_run){
					.first = i, .rank = map->nblocks};
				batch->nruns++;
			}
			last = i;
			map->runs[map->nruns - 1].count++;
			map->seen[map->nblocks++] =
				(uint8_t)(1 + sample_random(seed, 7));
			batch->nblocks++;
		}
	}
	map->nextents = (uint32_t)div_up(map->nblocks, BOOT_EXTENT_BLOCKS);
	map->extents = calloc(map->nextents, sizeof(*map->extents));
	assert(map->extents);
	for (uint32_t i = 0; i < map->nextents; i++) {
		uint32_t raw = boot_map_extent_blocks(map, i) * BOOT_BLOCK;

		map->extents[i] = (struct boot_extent){
			.offset = offset,
			.stored = i % 2 ? raw : 1 + sample_random(seed, raw),
			.crc = sample_random(seed, 1u << 31),
			.codec = i % 2 ? BOOT_PLAIN : BOOT_ZSTD,
		};
		offset = round_up(offset + map->extents[i].stored, 4096);
	}
	map->segment_size = offset;
	return map;
}

#endif
