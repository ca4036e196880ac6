/* SPDX-License-Identifier: Apache-2.0 */
/*
 * boot_extent_fuzz.c - the input is a codec, a number of blocks, and what an
 * extent of so many holds; and it is something to pack
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"
#include "boot/extent_codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void unpack(enum boot_codec codec, const uint8_t *stored, size_t len,
		   size_t raw_len)
{
	struct boot_extent extent = {
		.stored = (uint32_t)len,
		.crc = crc32c(0, stored, len),
		.codec = codec,
	};
	uint8_t *raw = malloc(raw_len ? raw_len : 1);
	int res;

	assert(raw);
	res = extent_unpack(&extent, stored, len, raw, raw_len);
	assert(res == 0 || res == -EBADMSG || res == -ENOMEM);
	extent.crc ^= 1;
	assert(extent_unpack(&extent, stored, len, raw, raw_len) == -EBADMSG);
	free(raw);
}

static void pack(const uint8_t *raw, size_t len, int level)
{
	struct boot_extent extent = {0};
	uint8_t *out = malloc(len), *back = malloc(len);

	assert(out && back);
	extent_pack(raw, len, level, out, &extent);
	assert(extent.stored && extent.stored <= len);
	assert(!extent_unpack(&extent, out, extent.stored, back, len));
	assert(!memcmp(back, raw, len));
	free(out);
	free(back);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 3 || size > BOOT_EXTENT_BYTES)
		return 0;
	unpack((enum boot_codec)(data[0] % (BOOT_CODEC_MAX + 1)), data + 3,
	       size - 3, (size_t)(data[1] + 1) * BOOT_BLOCK);
	/* And of a length that is no whole number of blocks. */
	unpack(BOOT_ZSTD, data + 3, size - 3, data[1] * 16u);
	pack(data, size, data[2] % (EXTENT_LEVEL_MAX + 1));
	return 0;
}
