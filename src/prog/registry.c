/* SPDX-License-Identifier: Apache-2.0 */
/* registry.c - the state file: load it, look in it, replace it */
#include "prog/registry.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/why.h"
#include "base/work.h"
#include "prog/refuse.h"

#define VERSION 1

/**
 * struct registry - root is {"version": 1, "stores": [], ...}
 * @text:	what the worker writes, while @is_busy; owned
 * @riding:	of struct registry_save: served by the write in flight
 * @waiting:	likewise, by the next
 */
struct registry {
	char *path;
	json_t *root;
	struct workers *workers;
	struct work work;
	char *text;
	int err;
	struct why why;
	struct list riding, waiting;
	bool is_busy;
};

static const char *const kind_names[] = {
	[REGISTRY_STORES] = "stores",
	[REGISTRY_IMAGES] = "images",
	[REGISTRY_DISKS] = "disks",
};

static_assert(sizeof(kind_names) / sizeof(kind_names[0]) == REGISTRY_KIND_MAX,
	      "a name for each kind");

static int make_empty(json_t *root)
{
	int err = json_object_set_new(root, "version", json_integer(VERSION));

	for (int i = 0; i < REGISTRY_KIND_MAX; i++)
		if (!json_object_get(root, kind_names[i]))
			err |= json_object_set_new(root, kind_names[i],
						   json_array());
	return err ? -ENOMEM : 0;
}

static int check(json_t *root, const char *path, struct why *w)
{
	if (json_integer_value(json_object_get(root, "version")) != VERSION)
		return why(w, 0, "%s: not of this version of roost", path) -
		       EBADMSG;
	for (int i = 0; i < REGISTRY_KIND_MAX; i++) {
		json_t *list = json_object_get(root, kind_names[i]);
		json_t *object;
		size_t at;

		if (list && !json_is_array(list))
			return why(w, 0, "%s: %s is no list", path,
				   kind_names[i]) -
			       EBADMSG;
		json_array_foreach(list, at, object)
		{
			if (!json_string_value(json_object_get(object, "name")))
				return why(w, 0, "%s: %s[%zu] has no name",
					   path, kind_names[i], at) -
				       EBADMSG;
		}
	}
	return 0;
}

static int load(struct registry *registry, struct why *w)
{
	CLEANUP(cleanup_fd)
	int fd = registry->path ? open(registry->path, O_RDONLY | O_CLOEXEC)
				: -1;
	json_error_t error;

	if (fd < 0 && registry->path && errno != ENOENT)
		return why(w, -errno, "%s", registry->path);
	if (fd < 0) {
		registry->root = json_object();
	} else {
		registry->root =
			json_loadfd(fd, JSON_REJECT_DUPLICATES, &error);
		if (!registry->root)
			return why(w, 0, "%s:%d: %s", registry->path,
				   error.line, error.text) -
			       EBADMSG;
		if (check(registry->root, registry->path, w) < 0)
			return -EBADMSG;
	}
	return registry->root ? make_empty(registry->root) : -ENOMEM;
}

int registry_load(const char *path, struct registry **ret, struct why *w)
{
	struct registry *registry = calloc(1, sizeof(*registry));
	int err = 0;

	if (!registry)
		return -ENOMEM;
	list_init(&registry->riding);
	list_init(&registry->waiting);
	if (path) {
		registry->path = strdup(path);
		err = registry->path ? 0 : -ENOMEM;
	}
	if (!err)
		err = load(registry, w);
	if (err < 0) {
		registry_free(registry);
		return err;
	}
	*ret = registry;
	return 0;
}

struct registry *registry_free(struct registry *registry)
{
	if (!registry)
		return NULL;
	json_decref(registry->root);
	free(registry->path);
	free(registry->text);
	free(registry);
	return NULL;
}

json_t *registry_list(const struct registry *registry, enum registry_kind kind)
{
	return json_object_get(registry->root, kind_names[kind]);
}

/* Where in its list; -1: nowhere. */
static int index_of(const struct registry *registry, enum registry_kind kind,
		    const char *name)
{
	json_t *object;
	size_t at;

	json_array_foreach(registry_list(registry, kind), at, object)
	{
		if (!strcmp(json_string_value(json_object_get(object, "name")),
			    name))
			return (int)at;
	}
	return -1;
}

json_t *registry_find(const struct registry *registry, enum registry_kind kind,
		      const char *name)
{
	int at = index_of(registry, kind, name);

	return at < 0 ? NULL
		      : json_array_get(registry_list(registry, kind),
				       (size_t)at);
}

