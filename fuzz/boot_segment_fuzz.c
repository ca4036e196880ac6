/* SPDX-License-Identifier: Apache-2.0 */
/* boot_segment_fuzz.c - the input is a segment's header, of one known map */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"
#include "boot/map.h"
#include "boot/map_fmt.h"
#include "wire/bytes.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct boot_map map = {
		.identity.size = 1u << 30,
		.segment_id = 0x1122334455667788,
		.segment_size = 4096 * 12,
		.nblocks = 10,
		.nextents = 1,
	};
	uint8_t *bytes = malloc(size ? size : 1);
	uint8_t want[SEGMENT_FMT_HEADER];

	assert(bytes);
	memcpy(bytes, data, size);
	if (segment_fmt_check(&map, bytes, size, NULL) && size >= 28) {
		uint64_t said = get_le64(bytes + 16);

		if (said < 28 || said > size)
			put_le64(bytes + 16, said = size);
		put_le32(bytes + 24, 0);
		put_le32(bytes + 24, crc32c(0, bytes, said));
	}
	if (!segment_fmt_check(&map, bytes, size, NULL)) {
		segment_fmt_encode(&map, want);
		assert(size >= sizeof(want));
		assert(!memcmp(want, bytes, sizeof(want)));
	}
	free(bytes);
	return 0;
}
