/* SPDX-License-Identifier: Apache-2.0 */
/*
 * blkd_metrics.c - tables of counters, each a line per image or disk
 *
 * The format wants all lines of one name together, so each table is gone
 * through for each row of its metrics.
 */
#include "prog/blkd_metrics.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/array.h"
#include "base/clock.h"
#include "base/list.h"
#include "boot/map.h"
#include "cache/cache.h"
#include "prog/blkd.h"
#include "prog/blkd_disk.h"
#include "serve/nbd.h"

enum metric_type { COUNTER, GAUGE };

/* A label's value: what would end it is escaped. */
static void put_label(FILE *out, const char *text)
{
	for (; *text; text++) {
		if (*text == '"' || *text == '\\')
			fputc('\\', out);
		if (*text == '\n')
			fputs("\\n", out);
		else
			fputc(*text, out);
	}
}

static void put_head(FILE *out, const char *name, const char *help,
		     enum metric_type type)
{
	(void)fprintf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name,
		      type == COUNTER ? "counter" : "gauge");
}

/* ---- images ---- */

#define IMAGE_VALUE(name, expr)                                                \
	static double image_##name(const struct cache_image_stats *s)          \
	{                                                                      \
		return (double)(expr);                                         \
	}

IMAGE_VALUE(handles, s->handles)
IMAGE_VALUE(reads, s->reads.reads)
IMAGE_VALUE(read_bytes, s->reads.bytes)
IMAGE_VALUE(hits, s->reads.hits)
IMAGE_VALUE(waits, s->reads.waits)
IMAGE_VALUE(misses, s->reads.misses)
IMAGE_VALUE(errors, s->reads.errors)
IMAGE_VALUE(blocked, (double)s->reads.blocked_ns / NS_PER_S)
IMAGE_VALUE(demand_requests, s->demand_requests)
IMAGE_VALUE(demand_bytes, s->demand_bytes)
IMAGE_VALUE(prefetch_requests, s->prefetch_requests)
IMAGE_VALUE(prefetch_bytes, s->prefetch_bytes)
IMAGE_VALUE(prefetched, s->prefetched_pages *(uint64_t)BOOT_BLOCK)
IMAGE_VALUE(used, s->used_pages *(uint64_t)BOOT_BLOCK)
IMAGE_VALUE(late, s->late_pages *(uint64_t)BOOT_BLOCK)
IMAGE_VALUE(jumps, s->prefetch_jumps)
IMAGE_VALUE(prefetch_errors, s->prefetch_errors)
IMAGE_VALUE(prefetching, s->is_prefetching)
IMAGE_VALUE(recording, s->is_recording)
IMAGE_VALUE(saving, s->is_saving)
IMAGE_VALUE(map_bytes, s->map ? s->map->nblocks *(uint64_t)BOOT_BLOCK : 0)
IMAGE_VALUE(map_boots, s->map ? s->map->boots : 0)
IMAGE_VALUE(map_created, s->map ? s->map->created_s : 0)

