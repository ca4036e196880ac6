/* SPDX-License-Identifier: Apache-2.0 */
/*
 * control_grow.c - make a disk larger
 *
 * Its size has been told to doors, so the disk is taken away, grown, and added
 * again; also if growing fails, as it was then.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/why.h"
#include "base/work.h"
#include "prog/blkd.h"
#include "prog/blkd_disk.h"
#include "prog/control.h"
#include "prog/control_ops.h"
#include "prog/disk_spec.h"
#include "prog/refuse.h"
#include "store/qcow2.h"

struct growth {
	struct work work;
	struct control_conn *conn;
	struct disk_spec spec; /* of the disk */
	bool is_kept;
	uint64_t size;
	int err;
	struct why why;
};

static void growth_end(struct growth *growth, int err, const struct why *w)
{
	struct control_conn *conn = growth->conn;
	struct why said = w ? *w : (struct why){0};

	disk_spec_release(&growth->spec);
	free(growth);
	if (err < 0)
		control_fail(conn, err, &said);
	else
		control_answer(conn, NULL);
}

static void added(struct disk *disk, void *owner)
{
	struct growth *growth = owner;

	if (growth->err < 0)
		growth_end(growth, growth->err, &growth->why);
	else
		growth_end(growth, disk->stack.err, &disk->stack.why);
}

static void grow(struct work *work)
{
	struct growth *growth = container_of(work, struct growth, work);

	growth->err =
		qcow2_grow(growth->spec.overlay, growth->size, &growth->why);
}

static void grown(struct work *work)
{
	struct growth *growth = container_of(work, struct growth, work);
	struct why w = {0};
	int err = disk_add(control_blkd(growth->conn), &growth->spec,
			   growth->is_kept, added, growth, NULL, &w);

	if (err < 0)
		growth_end(growth, err, &w);
}

static void removed(struct disk *disk, void *owner)
{
	struct growth *growth = owner;

	growth->work.run = grow;
	growth->work.done = grown;
	work_start(disk->blkd->workers, &growth->work);
}

static int check(struct blkd *blkd, const json_t *request, struct disk **ret,
		 struct why *w)
{
	const char *name = NULL;
	struct disk *disk;
	int err = request_text(request, "name", &name, w);

	if (err < 0)
		return err;
	if (json_integer_value(json_object_get(request, "size")) <= 0)
		return refuse(w, "the request needs a number 'size'");
	disk = disk_find(blkd, name);
	if (!disk || disk->state == DISK_REMOVING) {
		(void)why(w, 0, "there is no disk '%.64s'", name);
		return -ENOENT;
	}
	if (!disk->spec.overlay)
		return refuse(w,
			      "disk '%s' has no overlay of its own: only "
			      "those can grow",
			      name);
	if (disk_clients(disk)) {
		(void)why(w, 0, "disk '%s' is in use: stop its VM first", name);
		return -EBUSY;
	}
	*ret = disk;
	return 0;
}

void op_disk_grow(struct control_conn *conn, const json_t *request)
{
	struct blkd *blkd = control_blkd(conn);
	struct growth *growth = calloc(1, sizeof(*growth));
	struct disk *disk = NULL;
	struct why w = {0};
	json_t *keys = NULL;
	int err = growth ? check(blkd, request, &disk, &w) : -ENOMEM;

	if (!err) {
		keys = disk_spec_to_json(&disk->spec);
		err = keys ? disk_spec_from_json(keys, &growth->spec, &w)
			   : -ENOMEM;
		json_decref(keys);
	}
	if (err) {
		free(growth);
		control_fail(conn, err, &w);
		return;
	}
	growth->conn = conn;
	growth->is_kept = disk->is_kept;
	growth->size =
		(uint64_t)json_integer_value(json_object_get(request, "size"));
	growth->spec.size = 0; /* from now on the overlay says it */
	disk_remove(disk, removed, growth);
}
