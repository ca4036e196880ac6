/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bytes.h - numbers in the byte orders of others
 *
 * The get_ and put_ functions take any alignment; the caller has checked that
 * the bytes are there. A parser that walks through bytes of unknown length
 * uses a struct bytes, which checks: past the end it yields zeroes and stays
 * bad, so one look at is_bad at the end serves for all.
 */
#ifndef WIRE_BYTES_H
#define WIRE_BYTES_H

#include <endian.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define BYTES_GET(name, type, swap)                                            \
	static inline type get_##name(const void *at)                          \
	{                                                                      \
		type v;                                                        \
                                                                               \
		memcpy(&v, at, sizeof(v));                                     \
		return swap(v);                                                \
	}
#define BYTES_PUT(name, type, swap)                                            \
	static inline void put_##name(void *at, type v)                        \
	{                                                                      \
		v = swap(v);                                                   \
		memcpy(at, &v, sizeof(v));                                     \
	}

BYTES_GET(be16, uint16_t, be16toh)
BYTES_GET(be32, uint32_t, be32toh)
BYTES_GET(be64, uint64_t, be64toh)
BYTES_GET(le16, uint16_t, le16toh)
BYTES_GET(le32, uint32_t, le32toh)
BYTES_GET(le64, uint64_t, le64toh)
BYTES_PUT(be16, uint16_t, htobe16)
BYTES_PUT(be32, uint32_t, htobe32)
BYTES_PUT(be64, uint64_t, htobe64)
BYTES_PUT(le16, uint16_t, htole16)
BYTES_PUT(le32, uint32_t, htole32)
BYTES_PUT(le64, uint64_t, htole64)

/** struct bytes - what is left to read; borrowed */
struct bytes {
	const uint8_t *at;
	size_t left;
	bool is_bad; /* more was asked for than there was */
};

/**
 * bytes_take() - the next @len bytes
 *
 * Return: where they are, or NULL (and @b is bad from then on).
 */
const void *bytes_take(struct bytes *b, size_t len);

/** bytes_le32() and so on - the next number; 0 if @b is bad */
uint8_t bytes_u8(struct bytes *b);
uint16_t bytes_le16(struct bytes *b);
uint32_t bytes_le32(struct bytes *b);
uint64_t bytes_le64(struct bytes *b);
uint16_t bytes_be16(struct bytes *b);
uint32_t bytes_be32(struct bytes *b);
uint64_t bytes_be64(struct bytes *b);

#endif
