/* SPDX-License-Identifier: Apache-2.0 */
/* map_fmt_test.c - maps come back as they were; nothing else is a map */
#undef NDEBUG
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/crc32c.h"
#include "base/why.h"
#include "boot/map.h"
#include "boot/map_fmt.h"
#include "boot/map_sample.h"
#include "wire/bytes.h"

#define N_MAX 4000u

static struct boot_map *sample(uint64_t seed, uint32_t n, uint32_t nbatches)
{
	static int owner[N_MAX];

	sample_owners(&seed, owner, n, nbatches);
	return sample_map(&seed, owner, n, nbatches);
}

static void same(const struct boot_map *a, const struct boot_map *b)
{
	assert(a->identity.size == b->identity.size);
	assert(a->identity.fingerprint == b->identity.fingerprint);
	assert(!strcmp(a->identity.version, b->identity.version));
	assert(a->segment_id == b->segment_id);
	assert(a->segment_size == b->segment_size);
	assert(a->created_s == b->created_s && a->boots == b->boots);
	assert(a->nblocks == b->nblocks && a->nruns == b->nruns);
	assert(a->nbatches == b->nbatches && a->nextents == b->nextents);
	for (uint32_t i = 0; i < a->nruns; i++)
		assert(a->runs[i].first == b->runs[i].first &&
		       a->runs[i].count == b->runs[i].count &&
		       a->runs[i].rank == b->runs[i].rank);
	for (uint32_t i = 0; i < a->nbatches; i++)
		assert(a->batches[i].first_run == b->batches[i].first_run &&
		       a->batches[i].nruns == b->batches[i].nruns &&
		       a->batches[i].rank == b->batches[i].rank &&
		       a->batches[i].nblocks == b->batches[i].nblocks &&
		       a->batches[i].start_ms == b->batches[i].start_ms &&
		       a->batches[i].is_tail == b->batches[i].is_tail);
	for (uint32_t i = 0; i < a->nextents; i++)
		assert(a->extents[i].offset == b->extents[i].offset &&
		       a->extents[i].stored == b->extents[i].stored &&
		       a->extents[i].crc == b->extents[i].crc &&
		       a->extents[i].codec == b->extents[i].codec);
	assert(!memcmp(a->seen, b->seen, a->nblocks));
}

static void comes_back_as_it_was(uint64_t seed, uint32_t n, uint32_t nbatches)
{
	struct boot_map *map = sample(seed, n, nbatches), *back = NULL;
	struct why why = {0};
	uint8_t *padded;
	void *bytes = NULL;
	size_t len = 0;

	assert(map_fmt_encode(map, &bytes, &len) == 0);
	assert(map_fmt_decode(bytes, len, &back, &why) == 0);
	same(map, back);
	back = boot_map_free(back);

	/* A store rounded its size up; what is behind it may be anything. */
	padded = malloc(len + 512);
	assert(padded);
	memcpy(padded, bytes, len);
	memset(padded + len, 0xa5, 512);
	assert(map_fmt_decode(padded, len + 512, &back, NULL) == 0);
	same(map, back);
	free(padded);
	free(bytes);
	boot_map_free(back);
	boot_map_free(map);
}

static void is_refused(const void *bytes, size_t len, const char *text)
{
	struct boot_map *back = NULL;
	struct why why = {0};

	assert(map_fmt_decode(bytes, len, &back, &why) == -EBADMSG);
	assert(!back && !strncmp(why.text, "boot map: ", 10));
	if (text && !strstr(why.text, text)) {
		fprintf(stderr, "%s, not %s\n", why.text, text);
		abort();
	}
}

static void refuses_every_flipped_bit_and_every_cut(void)
{
	struct boot_map *map = sample(5, 300, 3);
	uint8_t *bytes;
	size_t len = 0;

	assert(map_fmt_encode(map, (void **)&bytes, &len) == 0);
	for (size_t i = 0; i < len * 8; i++) {
		bytes[i / 8] ^= (uint8_t)(1u << i % 8);
		is_refused(bytes, len, NULL);
		bytes[i / 8] ^= (uint8_t)(1u << i % 8);
	}
	for (size_t i = 0; i < len; i++) {
		/* Of its own, so that a read past the end is seen. */
		uint8_t *copy = malloc(i ? i : 1);

		assert(copy);
		memcpy(copy, bytes, i);
		is_refused(copy, i, i < 8 ? "bad magic" : "truncated");
		free(copy);
	}
	free(bytes);
	boot_map_free(map);
}