int registry_put(struct registry *registry, enum registry_kind kind,
		 json_t *object)
{
	json_t *list = registry_list(registry, kind);
	const char *name = json_string_value(json_object_get(object, "name"));
	int at, err;

	if (!name) {
		json_decref(object);
		return -EINVAL;
	}
	at = index_of(registry, kind, name);
	if (at < 0)
		err = json_array_append_new(list, object);
	else
		err = json_array_set_new(list, (size_t)at, object);
	return err ? -ENOMEM : 0;
}

void registry_drop(struct registry *registry, enum registry_kind kind,
		   const char *name)
{
	int at = index_of(registry, kind, name);

	if (at >= 0)
		(void)json_array_remove(registry_list(registry, kind),
					(size_t)at);
}

static int sync_dir_of(const char *path, struct why *w)
{
	CLEANUP(cleanup_free) char *copy = strdup(path);
	CLEANUP(cleanup_fd) int fd = -1;

	if (!copy)
		return -ENOMEM;
	fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || fsync(fd) < 0)
		return why(w, -errno, "sync the directory of %s", path);
	return 0;
}

static int write_beside(const char *path, const char *text, struct why *w)
{
	CLEANUP(cleanup_fd)
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	size_t len = strlen(text);

	if (fd < 0)
		return why(w, -errno, "%s", path);
	while (len) {
		ssize_t n = write(fd, text, len);

		if (n < 0)
			return why(w, -errno, "write %s", path);
		text += n;
		len -= (size_t)n;
	}
	return fdatasync(fd) < 0 ? why(w, -errno, "sync %s", path) : 0;
}

static int replace_file(const char *path, const char *text, struct why *w)
{
	CLEANUP(cleanup_free) char *beside = NULL;
	int err;

	if (asprintf(&beside, "%s.tmp", path) < 0) {
		beside = NULL;
		return -ENOMEM;
	}
	err = write_beside(beside, text, w);
	if (!err && rename(beside, path) < 0)
		err = why(w, -errno, "rename %s", beside);
	if (err < 0) {
		(void)unlink(beside);
		return err;
	}
	return sync_dir_of(path, w);
}

static void save_run(struct work *work)
{
	struct registry *registry = container_of(work, struct registry, work);

	registry->err =
		replace_file(registry->path, registry->text, &registry->why);
}

static void end_saves(struct list *saves, int err, struct why *w)
{
	while (!list_is_empty(saves)) {
		struct registry_save *save =
			list_first(saves, struct registry_save, list);

		list_del(&save->list);
		save->done(save, err, w);
	}
}

/* What the configuration says is its own to keep. */
static char *text_to_keep(const struct registry *registry)
{
	json_t *root = json_deep_copy(registry->root);
	char *text = NULL;

	for (int i = 0; root && i < REGISTRY_KIND_MAX; i++) {
		json_t *list = json_object_get(root, kind_names[i]);

		for (size_t at = json_array_size(list); at-- > 0;)
			if (json_is_true(json_object_get(
				    json_array_get(list, at), "is_configured")))
				(void)json_array_remove(list, at);
	}
	if (root)
		text = json_dumps(root, JSON_INDENT(1));
	json_decref(root);
	return text;
}

static void save_next(struct registry *registry)
{
	struct why w = {0};

	if (list_is_empty(&registry->waiting))
		return;
	list_splice(&registry->riding, &registry->waiting);
	registry->text = text_to_keep(registry);
	if (!registry->text) {
		(void)why(&w, -ENOMEM, "state file");
		end_saves(&registry->riding, -ENOMEM, &w);
		return;
	}
	registry->is_busy = true;
	work_start(registry->workers, &registry->work);
}

static void save_done(struct work *work)
{
	struct registry *registry = container_of(work, struct registry, work);
	struct why w = registry->why;
	struct list ended;
	int err = registry->err;

	registry->is_busy = false;
	free(registry->text);
	registry->text = NULL;
	list_init(&ended);
	list_splice(&ended, &registry->riding);
	save_next(registry);
	end_saves(&ended, err, &w);
}

void registry_save(struct registry *registry, struct workers *workers,
		   struct registry_save *save)
{
	if (!registry->path) {
		list_init(&save->list);
		save->done(save, 0, NULL);
		return;
	}
	list_add_tail(&registry->waiting, &save->list);
	if (registry->is_busy) /* @work is with its thread: hands off */
		return;
	registry->workers = workers;
	registry->work.run = save_run;
	registry->work.done = save_done;
	save_next(registry);
}
