/* SPDX-License-Identifier: Apache-2.0 */
/* draw_text.c - what a boot workload map says, as text and as JSON */
#include <inttypes.h>
#include <time.h>

#include "base/array.h"
#include "boot/draw.h"
#include "boot/map.h"

#define LINES_MOST 24u /* of batches, and one more where the tail begins */

char *draw_size(char text[static DRAW_SIZE_MAX], uint64_t bytes)
{
	static const char *const units[] = {"bytes", "KiB", "MiB", "GiB",
					    "TiB"};
	double size = (double)bytes;
	unsigned unit = 0;

	/* 1023.95 would be shown as 1024.0 of the smaller unit. */
	for (; size >= 1023.95 && unit + 1 < ARRAY_SIZE(units); unit++)
		size /= 1024;
	(void)snprintf(text, DRAW_SIZE_MAX, "%.*f %s", unit ? 1 : 0, size,
		       units[unit]);
	return text;
}

struct draw_sum draw_sum(const struct boot_map *map)
{
	struct draw_sum sum = {
		.raw = (uint64_t)map->nblocks * BOOT_BLOCK,
		.history = (uint32_t)min_u64(map->boots, BOOT_HISTORY),
	};

	for (uint32_t i = 0; i < map->nbatches; i++)
		if (map->batches[i].is_tail)
			sum.tail +=
				map->batches[i].nblocks * (uint64_t)BOOT_BLOCK;
	sum.main = sum.raw - sum.tail;
	for (uint32_t i = 0; i < map->nextents; i++) {
		sum.stored += map->extents[i].stored;
		sum.zstd += map->extents[i].codec == BOOT_ZSTD;
	}
	for (uint32_t i = 0; i < map->nblocks; i++)
		sum.always += (uint32_t)__builtin_popcount(map->seen[i]) ==
			      sum.history;
	return sum;
}

/* How much of a batch all remembered boots read. */
static uint32_t always_of(const struct boot_map *map,
			  const struct boot_batch *batch, uint32_t history)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < batch->nblocks; i++)
		n += (uint32_t)__builtin_popcount(map->seen[batch->rank + i]) ==
		     history;
	return n;
}

/* "3 days", "2 hours", "5 minutes", "1 second" */
static void put_age(FILE *out, uint64_t age_s)
{
	static const struct {
		uint64_t s;
		const char *name;
	} units[] = {{86400, "day"}, {3600, "hour"}, {60, "minute"}};

	for (unsigned i = 0; i < ARRAY_SIZE(units); i++) {
		uint64_t n = age_s / units[i].s;

		if (!n)
			continue;
		fprintf(out, "%" PRIu64 " %s%s", n, units[i].name,
			n == 1 ? "" : "s");
		return;
	}
	fprintf(out, "%" PRIu64 " second%s", age_s, age_s == 1 ? "" : "s");
}

static void put_written(const struct boot_map *map, uint64_t now_s, FILE *out)
{
	time_t at = (time_t)map->created_s;
	char text[64] = "";
	struct tm tm;

	if (gmtime_r(&at, &tm))
		(void)strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S UTC",
			       &tm);
	fprintf(out, "  written   %s, ", text);
	put_age(out, now_s > map->created_s ? now_s - map->created_s : 0);
	fprintf(out, " ago\n");
}

/* Batches @i to @end - 1 as one line. */
static void put_line(const struct boot_map *map, uint32_t i, uint32_t end,
		     uint32_t history, FILE *out)
{
	uint64_t blocks = 0, runs = 0, always = 0;
	char size[DRAW_SIZE_MAX], name[24];

	if (end - i == 1)
		(void)snprintf(name, sizeof(name), "%" PRIu32, i + 1);
	else
		(void)snprintf(name, sizeof(name), "%" PRIu32 "-%" PRIu32,
			       i + 1, end);
	for (uint32_t k = i; k < end; k++) {
		blocks += map->batches[k].nblocks;
		runs += map->batches[k].nruns;
		always += always_of(map, &map->batches[k], history);
	}
	fprintf(out, "  %9s  %8.1f s  %10s  %6" PRIu64 "       %3.0f %%%s\n",
		name, map->batches[i].start_ms / 1000.0,
		draw_size(size, blocks * BOOT_BLOCK), runs,
		100.0 * (double)always / (double)blocks,
		map->batches[i].is_tail ? "  tail" : "");
}

