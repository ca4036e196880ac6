/* SPDX-License-Identifier: Apache-2.0 */
/* extent_codec.c - a segment's extent as it is stored, and back */
#include "boot/extent_codec.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <zstd.h>
#include <zstd_errors.h>

#include "base/crc32c.h"

/* Less saved than 1/8 (12.5 %) is not worth the unpacking. */
#define WORTH(raw_len) ((raw_len) - (raw_len) / 8)

void extent_pack(const void *raw, size_t raw_len, int level, void *out,
		 struct boot_extent *extent)
{
	size_t n = raw_len;

	assert(raw_len && raw_len <= BOOT_EXTENT_BYTES);
	assert(level >= 0 && level <= EXTENT_LEVEL_MAX);
	extent->codec = BOOT_PLAIN;
	if (level) {
		/* Told so little room, zstd fails where it is not worth it. */
		n = ZSTD_compress(out, WORTH(raw_len), raw, raw_len, level);
		if (!ZSTD_isError(n))
			extent->codec = BOOT_ZSTD;
	}
	if (extent->codec == BOOT_PLAIN) {
		n = raw_len;
		memcpy(out, raw, n);
	}
	extent->stored = (uint32_t)n;
	extent->crc = crc32c(0, out, n);
}

static int unpack_zstd(const void *stored, size_t stored_len, void *raw,
		       size_t raw_len)
{
	size_t n;

	/* One frame that says its size, and nothing behind it. */
	if (ZSTD_getFrameContentSize(stored, stored_len) != raw_len ||
	    ZSTD_findFrameCompressedSize(stored, stored_len) != stored_len)
		return -EBADMSG;
	n = ZSTD_decompress(raw, raw_len, stored, stored_len);
	if (ZSTD_isError(n))
		return ZSTD_getErrorCode(n) == ZSTD_error_memory_allocation
			       ? -ENOMEM
			       : -EBADMSG;
	return n == raw_len ? 0 : -EBADMSG;
}

int extent_unpack(const struct boot_extent *extent, const void *stored,
		  size_t stored_len, void *raw, size_t raw_len)
{
	if (stored_len != extent->stored ||
	    crc32c(0, stored, stored_len) != extent->crc)
		return -EBADMSG;
	switch (extent->codec) {
	case BOOT_PLAIN:
		if (stored_len != raw_len)
			return -EBADMSG;
		if (raw != stored)
			memcpy(raw, stored, raw_len);
		return 0;
	case BOOT_ZSTD:
		return unpack_zstd(stored, stored_len, raw, raw_len);
	case BOOT_CODEC_MAX:
		break;
	}
	return -EBADMSG;
}
