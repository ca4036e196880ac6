/* SPDX-License-Identifier: Apache-2.0 */
/*
 * extent_codec.h - a segment's extent as it is stored, and back
 *
 * Pure functions without state: call them on any thread, best on a worker, as
 * compressing takes milliseconds.
 */
#ifndef BOOT_EXTENT_CODEC_H
#define BOOT_EXTENT_CODEC_H

#include <stddef.h>
#include <stdint.h>

#include "boot/map.h"

/* zstd's level; 0: store plain */
#define EXTENT_LEVEL_DEFAULT 1
#define EXTENT_LEVEL_MAX     3

/**
 * extent_pack() - make what is stored of an extent's blocks
 * @raw, @raw_len: the blocks one after another, at most BOOT_EXTENT_BYTES
 * @level:	0 to EXTENT_LEVEL_MAX
 * @out:	room for @raw_len bytes, filled with extent->stored of them
 * @extent:	stored, crc and codec are set; its offset is the caller's to set
 *
 * Kept plain unless compression saves at least an eighth: less would not pay
 * for unpacking. Cannot fail: without memory it is stored plain.
 */
void extent_pack(const void *raw, size_t raw_len, int level, void *out,
		 struct boot_extent *extent);

/**
 * extent_unpack() - check what is stored, and get the blocks back
 * @extent:	from a map that was checked
 * @stored, @stored_len: what the segment file holds there, hostile
 * @raw, @raw_len: filled with exactly so many bytes; its content is undefined
 *		after a failure
 *
 * The checksum is looked at before a byte is unpacked. For BOOT_PLAIN @raw may
 * be @stored: then nothing is copied.
 *
 * Return: 0; -EBADMSG if it is not what was packed; -ENOMEM.
 */
int extent_unpack(const struct boot_extent *extent, const void *stored,
		  size_t stored_len, void *raw, size_t raw_len)
	__attribute__((warn_unused_result));

#endif