/* Put the right checksum on bytes that were changed with intent. */
static void reseal(uint8_t *bytes, size_t len)
{
	put_le32(bytes + 24, 0);
	put_le32(bytes + 24, crc32c(0, bytes, len));
}

static void refuses_what_is_wrong_under_a_right_checksum(void)
{
	struct boot_map *map = sample(7, 2000, 3);
	/* Where the sections begin, as doc/boot-format.md tells. */
	size_t batch = 256, extent = batch + 16 * 3;
	size_t run = extent + 24 * (size_t)map->nextents;
	size_t seen = run + 8 * (size_t)map->nruns;
	uint32_t last_run = map->nruns - 1;
	struct {
		size_t at;
		int len;
		uint64_t value;
		const char *text;
	} wrongs[] = {
		{8, 4, 2, "newer version"},
		{8, 4, 0, "bad header"},
		{12, 4, 255, "bad header"},
		{28, 4, 1, "unknown flags"},
		{92, 4, 512, "block or extent size"},
		{96, 4, 255, "block or extent size"},
		{32, 8, 0, "size of the image"},
		{32, 8, UINT64_MAX, "size of the image"},
		{32, 8, 4096, "number of blocks"},
		{32, 8, map->identity.size - 4096 * 100, "past the end"},
		{48, 8, 0, "no segment"},
		{56, 8, 0, "size of the segment"},
		{56, 8, map->segment_size + 1, "size of the segment"},
		{56, 8, map->segment_size - 4096, "past the end"},
		{56, 8, 1ull << 62, "size of the segment"},
		{72, 4, 0, "no boots"},
		{72, 4, 1, "boots that a block"},
		{76, 4, 0, "number of blocks"},
		{76, 4, UINT32_MAX, "number of blocks"},
		{76, 4, map->nblocks + 1, "add up"},
		{80, 4, 0, "number of runs"},
		{80, 4, map->nruns - 1, "add up"},
		{80, 4, UINT32_MAX, "number of runs"},
		{84, 4, 0, "number of batches"},
		{84, 4, 2, "add up"},
		{84, 4, UINT32_MAX, "number of batches"},
		{88, 4, map->nextents + 1, "number of extents"},
		{100, 4, 1, "reserved"},
		{127, 1, 1, "reserved"},
		{255, 1, 1, "reserved"},
		{batch, 4, 0, "runs of a batch"},
		{batch, 4, UINT32_MAX, "runs of a batch"},
		{batch, 4, map->batches[0].nruns - 1, "a batch"},
		{batch + 4, 4, map->batches[0].nblocks + 1, "a batch"},
		{batch + 12, 4, 2, "unknown flags of a batch"},
		{batch + 12, 4, 1, "after the tail"},
		{extent, 8, 0, "place of an extent"},
		{extent, 8, 4097, "place of an extent"},
		{extent, 8, UINT64_MAX - 4095, "past the end"},
		{extent + 24, 8, 4096, "place of an extent"},
		{extent + 8, 4, 0, "length of an extent"},
		{extent + 8, 4, BOOT_EXTENT_BYTES + 1, "of an extent"},
		{extent + 8, 4, UINT32_MAX, "past the end"},
		{extent + 24 + 16, 4, 2, "codec"},
		{extent + 24 + 8, 4, BOOT_EXTENT_BYTES - 1,
		 "length of an extent"},
		{extent + 20, 4, 1, "reserved field"},
		{run + 4, 4, 0, "length of a run"},
		{run + 4, 4, UINT32_MAX, "length of a run"},
		{run + 8, 4, map->runs[0].first, "do not ascend"},
		{run + 8, 4, map->runs[0].first + map->runs[0].count,
		 "or that touch"},
		{run + 8 * (size_t)last_run, 4, UINT32_MAX, "past the end"},
		{seen, 1, 0, "boots that a block"},
		{seen + map->nblocks - 1, 1, 8, "boots that a block"},
	};
	uint8_t *bytes, *copy;
	size_t len = 0;

	assert(map->nextents >= 3);
	assert(map_fmt_encode(map, (void **)&bytes, &len) == 0);
	assert(seen + map->nblocks == len);
	copy = malloc(len);
	assert(copy);
	for (unsigned i = 0; i < ARRAY_SIZE(wrongs); i++) {
		uint8_t value[8];

		put_le64(value, wrongs[i].value);
		memcpy(copy, bytes, len);
		memcpy(copy + wrongs[i].at, value, (size_t)wrongs[i].len);
		reseal(copy, len);
		is_refused(copy, len, wrongs[i].text);
	}
	/* No end of the version; a length other than the sections'. */
	memcpy(copy, bytes, len);
	memset(copy + 128, 'x', 128);
	reseal(copy, len);
	is_refused(copy, len, "has no end");
	memcpy(copy, bytes, len);
	put_le64(copy + 16, len - 1);
	reseal(copy, len - 1);
	is_refused(copy, len, "add up");
	/* The sum was right all the time. */
	memcpy(copy, bytes, len);
	reseal(copy, len);
	assert(!memcmp(copy, bytes, len));
	free(copy);
	free(bytes);
	boot_map_free(map);
}

