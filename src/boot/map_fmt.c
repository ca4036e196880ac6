/* SPDX-License-Identifier: Apache-2.0 */
/*
 * map_fmt.c - the bytes of a boot workload map and of its segment's header
 *
 * Decoding goes in three steps, each of which trusts those before it: the
 * header and the checksum over all; the sections, whose lengths add up to the
 * file's length exactly, so that nothing larger than the file is allocated;
 * the invariants of boot/map.h, by map_check(), which also stands guard before
 * encoding.
 */
#include "boot/map_fmt.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "base/crc32c.h"
#include "base/why.h"
#include "boot/map.h"
#include "boot/map_check.h"
#include "wire/bytes.h"

#define MAP_MAGIC     "ROOSTMAP"
#define SEGMENT_MAGIC "ROOSTSEG"
#define MAGIC_LEN     8u

/* Where things are in a header; both files begin alike. */
enum {
	AT_MAGIC = 0,
	AT_VERSION = 8,
	AT_HEADER_LEN = 12,
	AT_FILE_LEN = 16,
	AT_CRC = 24,
	AT_FLAGS = 28, /* none are known: 0 */
	AT_IMAGE_SIZE = 32,
	AT_FINGERPRINT = 40,
	AT_SEGMENT_ID = 48,
	AT_SEGMENT_SIZE = 56,
	AT_CREATED = 64,
	AT_BOOTS = 72,
	AT_NBLOCKS = 76,
	AT_NRUNS = 80,
	AT_NBATCHES = 84,
	AT_NEXTENTS = 88,
	AT_BLOCK = 92,
	AT_EXTENT_BLOCKS = 96,
	AT_RESERVED = 100, /* zeroes */
	AT_IMAGE_VERSION = 128,
};
static_assert(AT_IMAGE_VERSION + BOOT_VERSION_MAX == MAP_FMT_HEADER,
	      "the version fills the header");

/* Bytes of an entry of each section; the sections come in this order. */
#define BATCH_LEN  16u
#define EXTENT_LEN 24u
#define RUN_LEN	   8u
#define SEEN_LEN   1u

#define BATCH_TAIL (1u << 0) /* flags of a batch */

static void cleanup_map(struct boot_map **map)
{
	boot_map_free(*map);
}

/* CRC-32C of @len bytes in which the field of the CRC is zero. */
static uint32_t self_crc(const uint8_t *at, size_t len)
{
	static const uint8_t zero[4];
	uint32_t crc = crc32c(0, at, AT_CRC);

	crc = crc32c(crc, zero, sizeof(zero));
	return crc32c(crc, at + AT_CRC + sizeof(zero),
		      len - AT_CRC - sizeof(zero));
}

static uint64_t sections_len(const struct boot_map *map)
{
	return (uint64_t)map->nbatches * BATCH_LEN +
	       (uint64_t)map->nextents * EXTENT_LEN +
	       (uint64_t)map->nruns * RUN_LEN +
	       (uint64_t)map->nblocks * SEEN_LEN;
}

/*
 * What the headers of both files have in common, and the checksum. @ret_len is
 * how many bytes are the file's.
 */
static const char *check_header(const uint8_t *at, size_t len,
				const char *magic, uint32_t version,
				uint32_t header_len, uint64_t *ret_len)
{
	uint64_t file_len;

	if (len < MAGIC_LEN || memcmp(at, magic, MAGIC_LEN))
		return "bad magic";
	if (len < AT_FLAGS)
		return "truncated";
	if (get_le32(at + AT_VERSION) > version)
		return "a newer version than is known here";
	file_len = get_le64(at + AT_FILE_LEN);
	if (get_le32(at + AT_VERSION) != version ||
	    get_le32(at + AT_HEADER_LEN) != header_len || file_len < header_len)
		return "bad header";
	if (file_len > len)
		return "truncated";
	if (get_le32(at + AT_CRC) != self_crc(at, file_len))
		return "bad checksum";
	if (get_le32(at + AT_FLAGS))
		return "unknown flags";
	if (get_le32(at + AT_BLOCK) != BOOT_BLOCK ||
	    get_le32(at + AT_EXTENT_BLOCKS) != BOOT_EXTENT_BLOCKS)
		return "other block or extent size";
	*ret_len = file_len;
	return NULL;
}

static bool is_zero(const uint8_t *at, size_t len)
{
	while (len--)
		if (*at++)
			return false;
	return true;
}

/* Is all zero that says nothing? The version has its end. */
static bool is_padded(const uint8_t *at)
{
	size_t n = strlen((const char *)at + AT_IMAGE_VERSION);

	return is_zero(at + AT_RESERVED, AT_IMAGE_VERSION - AT_RESERVED) &&
	       is_zero(at + AT_IMAGE_VERSION + n, BOOT_VERSION_MAX - n);
}

