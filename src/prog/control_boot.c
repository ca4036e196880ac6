/* SPDX-License-Identifier: Apache-2.0 */
/* control_boot.c - requests about boots, and the metrics */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/why.h"
#include "boot/map.h"
#include "boot/map_fmt.h"
#include "cache/cache.h"
#include "prog/blkd.h"
#include "prog/blkd_disk.h"
#include "prog/blkd_metrics.h"
#include "prog/control.h"
#include "prog/control_ops.h"

/* ---- boot-ls ---- */

static void tell(void *arg, const struct cache_image_stats *s)
{
	const struct boot_map *map = s->map;

	(void)json_array_append_new(
		arg,
		json_pack(
			"{s:s, s:s, s:i, s:I, s:I, s:I, s:I, s:I, s:I, s:f, "
			"s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:b, s:b, s:b, "
			"s:s*, s:I, s:I}",
			"name", s->name, "address", s->address, "handles",
			(int)s->handles, "reads", (json_int_t)s->reads.reads,
			"read_bytes", (json_int_t)s->reads.bytes, "hits",
			(json_int_t)s->reads.hits, "waits",
			(json_int_t)s->reads.waits, "misses",
			(json_int_t)s->reads.misses, "errors",
			(json_int_t)s->reads.errors, "blocked_s",
			(double)s->reads.blocked_ns / 1e9, "demand_requests",
			(json_int_t)s->demand_requests, "demand_bytes",
			(json_int_t)s->demand_bytes, "prefetch_requests",
			(json_int_t)s->prefetch_requests, "prefetch_bytes",
			(json_int_t)s->prefetch_bytes, "prefetched_bytes",
			(json_int_t)(s->prefetched_pages * BOOT_BLOCK),
			"used_bytes", (json_int_t)(s->used_pages * BOOT_BLOCK),
			"late_bytes", (json_int_t)(s->late_pages * BOOT_BLOCK),
			"is_prefetching", s->is_prefetching, "is_recording",
			s->is_recording, "is_saving", s->is_saving, "boot_end",
			s->boot_end, "map_blocks",
			(json_int_t)(map ? map->nblocks : 0), "map_boots",
			(json_int_t)(map ? map->boots : 0)));
}

/* Where maps are, for those who read or drop the files themselves. */
static json_t *map_files(struct blkd *blkd)
{
	json_t *files = json_array();
	struct list *at, *next;

	list_for_each(at, next, &blkd->disks)
	{
		struct disk *disk = container_of(at, struct disk, list);
		char *name = disk->stack.boot.dir
				     ? boot_map_name(disk->stack.boot.name)
				     : NULL;

		if (name && disk->state == DISK_SERVING)
			(void)json_array_append_new(
				files,
				json_pack("{s:s, s:s, s:s*, s:s, s:s}", "disk",
					  disk->spec.name, "address",
					  disk->spec.file, "image",
					  disk->spec.image, "dir",
					  disk->stack.boot.dir, "map", name));
		free(name);
	}
	return files;
}

void op_boot_ls(struct control_conn *conn, const json_t *request)
{
	struct blkd *blkd = control_blkd(conn);
	json_t *images = json_array();

	(void)request;
	if (images)
		cache_each(blkd->cache, tell, images);
	control_answer(conn, json_pack("{s:o, s:o}", "images", images, "maps",
				       map_files(blkd)));
}

/* ---- boot-mark-done ---- */

void op_boot_mark_done(struct control_conn *conn, const json_t *request)
{
	struct blkd *blkd = control_blkd(conn);
	const char *name = NULL;
	struct disk *disk;
	struct why w = {0};
	int err = request_text(request, "name", &name, &w);

	disk = err ? NULL : disk_find(blkd, name);
	if (!err && !disk) {
		(void)why(&w, 0, "there is no disk '%.64s'", name);
		err = -ENOENT;
	}
	if (!err && !disk->stack.is_cached) {
		(void)why(&w, 0,
			  "disk '%s' is not cached, so its boots are not "
			  "learned: add it with cache=on",
			  name);
		err = -EOPNOTSUPP;
	}
	if (!err && (disk->use != DISK_OPEN || !disk->stack.handle)) {
		(void)why(&w, 0, "disk '%s' is not in use: nothing boots",
			  name);
		err = -EAGAIN;
	}
	if (err) {
		control_fail(conn, err, &w);
		return;
	}
	cache_mark_booted(disk->stack.handle);
	control_answer(conn, NULL);
}

/* ---- metrics ---- */

void op_metrics(struct control_conn *conn, const json_t *request)
{
	size_t len = 0;
	char *text = metrics_text(control_blkd(conn), &len);

	(void)request;
	if (!text) {
		control_fail(conn, -ENOMEM, NULL);
		return;
	}
	control_answer(conn, json_pack("{s:s#}", "text", text, (int)len));
	free(text);
}
