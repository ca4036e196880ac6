/* SPDX-License-Identifier: Apache-2.0 */
/* draw_test.c - what people are shown is what the map says */
#undef NDEBUG
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "boot/draw.h"
#include "boot/map.h"
#include "boot/map_sample.h"

#define N 3000u

static struct boot_map *sample(void)
{
	static int owner[N];
	uint64_t seed = 4;

	sample_owners(&seed, owner, N, 4);
	return sample_map(&seed, owner, N, 4);
}

static void sizes_have_one_decimal(void)
{
	static const struct {
		uint64_t bytes;
		const char *text;
	} sizes[] = {
		{0, "0 bytes"},
		{1023, "1023 bytes"},
		{1024, "1.0 KiB"},
		{1536, "1.5 KiB"},
		{MIB - 1, "1.0 MiB"},
		{64 * MIB, "64.0 MiB"},
		{3 * GIB, "3.0 GiB"},
		{2048 * GIB, "2.0 TiB"},
		{UINT64_MAX, "16777216.0 TiB"},
	};
	char text[DRAW_SIZE_MAX];

	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++)
		assert(!strcmp(draw_size(text, sizes[i].bytes), sizes[i].text));
}

static void sums_up(void)
{
	struct boot_map *map = sample();
	struct draw_sum sum = draw_sum(map);
	uint64_t tail = map->batches[3].nblocks, stored = 0;

	assert(sum.raw == map->nblocks * 4096ull);
	assert(sum.tail == tail * 4096 && sum.main == sum.raw - sum.tail);
	for (uint32_t i = 0; i < map->nextents; i++)
		stored += map->extents[i].stored;
	assert(sum.stored == stored && sum.history == 3);
	assert(sum.zstd == (map->nextents + 1) / 2);
	memset(map->seen, 7, map->nblocks);
	map->seen[5] = 3;
	assert(draw_sum(map).always == map->nblocks - 1);
	boot_map_free(map);
}

static void text_has_a_line_per_batch(void)
{
	struct boot_map *map = sample();
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);
	unsigned lines = 0;

	draw_text(map, "debian.img", map->created_s + 7200, out);
	assert(!fclose(out));
	for (size_t i = 0; i < len; i++)
		lines += text[i] == '\n';
	assert(lines == 7 + 2 + map->nbatches);
	assert(strstr(text, "debian.img\n"));
	assert(strstr(text, "fingerprint 1122334455667788, version mtime:17"));
	assert(strstr(text, "00000000feedface"));
	assert(strstr(text, "2023-11-14 22:13:21 UTC, 2 hours ago"));
	free(text);
	/* A clock that went back is no reason for an age of ages. */
	out = open_memstream(&text, &len);
	draw_text(map, "x", 0, out);
	assert(!fclose(out));
	assert(strstr(text, ", 0 seconds ago"));
	free(text);
	boot_map_free(map);
}

static void text_of_many_batches_fits_a_screen(void)
{
	static int owner[N];
	uint64_t seed = 5;
	struct boot_map *map;
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);
	unsigned lines = 0;

	sample_owners(&seed, owner, N, 1000);
	map = sample_map(&seed, owner, N, 1000);
	draw_text(map, "x", 0, out);
	assert(!fclose(out));
	for (size_t i = 0; i < len; i++)
		lines += text[i] == '\n';
	assert(lines <= 9 + 25);
	assert(strstr(text, "  1-42 ") && strstr(text, "  967-999 "));
	assert(strstr(text, "  1000 ") && strstr(text, "tail\n"));
	free(text);
	boot_map_free(map);
}

static void json_says_the_same(void)
{
	struct boot_map *map = sample();
	json_t *json = draw_json(map, "a \"b\"", map->created_s + 5);
	json_t *batches = json_object_get(json, "batches"), *batch;
	size_t i;
	json_int_t blocks = 0;

	assert(json);
	assert(!strcmp(json_string_value(json_object_get(json, "image")),
		       "a \"b\""));
	assert(json_integer_value(json_object_get(json, "age_s")) == 5);
	assert(json_array_size(batches) == map->nbatches);
	json_array_foreach(batches, i, batch)
	{
		blocks += json_integer_value(json_object_get(batch, "blocks"));
		assert(json_is_true(json_object_get(batch, "tail")) ==
		       (i == 3));
	}
	assert(blocks == map->nblocks);
	assert(json_integer_value(json_object_get(
		       json_object_get(json, "segment"), "extents")) ==
	       map->nextents);
	json_decref(json);
	boot_map_free(map);
}

/* Not an XML parser: tags open and close in order, and names are escaped. */
static void is_balanced(const char *text)
{
	int depth = 0;

	for (const char *at = strchr(text, '<'); at; at = strchr(at, '<')) {
		const char *end = strchr(at, '>');

		assert(end);
		if (at[1] == '/')
			depth--;
		else if (end[-1] != '/')
			depth++;
		assert(depth >= 0);
		at = end;
	}
	assert(!depth);
}

static void svg_is_whole_and_of_bounded_size(void)
{
	struct boot_map *map = sample();
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);

	assert(!draw_svg(map, "<a&b>\n", out));
	assert(!fclose(out));
	assert(!strncmp(text, "<svg ", 5) && strstr(text, "</svg>\n"));
	assert(strstr(text, "Boot of &#60;a&#38;b&#62;&#63;<"));
	assert(strstr(text, "batch 4 (tail): "));
	is_balanced(text);
	assert(len < map->nbatches * 1520 * 30);
	free(text);
	boot_map_free(map);
}

static void draws_the_smallest_map(void)
{
	struct boot_run run = {.first = 0, .count = 1, .rank = 0};
	struct boot_batch batch = {.nruns = 1, .nblocks = 1};
	struct boot_extent extent = {.offset = 4096, .stored = 4096};
	uint8_t seen = 1;
	struct boot_map map = {.identity = {.size = 1},
			       .boots = 1,
			       .nblocks = 1,
			       .nruns = 1,
			       .nbatches = 1,
			       .nextents = 1,
			       .runs = &run,
			       .batches = &batch,
			       .extents = &extent,
			       .seen = &seen};
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);

	assert(!draw_svg(&map, "x", out));
	draw_text(&map, "x", 0, out);
	/* And as late and as large as numbers go. */
	batch.start_ms = UINT32_MAX;
	run.first = UINT32_MAX;
	map.identity.size = 1ull << 44;
	assert(!draw_svg(&map, "x", out));
	assert(!fclose(out));
	free(text);
}

int main(void)
{
	sizes_have_one_decimal();
	sums_up();
	text_has_a_line_per_batch();
	text_of_many_batches_fits_a_screen();
	json_says_the_same();
	svg_is_whole_and_of_bounded_size();
	draws_the_smallest_map();
	return 0;
}