/* The header's fields, of which nothing is checked yet. */
static void decode_header(const uint8_t *at, struct boot_map *map)
{
	map->identity.size = get_le64(at + AT_IMAGE_SIZE);
	map->identity.fingerprint = get_le64(at + AT_FINGERPRINT);
	memcpy(map->identity.version, at + AT_IMAGE_VERSION, BOOT_VERSION_MAX);
	map->segment_id = get_le64(at + AT_SEGMENT_ID);
	map->segment_size = get_le64(at + AT_SEGMENT_SIZE);
	map->created_s = get_le64(at + AT_CREATED);
	map->boots = get_le32(at + AT_BOOTS);
	map->nblocks = get_le32(at + AT_NBLOCKS);
	map->nruns = get_le32(at + AT_NRUNS);
	map->nbatches = get_le32(at + AT_NBATCHES);
	map->nextents = get_le32(at + AT_NEXTENTS);
}

/* The counts are checked, so all of this is within a few file lengths. */
static int alloc_arrays(struct boot_map *map)
{
	map->batches = calloc(map->nbatches, sizeof(*map->batches));
	map->extents = calloc(map->nextents, sizeof(*map->extents));
	map->runs = calloc(map->nruns, sizeof(*map->runs));
	map->seen = malloc(map->nblocks);
	return map->batches && map->extents && map->runs && map->seen ? 0
								      : -ENOMEM;
}

/* The sections. Sums of counts may wrap: map_check() finds them out. */
static const char *decode_sections(struct bytes *b, struct boot_map *map)
{
	uint32_t run = 0, rank = 0;

	for (uint32_t i = 0; i < map->nbatches; i++) {
		struct boot_batch *batch = &map->batches[i];
		uint32_t flags;

		batch->first_run = run;
		batch->rank = rank;
		batch->nruns = bytes_le32(b);
		batch->nblocks = bytes_le32(b);
		batch->start_ms = bytes_le32(b);
		flags = bytes_le32(b);
		if (flags & ~BATCH_TAIL)
			return "unknown flags of a batch";
		batch->is_tail = flags & BATCH_TAIL;
		run += batch->nruns;
		rank += batch->nblocks;
	}
	for (uint32_t i = 0; i < map->nextents; i++) {
		struct boot_extent *extent = &map->extents[i];
		uint32_t codec;

		extent->offset = bytes_le64(b);
		extent->stored = bytes_le32(b);
		extent->crc = bytes_le32(b);
		codec = bytes_le32(b);
		if (codec >= BOOT_CODEC_MAX)
			return "codec of an extent";
		extent->codec = (enum boot_codec)codec;
		if (bytes_le32(b))
			return "reserved field of an extent";
	}
	rank = 0;
	for (uint32_t i = 0; i < map->nruns; i++) {
		map->runs[i].first = bytes_le32(b);
		map->runs[i].count = bytes_le32(b);
		map->runs[i].rank = rank;
		rank += map->runs[i].count;
	}
	memcpy(map->seen, bytes_take(b, map->nblocks), map->nblocks);
	return NULL;
}

/* As map_fmt_decode(), but what is wrong goes to @ret_wrong, with 0. */
static int decode(const uint8_t *at, size_t len, struct boot_map *map,
		  const char **ret_wrong)
{
	uint64_t file_len = 0;
	struct bytes b;
	int res;

	*ret_wrong = check_header(at, len, MAP_MAGIC, MAP_FMT_VERSION,
				  MAP_FMT_HEADER, &file_len);
	if (*ret_wrong)
		return 0;
	decode_header(at, map);
	*ret_wrong = map_check_counts(map);
	if (!*ret_wrong && !is_padded(at))
		*ret_wrong = "reserved fields";
	if (*ret_wrong)
		return 0;
	if (MAP_FMT_HEADER + sections_len(map) != file_len) {
		*ret_wrong = "lengths that do not add up";
		return 0;
	}
	res = alloc_arrays(map);
	if (res)
		return res;
	b = (struct bytes){.at = at + MAP_FMT_HEADER,
			   .left = sections_len(map)};
	*ret_wrong = decode_sections(&b, map);
	if (*ret_wrong)
		return 0;
	return map_check(map, ret_wrong);
}

int map_fmt_decode(const void *bytes, size_t len, struct boot_map **ret,
		   struct why *w)
{
	CLEANUP(cleanup_map) struct boot_map *map = NULL;
	const char *wrong = NULL;
	int res;

	map = calloc(1, sizeof(*map));
	if (!map)
		return why(w, -ENOMEM, "boot map");
	res = decode(bytes, len, map, &wrong);
	if (res)
		return why(w, res, "boot map");
	if (wrong) {
		(void)why(w, 0, "boot map: %s", wrong);
		return -EBADMSG;
	}
	*ret = take_ptr(&map);
	return 0;
}