static const struct {
	const char *name, *help;
	enum metric_type type;
	double (*value)(const struct cache_image_stats *stats);
} image_metrics[] = {
	{"roost_image_handles", "Disks that have the image open.", GAUGE,
	 image_handles},
	{"roost_image_reads_total", "Reads of the image.", COUNTER,
	 image_reads},
	{"roost_image_read_bytes_total", "Bytes of those reads.", COUNTER,
	 image_read_bytes},
	{"roost_image_read_hits_total", "Reads answered from the cache alone.",
	 COUNTER, image_hits},
	{"roost_image_read_waits_total",
	 "Reads that waited for what was on its way already.", COUNTER,
	 image_waits},
	{"roost_image_read_misses_total", "Reads that had to ask the store.",
	 COUNTER, image_misses},
	{"roost_image_read_errors_total", "Reads that failed.", COUNTER,
	 image_errors},
	{"roost_image_read_blocked_seconds_total",
	 "Time that waits and misses took.", COUNTER, image_blocked},
	{"roost_image_store_requests_total",
	 "Requests to the image's store on demand.", COUNTER,
	 image_demand_requests},
	{"roost_image_store_bytes_total", "Bytes of those requests.", COUNTER,
	 image_demand_bytes},
	{"roost_image_prefetch_requests_total",
	 "Requests to the boot segment's store.", COUNTER,
	 image_prefetch_requests},
	{"roost_image_prefetch_store_bytes_total", "Bytes of those requests.",
	 COUNTER, image_prefetch_bytes},
	{"roost_image_prefetched_bytes_total",
	 "Bytes of the image that prefetch brought.", COUNTER,
	 image_prefetched},
	{"roost_image_prefetch_used_bytes_total",
	 "Of those, bytes that have been read since.", COUNTER, image_used},
	{"roost_image_prefetch_late_bytes_total",
	 "Of those, bytes that a read had to wait for.", COUNTER, image_late},
	{"roost_image_prefetch_jumps_total",
	 "Times that a read sent the stream elsewhere.", COUNTER, image_jumps},
	{"roost_image_prefetch_errors_total", "Extents that did not come.",
	 COUNTER, image_prefetch_errors},
	{"roost_image_prefetching", "1 while the boot segment is streamed.",
	 GAUGE, image_prefetching},
	{"roost_image_recording", "1 while a boot is recorded.", GAUGE,
	 image_recording},
	{"roost_image_saving", "1 while a boot segment is written.", GAUGE,
	 image_saving},
	{"roost_image_boot_map_bytes", "Bytes that the boot map names.", GAUGE,
	 image_map_bytes},
	{"roost_image_boot_map_boots", "Boots merged into the boot map.", GAUGE,
	 image_map_boots},
	{"roost_image_boot_map_created_seconds",
	 "When the boot map was written, since 1970.", GAUGE,
	 image_map_created},
};

struct telling {
	FILE *out;
	size_t metric;
};

static void tell_image(void *arg, const struct cache_image_stats *stats)
{
	const struct telling *telling = arg;

	(void)fprintf(telling->out, "%s{image=\"",
		      image_metrics[telling->metric].name);
	put_label(telling->out, stats->name);
	(void)fprintf(telling->out, "\"} %.17g\n",
		      image_metrics[telling->metric].value(stats));
}

/* ---- disks ---- */

static const struct nbd_stats *stats_of(const struct disk *disk)
{
	static const struct nbd_stats none;

	return disk->export ? nbd_export_stats(disk->export) : &none;
}

#define DISK_VALUE(name, expr)                                                 \
	static double disk_##name(const struct disk *d)                        \
	{                                                                      \
		return (double)(expr);                                         \
	}

DISK_VALUE(up, d->state == DISK_SERVING)
DISK_VALUE(size, d->state == DISK_SERVING ? d->stack.size : 0)
DISK_VALUE(clients_now, disk_clients(d))
DISK_VALUE(reads, stats_of(d)->reads)
DISK_VALUE(read_bytes, stats_of(d)->read_bytes)
DISK_VALUE(writes, stats_of(d)->writes)
DISK_VALUE(written_bytes, stats_of(d)->written_bytes)
DISK_VALUE(others, stats_of(d)->others)
DISK_VALUE(errors, stats_of(d)->errors)

static const struct {
	const char *name, *help;
	enum metric_type type;
	double (*value)(const struct disk *disk);
} disk_metrics[] = {
	{"roost_disk_up", "1 if the disk can be used.", GAUGE, disk_up},
	{"roost_disk_size_bytes", "What the guest sees.", GAUGE, disk_size},
	{"roost_disk_clients", "Who has it open now.", GAUGE, disk_clients_now},
	{"roost_disk_reads_total", "Reads over NBD.", COUNTER, disk_reads},
	{"roost_disk_read_bytes_total", "Bytes of those reads.", COUNTER,
	 disk_read_bytes},
	{"roost_disk_writes_total", "Writes over NBD.", COUNTER, disk_writes},
	{"roost_disk_written_bytes_total", "Bytes of those writes.", COUNTER,
	 disk_written_bytes},
	{"roost_disk_others_total",
	 "Flushes, trims, zeroes, cache and status requests over NBD.", COUNTER,
	 disk_others},
	{"roost_disk_errors_total", "NBD requests answered with an error.",
	 COUNTER, disk_errors},
};