static void refuses_a_block_in_two_batches(void)
{
	struct boot_map *map = sample(9, 300, 2);
	struct boot_run *run = &map->runs[map->batches[1].first_run];
	void *bytes = NULL;
	size_t len = 0;

	/* The first block of the second batch, block 2, becomes block 0. */
	assert(run->first == 2 && map->runs[0].first == 0);
	run->first = 0;
	assert(map_fmt_encode(map, &bytes, &len) == -EINVAL);
	assert(!bytes && !len);
	boot_map_free(map);
}

static void a_segment_belongs_to_one_map(void)
{
	struct boot_map *map = sample(1, 2000, 2), *other = sample(2, 2000, 2);
	uint8_t header[SEGMENT_FMT_HEADER];
	struct why why = {0};

	segment_fmt_encode(map, header);
	assert(!segment_fmt_check(map, header, sizeof(header), &why));
	/* A later boot read the same blocks: the segment may stay. */
	map->boots++;
	map->created_s++;
	assert(!segment_fmt_check(map, header, sizeof(header), &why));
	assert(segment_fmt_check(other, header, sizeof(header), &why) ==
	       -EBADMSG);
	assert(!strcmp(why.text, "boot segment: belongs to another map"));
	for (size_t len = 0; len < sizeof(header); len += 7)
		assert(segment_fmt_check(map, header, len, NULL) == -EBADMSG);
	for (size_t i = 0; i < sizeof(header); i++) {
		header[i] ^= 0x10;
		assert(segment_fmt_check(map, header, sizeof(header), NULL) ==
		       -EBADMSG);
		header[i] ^= 0x10;
	}
	boot_map_free(map);
	boot_map_free(other);
}

static void names_the_files(void)
{
	char *map = boot_map_name("/srv/a.img");
	char *segment = boot_segment_name("/srv/a.img", 0x1234abcd);

	assert(!strcmp(map, "/srv/a.img.bootmap"));
	assert(!strcmp(segment, "/srv/a.img.bootseg-000000001234abcd"));
	free(map);
	free(segment);
}

int main(void)
{
	for (uint64_t seed = 1; seed < 40; seed++)
		comes_back_as_it_was(seed, 10 + (uint32_t)seed * 100,
				     1 + seed % 5);
	refuses_every_flipped_bit_and_every_cut();
	refuses_what_is_wrong_under_a_right_checksum();
	refuses_a_block_in_two_batches();
	a_segment_belongs_to_one_map();
	names_the_files();
	return 0;
}
