/* SPDX-License-Identifier: Apache-2.0 */
/* crc32c.h - CRC-32C (Castagnoli, RFC 3720 appendix B.4), by ISA-L */
#ifndef BASE_CRC32C_H
#define BASE_CRC32C_H

#include <isa-l/crc.h>
#include <stddef.h>
#include <stdint.h>

/**
 * crc32c() - of @len bytes more
 * @crc:	0 to begin, or the value over the bytes before
 */
static inline uint32_t crc32c(uint32_t crc, const void *buf, size_t len)
{
	const uint8_t *at = buf;

	crc = ~crc;
	while (len) { /* the library counts in int */
		int n = len > (1u << 30) ? 1 << 30 : (int)len;

		/* It reads only; its prototype forgot to say const. */
		crc = crc32_iscsi((unsigned char *)(uintptr_t)at, n, crc);
		at += n;
		len -= (size_t)n;
	}
	return ~crc;
}

#endif