static void put_disks(const struct blkd *blkd, FILE *out)
{
	for (size_t i = 0; i < ARRAY_SIZE(disk_metrics); i++) {
		struct list *at, *next;

		put_head(out, disk_metrics[i].name, disk_metrics[i].help,
			 disk_metrics[i].type);
		list_for_each(at, next, &blkd->disks)
		{
			const struct disk *disk =
				container_of(at, struct disk, list);

			(void)fprintf(out, "%s{disk=\"%s\"} %.17g\n",
				      disk_metrics[i].name, disk->spec.name,
				      disk_metrics[i].value(disk));
		}
	}
}

/* ---- the daemon ---- */

static void put_daemon(const struct blkd *blkd, FILE *out)
{
	struct cache_totals totals = cache_totals(blkd->cache);
	const struct {
		const char *name, *help;
		enum metric_type type;
		double value;
	} rows[] = {
		{"roost_uptime_seconds", "Since the daemon started.", GAUGE,
		 (double)(clock_ns() - blkd->start_ns) / NS_PER_S},
		{"roost_nbd_clients", "NBD connections now.", GAUGE,
		 nbd_server_stats(blkd->nbd)->clients},
		{"roost_cache_ram_bytes", "Memory that the cache may take.",
		 GAUGE, (double)totals.ram_bytes},
		{"roost_cache_used_bytes", "Memory that it has taken.", GAUGE,
		 (double)totals.used_bytes},
		{"roost_cache_boot_bytes", "Of that, what boots have read.",
		 GAUGE, (double)totals.boot_bytes},
		{"roost_cache_evictions_total", "Blocks that had to make room.",
		 COUNTER, (double)totals.evictions},
		{"roost_cache_file_bytes", "Size of the cache's file.", GAUGE,
		 (double)totals.tier_bytes},
		{"roost_cache_file_used_bytes", "Of that, what holds blocks.",
		 GAUGE, (double)totals.tier_used_bytes},
		{"roost_cache_file_writes_total",
		 "Blocks of 64 KiB written to it.", COUNTER,
		 (double)totals.tier_writes},
		{"roost_cache_file_dropped_total",
		 "Blocks that came faster than it could write.", COUNTER,
		 (double)totals.tier_dropped},
		{"roost_cache_file_damaged_total",
		 "Reads of it that had a wrong checksum.", COUNTER,
		 (double)totals.tier_damaged},
	};

	put_head(out, "roost_build_info", "Always 1.", GAUGE);
	(void)fprintf(out, "roost_build_info{version=\"%s\"} 1\n",
		      ROOST_VERSION);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		put_head(out, rows[i].name, rows[i].help, rows[i].type);
		(void)fprintf(out, "%s %.17g\n", rows[i].name, rows[i].value);
	}
}

char *metrics_text(const struct blkd *blkd, size_t *ret_len)
{
	char *text = NULL;
	FILE *out = open_memstream(&text, ret_len);

	if (!out)
		return NULL;
	put_daemon(blkd, out);
	put_disks(blkd, out);
	for (size_t i = 0; i < ARRAY_SIZE(image_metrics); i++) {
		struct telling telling = {out, i};

		put_head(out, image_metrics[i].name, image_metrics[i].help,
			 image_metrics[i].type);
		cache_each(blkd->cache, tell_image, &telling);
	}
	if (fclose(out)) {
		free(text);
		return NULL;
	}
	return text;
}
