/* SPDX-License-Identifier: Apache-2.0 */
/* fingerprint_test.c - blocks within the image, in order; a hash that tells */
#undef NDEBUG
#include <assert.h>
#include <string.h>

#include "base/array.h"
#include "boot/fingerprint.h"

static void chooses_blocks_in_order_within_the_image(void)
{
	static const uint64_t sizes[] = {
		0,	 1,	    4095,	 4096,	     4097,
		8192,	 12288,	    20480,	 1 * MIB,    1 * MIB + 4096,
		3 * GIB, 100 * GIB, 16384 * GIB, 1ull << 60, UINT64_MAX,
	};

	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
		uint32_t blocks[FINGERPRINT_BLOCKS];
		uint64_t whole = sizes[i] / 4096;
		uint32_t n = fingerprint_blocks(sizes[i], blocks);

		assert(n <= FINGERPRINT_BLOCKS && n <= whole);
		assert(!whole || (n && blocks[0] == 0));
		for (uint32_t k = 0; k < n; k++) {
			assert(blocks[k] < whole);
			assert(!k || blocks[k] > blocks[k - 1]);
		}
		if (whole && whole <= 1ull << 32)
			assert(blocks[n - 1] == whole - 1);
		if (sizes[i] == 3 * GIB)
			assert(n == FINGERPRINT_BLOCKS);
	}
}

static void tells_contents_and_sizes_apart(void)
{
	uint8_t bytes[8192];
	uint64_t first;

	memset(bytes, 7, sizeof(bytes));
	first = fingerprint(1 * GIB, bytes, sizeof(bytes));
	assert(first == fingerprint(1 * GIB, bytes, sizeof(bytes)));
	assert(first != fingerprint(1 * GIB + 4096, bytes, sizeof(bytes)));
	assert(first != fingerprint(1 * GIB, bytes, sizeof(bytes) - 1));
	bytes[5000] ^= 1;
	assert(first != fingerprint(1 * GIB, bytes, sizeof(bytes)));
}

int main(void)
{
	chooses_blocks_in_order_within_the_image();
	tells_contents_and_sizes_apart();
	return 0;
}
