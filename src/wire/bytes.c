/* SPDX-License-Identifier: Apache-2.0 */
/* bytes.c - walk through bytes, never past their end */
#include "wire/bytes.h"

const void *bytes_take(struct bytes *b, size_t len)
{
	const uint8_t *at = b->at;

	if (b->is_bad || len > b->left) {
		b->is_bad = true;
		b->left = 0;
		return NULL;
	}
	b->at += len;
	b->left -= len;
	return at;
}

uint8_t bytes_u8(struct bytes *b)
{
	const uint8_t *at = bytes_take(b, 1);

	return at ? *at : 0;
}

#define BYTES_NEXT(name, type)                                                 \
	type bytes_##name(struct bytes *b)                                     \
	{                                                                      \
		const void *at = bytes_take(b, sizeof(type));                  \
                                                                               \
		return at ? get_##name(at) : 0;                                \
	}

BYTES_NEXT(le16, uint16_t)
BYTES_NEXT(le32, uint32_t)
BYTES_NEXT(le64, uint64_t)
BYTES_NEXT(be16, uint16_t)
BYTES_NEXT(be32, uint32_t)
BYTES_NEXT(be64, uint64_t)
