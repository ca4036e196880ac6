/* SPDX-License-Identifier: Apache-2.0 */
/* control_disk.c - requests about disks: add, remove, list */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/blk.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/why.h"
#include "base/work.h"
#include "prog/blkd.h"
#include "prog/blkd_disk.h"
#include "prog/config.h"
#include "prog/control.h"
#include "prog/control_ops.h"
#include "prog/refuse.h"
#include "prog/registry.h"
#include "serve/nbd.h"

/* ---- disk-add ---- */

/* A disk of an image: the image says where the bytes are. */
static int file_of_image(struct blkd *blkd, json_t *keys, struct why *w)
{
	const char *name = json_string_value(json_object_get(keys, "image"));
	json_t *image;

	if (!name || json_object_get(keys, "file"))
		return 0;
	image = registry_find(blkd->registry, REGISTRY_IMAGES, name);
	if (!image) {
		(void)why(w, 0,
			  "there is no image '%.64s': roost image ls shows "
			  "what there is",
			  name);
		return -ENOENT;
	}
	if (json_object_set(keys, "file", json_object_get(image, "address")))
		return -ENOMEM;
	return 0;
}

/* A disk of an image is written somewhere else than to the image. */
static int overlay_of_image(struct blkd *blkd, struct disk_spec *spec,
			    struct why *w)
{
	if (!spec->image || spec->overlay || spec->is_ro)
		return 0;
	if (spec->is_ephemeral)
		return 0;
	if (!blkd->config->overlays)
		return refuse(w, "where should the overlay be? Give overlay=, "
				 "or start roost-blkd with --overlays DIR");
	if (asprintf(&spec->overlay, "%s/%s.qcow2", blkd->config->overlays,
		     spec->name) < 0) {
		spec->overlay = NULL;
		return -ENOMEM;
	}
	return 0;
}

static int spec_of_request(struct blkd *blkd, const json_t *request,
			   struct disk_spec *ret, struct why *w)
{
	json_t *keys = json_copy((json_t *)(uintptr_t)request);
	int err = keys ? file_of_image(blkd, keys, w) : -ENOMEM;

	if (!err)
		err = disk_spec_from_json(keys, ret, w);
	if (!err)
		err = overlay_of_image(blkd, ret, w);
	json_decref(keys);
	return err;
}

static void add_failed(struct disk *disk, void *owner)
{
	control_fail(owner, disk->stack.err, &disk->stack.why);
}

static void add_opened(struct disk *disk, void *owner)
{
	struct control_conn *conn = owner;
	struct blkd *blkd = disk->blkd;
	json_t *keys;

	if (disk->state == DISK_REMOVING) { /* the daemon ends */
		control_fail(conn, -ESHUTDOWN, NULL);
		return;
	}
	keys = disk->stack.err ? NULL : disk_spec_to_json(&disk->spec);
	if (!disk->stack.err &&
	    (!keys || registry_put(blkd->registry, REGISTRY_DISKS, keys) < 0))
		disk->stack.err = -ENOMEM;
	if (disk->stack.err) {
		disk_remove(disk, add_failed, conn);
		return;
	}
	disk->is_kept = true;
	save_and_answer(conn);
}

void op_disk_add(struct control_conn *conn, const json_t *request)
{
	struct blkd *blkd = control_blkd(conn);
	struct disk_spec spec = {0};
	struct why w = {0};
	int err = spec_of_request(blkd, request, &spec, &w);

	if (!err)
		err = disk_add(blkd, &spec, false, add_opened, conn, NULL, &w);
	disk_spec_release(&spec);
	if (err < 0)
		control_fail(conn, err, &w);
}

/* ---- disk-rm ---- */

/**
 * struct removal - a disk on its way out
 * @overlay:	file to delete when it is gone, owned; or NULL
 */
struct removal {
	struct work work;
	struct control_conn *conn;
	char *overlay;
	int err;
};

static void unlink_overlay(struct work *work)
{
	struct removal *removal = container_of(work, struct removal, work);

	if (unlink(removal->overlay) < 0 && errno != ENOENT)
		removal->err = -errno;
}

