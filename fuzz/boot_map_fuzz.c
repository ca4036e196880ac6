/* SPDX-License-Identifier: Apache-2.0 */
/*
 * boot_map_fuzz.c - the input is a map file; its checksum is made right, or
 * hardly any would get past it
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/crc32c.h"
#include "boot/layout.h"
#include "boot/map.h"
#include "boot/map_fmt.h"
#include "wire/bytes.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Every rank has a block, and that block has the rank. */
static void use(const struct boot_map *map)
{
	uint32_t step = 1 + map->nblocks / 512;

	for (uint32_t i = 0; i < map->nblocks; i += step) {
		uint32_t block = 0, rank = 0;

		boot_map_blocks(map, i, 1, &block);
		assert(block < div_up(map->identity.size, BOOT_BLOCK));
		assert(boot_map_find(map, block, &rank) && rank == i);
	}
}

/* A hostile map may be merged into. */
static void merge(const struct boot_map *map)
{
	struct recorder_touch touches[3] = {{0, 0}, {5, 10}, {6, 4000000000u}};
	struct boot_map *next = NULL;
	int res = boot_layout(&map->identity, map, touches, 3, &next);

	assert(res == 0 || res == -ENODATA);
	if (!res)
		assert(next->nblocks <= map->nblocks + 3);
	boot_map_free(next);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct boot_map *map = NULL;
	uint8_t *bytes = malloc(size ? size : 1);
	void *again = NULL;
	size_t len = 0;

	assert(bytes);
	memcpy(bytes, data, size);
	if (map_fmt_decode(bytes, size, &map, NULL) && size >= 28) {
		uint64_t said = get_le64(bytes + 16);

		if (said < 28 || said > size)
			put_le64(bytes + 16, said = size);
		put_le32(bytes + 24, 0);
		put_le32(bytes + 24, crc32c(0, bytes, said));
		(void)!map_fmt_decode(bytes, size, &map, NULL);
	}
	if (map) {
		use(map);
		merge(map);
		/* There is one way to write a map. */
		assert(!map_fmt_encode(map, &again, &len));
		assert(len <= size && !memcmp(again, bytes, len));
	}
	free(again);
	free(bytes);
	boot_map_free(map);
	return 0;
}