/* The batches, some of them together where they would fill the screen. */
static void put_batches(const struct boot_map *map, uint32_t history, FILE *out)
{
	uint32_t step = (uint32_t)div_up(map->nbatches, LINES_MOST);

	fprintf(out, "\n    batches   begins at        size    runs  "
		     "read by all\n");
	for (uint32_t i = 0, end; i < map->nbatches; i = end) {
		for (end = i + 1;
		     end < map->nbatches && end - i < step &&
		     map->batches[end].is_tail == map->batches[i].is_tail;)
			end++;
		put_line(map, i, end, history, out);
	}
}

void draw_text(const struct boot_map *map, const char *image, uint64_t now_s,
	       FILE *out)
{
	struct draw_sum sum = draw_sum(map);
	char a[DRAW_SIZE_MAX], b[DRAW_SIZE_MAX];

	fprintf(out, "%s\n", image);
	fprintf(out, "  image     %s, fingerprint %016" PRIx64 "%s%s\n",
		draw_size(a, map->identity.size), map->identity.fingerprint,
		*map->identity.version ? ", version " : "",
		map->identity.version);
	fprintf(out,
		"  boots     %" PRIu32 ", of which %" PRIu32
		" remembered; %.1f %% of the blocks read by all of these\n",
		map->boots, sum.history, 100.0 * sum.always / map->nblocks);
	fprintf(out,
		"  blocks    %" PRIu32 " of 4 KiB: %s in %" PRIu32
		" runs, %.2f %% of the image\n",
		map->nblocks, draw_size(a, sum.raw), map->nruns,
		100.0 * (double)sum.raw / (double)map->identity.size);
	if (sum.tail)
		fprintf(out, "  tail      %s read by some boots only\n",
			draw_size(a, sum.tail));
	fprintf(out,
		"  segment   %016" PRIx64
		": %s stored of %s (%.0f %%), %" PRIu32 " extents, %" PRIu32
		" compressed\n",
		map->segment_id, draw_size(a, sum.stored),
		draw_size(b, sum.raw),
		100.0 * (double)sum.stored / (double)sum.raw, map->nextents,
		sum.zstd);
	put_written(map, now_s, out);
	put_batches(map, sum.history, out);
}

static json_t *json_batches(const struct boot_map *map, uint32_t history)
{
	json_t *list = json_array();

	for (uint32_t i = 0; i < map->nbatches; i++) {
		const struct boot_batch *batch = &map->batches[i];

		/* It takes its item even when it fails, of a NULL list too. */
		if (json_array_append_new(
			    list,
			    json_pack("{s:I,s:I,s:I,s:I,s:b,s:I}", "start_ms",
				      (json_int_t)batch->start_ms, "blocks",
				      (json_int_t)batch->nblocks, "bytes",
				      (json_int_t)batch->nblocks * BOOT_BLOCK,
				      "runs", (json_int_t)batch->nruns, "tail",
				      (int)batch->is_tail, "blocks_read_by_all",
				      (json_int_t)always_of(map, batch,
							    history)))) {
			json_decref(list);
			return NULL;
		}
	}
	return list;
}

json_t *draw_json(const struct boot_map *map, const char *image, uint64_t now_s)
{
	struct draw_sum sum = draw_sum(map);
	uint64_t age_s = now_s > map->created_s ? now_s - map->created_s : 0;
	char id[24], print[24];

	(void)snprintf(id, sizeof(id), "%016" PRIx64, map->segment_id);
	(void)snprintf(print, sizeof(print), "%016" PRIx64,
		       map->identity.fingerprint);
	/* "o" takes what it is given, and fails if that is NULL. */
	return json_pack(
		"{s:s,s:I,s:s,s:s,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,"
		"s:{s:s,s:I,s:I,s:I,s:I},s:o}",
		"image", image, "image_size", (json_int_t)map->identity.size,
		"image_version", map->identity.version, "fingerprint", print,
		"boots", (json_int_t)map->boots, "boots_remembered",
		(json_int_t)sum.history, "block_size", (json_int_t)BOOT_BLOCK,
		"blocks", (json_int_t)map->nblocks, "blocks_read_by_all",
		(json_int_t)sum.always, "runs", (json_int_t)map->nruns, "bytes",
		(json_int_t)sum.raw, "bytes_main", (json_int_t)sum.main,
		"bytes_tail", (json_int_t)sum.tail, "created",
		(json_int_t)map->created_s, "age_s", (json_int_t)age_s,
		"segment", "id", id, "size", (json_int_t)map->segment_size,
		"stored", (json_int_t)sum.stored, "extents",
		(json_int_t)map->nextents, "compressed_extents",
		(json_int_t)sum.zstd, "batches",
		json_batches(map, sum.history));
}