static void removal_end(struct work *work)
{
	struct removal *removal = container_of(work, struct removal, work);
	struct control_conn *conn = removal->conn;
	struct why w = {0};

	if (removal->err < 0) {
		(void)why(&w, removal->err,
			  "the disk is gone, but its overlay %s",
			  removal->overlay);
		control_fail(conn, removal->err, &w);
	} else {
		save_and_answer(conn);
	}
	free(removal->overlay);
	free(removal);
}

static void on_removed(struct disk *disk, void *owner)
{
	struct removal *removal = owner;

	removal->work.run = unlink_overlay;
	removal->work.done = removal_end;
	if (removal->overlay)
		work_start(disk->blkd->workers, &removal->work);
	else
		removal_end(&removal->work);
}

/* Is the overlay one that disk-add has made, and so is ours to delete? */
static bool is_our_overlay(const struct blkd *blkd, const struct disk *disk)
{
	const char *dir = blkd->config->overlays;
	size_t n = dir ? strlen(dir) : 0;

	return n && disk->spec.overlay &&
	       !strncmp(disk->spec.overlay, dir, n) &&
	       disk->spec.overlay[n] == '/' &&
	       !strchr(disk->spec.overlay + n + 1, '/');
}

void op_disk_rm(struct control_conn *conn, const json_t *request)
{
	struct blkd *blkd = control_blkd(conn);
	struct removal *removal;
	const char *name = NULL;
	struct disk *disk;
	struct why w = {0};
	int err = request_text(request, "name", &name, &w);

	disk = err ? NULL : disk_find(blkd, name);
	if (!err && (!disk || disk->state == DISK_REMOVING)) {
		(void)why(&w, 0, "there is no disk '%.64s'", name);
		err = -ENOENT;
	}
	if (!err && disk_clients(disk) && !request_flag(request, "force")) {
		(void)why(&w, 0,
			  "disk '%s' is in use by %u client%s: stop them, or "
			  "cut them off with --force",
			  name, disk_clients(disk),
			  disk_clients(disk) == 1 ? "" : "s");
		err = -EBUSY;
	}
	removal = err ? NULL : calloc(1, sizeof(*removal));
	if (!err && !removal)
		err = -ENOMEM;
	if (!err && is_our_overlay(blkd, disk) &&
	    !request_flag(request, "keep")) {
		removal->overlay = strdup(disk->spec.overlay);
		err = removal->overlay ? 0 : -ENOMEM;
	}
	if (err) {
		free(removal);
		control_fail(conn, err, &w);
		return;
	}
	removal->conn = conn;
	registry_drop(blkd->registry, REGISTRY_DISKS, name);
	disk_remove(disk, on_removed, removal);
}

/* ---- disk-ls ---- */

static void add_stats(json_t *object, const struct nbd_stats *stats)
{
	const struct {
		const char *key;
		uint64_t value;
	} rows[] = {
		{"reads", stats->reads},
		{"read_bytes", stats->read_bytes},
		{"writes", stats->writes},
		{"written_bytes", stats->written_bytes},
		{"errors", stats->errors},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		(void)json_object_set_new(
			object, rows[i].key,
			json_integer((json_int_t)rows[i].value));
}

json_t *disk_to_json(const struct disk *disk)
{
	json_t *object = disk_spec_to_json(&disk->spec);

	if (!object)
		return NULL;
	(void)json_object_set_new(object, "state",
				  json_string(disk_state_name(disk->state)));
	(void)json_object_set_new(object, "clients",
				  json_integer(disk_clients(disk)));
	(void)json_object_set_new(object, "is_kept",
				  json_boolean(disk->is_kept));
	if (disk->state == DISK_FAILED)
		(void)json_object_set_new(object, "why",
					  json_string(disk->stack.why.text));
	(void)json_object_set_new(object, "use",
				  json_string(disk_use_name(disk->use)));
	if (disk->state == DISK_SERVING) {
		(void)json_object_set_new(
			object, "size",
			json_integer((json_int_t)disk->stack.size));
		add_stats(object, nbd_export_stats(disk->export));
	}
	return object;
}

void op_disk_ls(struct control_conn *conn, const json_t *request)
{
	struct blkd *blkd = control_blkd(conn);
	json_t *disks = json_array();
	struct list *at, *next;

	(void)request;
	list_for_each(at, next, &blkd->disks)
	{
		(void)json_array_append_new(
			disks,
			disk_to_json(container_of(at, struct disk, list)));
	}
	control_answer(conn, json_pack("{s:o}", "disks", disks));
}
