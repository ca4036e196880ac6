/* SPDX-License-Identifier: Apache-2.0 */
/*
 * map_fmt.h - the files of a boot: the map's bytes, the segment's header, and
 * the names of both
 *
 * Pure: bytes in, struct out, and back; doc/boot-format.md has every byte. The
 * files may come from anyone who can write to the store, so the decoders check
 * all that the rest of Roost relies on, and need no more memory than a small
 * multiple of the file's length.
 */
#ifndef BOOT_MAP_FMT_H
#define BOOT_MAP_FMT_H

#include <stddef.h>
#include <stdint.h>

struct boot_map;
struct why;

#define MAP_FMT_VERSION	    1u
#define MAP_FMT_HEADER	    256u /* bytes */
#define SEGMENT_FMT_VERSION 1u
#define SEGMENT_FMT_HEADER  4096u /* bytes; the first extent comes after it */
#define SEGMENT_FMT_ALIGN   4096u /* of extents, so that O_DIRECT reads them */

/* Most bytes of a map: of one with every limit reached. */
#define MAP_FMT_MAX (40u << 20)

/**
 * map_fmt_decode() - check a map's bytes and make a struct of them
 * @bytes, @len: the file; what follows the length that its header tells is
 *		ignored, since a store may round sizes up
 * @ret:	on success boot_map_free() it; untouched on failure
 *
 * Return: 0; -EBADMSG, and @why says what is wrong with it; -ENOMEM.
 */
int map_fmt_decode(const void *bytes, size_t len, struct boot_map **ret,
		   struct why *why) __attribute__((warn_unused_result));

/**
 * map_fmt_encode() - the bytes of a map that has its segment
 * @ret_bytes, @ret_len: on success the file; free() it
 *
 * Return: 0; -EINVAL if @map breaks an invariant (our bug); -ENOMEM.
 */
int map_fmt_encode(const struct boot_map *map, void **ret_bytes,
		   size_t *ret_len) __attribute__((warn_unused_result));

/** segment_fmt_encode() - the header of the segment that belongs to @map */
void segment_fmt_encode(const struct boot_map *map,
			uint8_t header[static SEGMENT_FMT_HEADER]);

/**
 * segment_fmt_check() - is this the header of the segment of @map?
 *
 * Return: 0; -EBADMSG, and @why says what is wrong with it.
 */
int segment_fmt_check(const struct boot_map *map, const void *bytes, size_t len,
		      struct why *why) __attribute__((warn_unused_result));

/**
 * boot_map_name() - the name of an image's map file: IMAGE.bootmap
 * @image:	path or name of the image
 *
 * Return: free() it; NULL without memory.
 */
char *boot_map_name(const char *image);

/** boot_segment_name() - likewise its segment: IMAGE.bootseg-SEGMENT_ID */
char *boot_segment_name(const char *image, uint64_t segment_id);

#endif