/* What a map and its segment agree on. */
static void encode_shared(const struct boot_map *map, uint8_t *at)
{
	put_le64(at + AT_IMAGE_SIZE, map->identity.size);
	put_le64(at + AT_SEGMENT_ID, map->segment_id);
	put_le64(at + AT_SEGMENT_SIZE, map->segment_size);
	put_le32(at + AT_NBLOCKS, map->nblocks);
	put_le32(at + AT_NEXTENTS, map->nextents);
	put_le32(at + AT_BLOCK, BOOT_BLOCK);
	put_le32(at + AT_EXTENT_BLOCKS, BOOT_EXTENT_BLOCKS);
}

static void encode_header(const struct boot_map *map, uint8_t *at)
{
	encode_shared(map, at);
	put_le64(at + AT_FINGERPRINT, map->identity.fingerprint);
	put_le64(at + AT_CREATED, map->created_s);
	put_le32(at + AT_BOOTS, map->boots);
	put_le32(at + AT_NRUNS, map->nruns);
	put_le32(at + AT_NBATCHES, map->nbatches);
	/* Up to its 0 only: what is behind it is nobody's. */
	memcpy(at + AT_IMAGE_VERSION, map->identity.version,
	       strlen(map->identity.version));
}

static void encode_sections(const struct boot_map *map, uint8_t *at)
{
	for (uint32_t i = 0; i < map->nbatches; i++, at += BATCH_LEN) {
		const struct boot_batch *batch = &map->batches[i];

		put_le32(at, batch->nruns);
		put_le32(at + 4, batch->nblocks);
		put_le32(at + 8, batch->start_ms);
		put_le32(at + 12, batch->is_tail ? BATCH_TAIL : 0);
	}
	for (uint32_t i = 0; i < map->nextents; i++, at += EXTENT_LEN) {
		const struct boot_extent *extent = &map->extents[i];

		put_le64(at, extent->offset);
		put_le32(at + 8, extent->stored);
		put_le32(at + 12, extent->crc);
		put_le32(at + 16, extent->codec);
		put_le32(at + 20, 0);
	}
	for (uint32_t i = 0; i < map->nruns; i++, at += RUN_LEN) {
		put_le32(at, map->runs[i].first);
		put_le32(at + 4, map->runs[i].count);
	}
	memcpy(at, map->seen, map->nblocks);
}

/* The fields that both headers begin with; the CRC last, over all. */
static void seal(uint8_t *at, uint64_t len, const char *magic, uint32_t version,
		 uint32_t header_len)
{
	memcpy(at + AT_MAGIC, magic, MAGIC_LEN);
	put_le32(at + AT_VERSION, version);
	put_le32(at + AT_HEADER_LEN, header_len);
	put_le64(at + AT_FILE_LEN, len);
	put_le32(at + AT_CRC, self_crc(at, len));
}

int map_fmt_encode(const struct boot_map *map, void **ret_bytes,
		   size_t *ret_len)
{
	const char *wrong = NULL;
	int res = map_check(map, &wrong);
	uint8_t *at;
	size_t len;

	if (res)
		return res;
	if (wrong)
		return -EINVAL;
	len = MAP_FMT_HEADER + sections_len(map);
	at = calloc(1, len);
	if (!at)
		return -ENOMEM;
	encode_header(map, at);
	encode_sections(map, at + MAP_FMT_HEADER);
	seal(at, len, MAP_MAGIC, MAP_FMT_VERSION, MAP_FMT_HEADER);
	*ret_bytes = at;
	*ret_len = len;
	return 0;
}

void segment_fmt_encode(const struct boot_map *map,
			uint8_t header[static SEGMENT_FMT_HEADER])
{
	memset(header, 0, SEGMENT_FMT_HEADER);
	encode_shared(map, header);
	seal(header, SEGMENT_FMT_HEADER, SEGMENT_MAGIC, SEGMENT_FMT_VERSION,
	     SEGMENT_FMT_HEADER);
}

int segment_fmt_check(const struct boot_map *map, const void *bytes, size_t len,
		      struct why *w)
{
	uint8_t want[SEGMENT_FMT_HEADER];
	uint64_t file_len = 0;
	const char *wrong =
		check_header(bytes, len, SEGMENT_MAGIC, SEGMENT_FMT_VERSION,
			     SEGMENT_FMT_HEADER, &file_len);

	/* A segment belongs to one map, so its header has one right form. */
	if (!wrong) {
		segment_fmt_encode(map, want);
		if (file_len != SEGMENT_FMT_HEADER ||
		    memcmp(bytes, want, sizeof(want)) != 0)
			wrong = "belongs to another map";
	}
	if (!wrong)
		return 0;
	(void)why(w, 0, "boot segment: %s", wrong);
	return -EBADMSG;
}

char *boot_map_name(const char *image)
{
	char *name;

	return asprintf(&name, "%s.bootmap", image) < 0 ? NULL : name;
}

char *boot_segment_name(const char *image, uint64_t segment_id)
{
	char *name;

	return asprintf(&name, "%s.bootseg-%016" PRIx64, image, segment_id) < 0
		       ? NULL
		       : name;
}
