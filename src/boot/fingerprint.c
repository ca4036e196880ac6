/* SPDX-License-Identifier: Apache-2.0 */
/* fingerprint.c - a few blocks that tell two images apart */
#include "boot/fingerprint.h"

#include <xxhash.h>

#define BLOCK 4096u
/* Where partition tables of today put their first file system. */
#define AT_1_MIB   256u
#define AT_128_MIB 32768u

uint32_t fingerprint_blocks(uint64_t size, uint32_t blocks[FINGERPRINT_BLOCKS])
{
	uint64_t n = size / BLOCK;
	uint64_t want[FINGERPRINT_BLOCKS] = {
		0, 1, AT_1_MIB, AT_128_MIB, n / 4, n / 4 * 2, n / 4 * 3, n - 1,
	};
	uint32_t count = 0;

	for (unsigned i = 0; i < FINGERPRINT_BLOCKS; i++) {
		uint32_t block = (uint32_t)want[i], at = count;

		if (want[i] >= n || want[i] > UINT32_MAX)
			continue;
		/* Insert in order, unless it is there. */
		while (at && blocks[at - 1] > block)
			at--;
		if (at && blocks[at - 1] == block)
			continue;
		for (uint32_t k = count++; k > at; k--)
			blocks[k] = blocks[k - 1];
		blocks[at] = block;
	}
	return count;
}

uint64_t fingerprint(uint64_t size, const void *bytes, uint64_t len)
{
	return XXH3_64bits_withSeed(bytes, len, size);
}
