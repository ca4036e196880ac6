/* SPDX-License-Identifier: Apache-2.0 */
/* control_image.c - requests about stores and the golden images in them */
#include <errno.h>
#include <string.h>

#include "base/list.h"
#include "base/why.h"
#include "prog/blkd.h"
#include "prog/blkd_disk.h"
#include "prog/control.h"
#include "prog/control_ops.h"
#include "prog/disk_spec.h"
#include "prog/registry.h"

/* Add an object of @name and @address; @store may be NULL. */
static void add(struct control_conn *conn, enum registry_kind kind,
		const json_t *request, const char *what)
{
	struct blkd *blkd = control_blkd(conn);
	const char *name = NULL, *address = NULL;
	const char *store =
		json_string_value(json_object_get(request, "store"));
	struct why w = {0};
	json_t *object = NULL;
	int err = request_text(request, "name", &name, &w);

	if (!err)
		err = request_text(request, "address", &address, &w);
	if (!err)
		err = disk_name_check(name, &w);
	if (!err && registry_find(blkd->registry, kind, name)) {
		(void)why(&w, 0, "there is %s '%s' already", what, name);
		err = -EEXIST;
	}
	if (!err && strlen(address) > DISK_ADDRESS_MAX)
		err = -ENAMETOOLONG;
	if (!err) {
		object = json_pack("{s:s, s:s, s:s*}", "name", name, "address",
				   address, "store", store);
		err = object ? registry_put(blkd->registry, kind, object)
			     : -ENOMEM;
	}
	if (err < 0)
		control_fail(conn, err, &w);
	else
		save_and_answer(conn);
}

static void list(struct control_conn *conn, enum registry_kind kind,
		 const char *key)
{
	struct blkd *blkd = control_blkd(conn);

	control_answer(conn, json_pack("{s:O}", key,
				       registry_list(blkd->registry, kind)));
}

void op_store_add(struct control_conn *conn, const json_t *request)
{
	add(conn, REGISTRY_STORES, request, "a store");
}

void op_store_ls(struct control_conn *conn, const json_t *request)
{
	(void)request;
	list(conn, REGISTRY_STORES, "stores");
}

void op_image_add(struct control_conn *conn, const json_t *request)
{
	add(conn, REGISTRY_IMAGES, request, "an image");
}

void op_image_ls(struct control_conn *conn, const json_t *request)
{
	(void)request;
	list(conn, REGISTRY_IMAGES, "images");
}

/* The name of something that stands on @name, or NULL. */
static const char *user_of(struct blkd *blkd, enum registry_kind kind,
			   const char *name)
{
	struct list *at, *next;
	json_t *image;
	size_t i;

	if (kind == REGISTRY_STORES) {
		json_array_foreach(
			registry_list(blkd->registry, REGISTRY_IMAGES), i,
			image)
		{
			const char *store = json_string_value(
				json_object_get(image, "store"));

			if (store && !strcmp(store, name))
				return json_string_value(
					json_object_get(image, "name"));
		}
		return NULL;
	}
	list_for_each(at, next, &blkd->disks)
	{
		struct disk *disk = container_of(at, struct disk, list);

		if (disk->spec.image && !strcmp(disk->spec.image, name))
			return disk->spec.name;
	}
	return NULL;
}

static void rm(struct control_conn *conn, enum registry_kind kind,
	       const json_t *request, const char *what, const char *user_what)
{
	struct blkd *blkd = control_blkd(conn);
	const char *name = NULL, *user;
	struct why w = {0};
	int err = request_text(request, "name", &name, &w);

	if (!err && !registry_find(blkd->registry, kind, name)) {
		(void)why(&w, 0, "there is no %s '%.64s'", what, name);
		err = -ENOENT;
	}
	user = err ? NULL : user_of(blkd, kind, name);
	if (user) {
		(void)why(&w, 0, "%s '%s' is in use by %s '%s'", what, name,
			  user_what, user);
		err = -EBUSY;
	}
	if (err < 0) {
		control_fail(conn, err, &w);
		return;
	}
	registry_drop(blkd->registry, kind, name);
	save_and_answer(conn);
}

void op_store_rm(struct control_conn *conn, const json_t *request)
{
	rm(conn, REGISTRY_STORES, request, "store", "image");
}

void op_image_rm(struct control_conn *conn, const json_t *request)
{
	rm(conn, REGISTRY_IMAGES, request, "image", "disk");
}
