/* SPDX-License-Identifier: Apache-2.0 */
/* registry_test.c - what was added is there after a restart, or as it was */
#undef NDEBUG
#include "prog/registry.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/loop.h"
#include "base/why.h"
#include "base/work.h"

static char dir[] = "/tmp/registry-test-XXXXXX";
static char path[64];
static struct loop *loop;
static struct workers *workers;

struct waiting {
	struct registry_save save;
	int ends, err;
};

static void on_saved(struct registry_save *save, int err, struct why *w)
{
	struct waiting *waiting = container_of(save, struct waiting, save);

	(void)w;
	waiting->ends++;
	waiting->err = err;
}

static void save(struct registry *registry, struct waiting *waiting)
{
	*waiting = (struct waiting){.save.done = on_saved};
	registry_save(registry, workers, &waiting->save);
}

static void put(struct registry *registry, const char *name, int value)
{
	assert(!registry_put(
		registry, REGISTRY_DISKS,
		json_pack("{s:s, s:i}", "name", name, "value", value)));
}

static int value(struct registry *registry, const char *name)
{
	json_t *object = registry_find(registry, REGISTRY_DISKS, name);

	return object ? (int)json_integer_value(
				json_object_get(object, "value"))
		      : -1;
}

static void what_is_saved_is_loaded(void)
{
	struct registry *registry = NULL;
	struct waiting a, b, c;

	assert(!registry_load(path, &registry, NULL));
	put(registry, "x", 1);
	save(registry, &a);
	/* These two wait for the first, and are served by one write. */
	put(registry, "y", 2);
	save(registry, &b);
	put(registry, "x", 3);
	registry_drop(registry, REGISTRY_DISKS, "none");
	assert(!registry_put(
		registry, REGISTRY_STORES,
		json_pack("{s:s, s:b}", "name", "conf", "is_configured", 1)));
	save(registry, &c);
	assert(!a.ends && !b.ends && !c.ends);
	while (!a.ends || !b.ends || !c.ends)
		assert(!loop_turn(loop));
	assert(a.ends == 1 && b.ends == 1 && c.ends == 1);
	assert(!a.err && !b.err && !c.err);
	registry_free(registry);

	assert(!registry_load(path, &registry, NULL));
	assert(value(registry, "x") == 3 && value(registry, "y") == 2);
	assert(!registry_find(registry, REGISTRY_STORES, "conf"));
	assert(json_array_size(registry_list(registry, REGISTRY_DISKS)) == 2);
	registry_drop(registry, REGISTRY_DISKS, "x");
	assert(value(registry, "x") == -1);
	registry_free(registry);
}

static void a_write_that_fails_leaves_what_was(void)
{
	struct registry *registry = NULL;
	struct waiting a;
	char tmp[80];

	assert(!registry_load(path, &registry, NULL));
	put(registry, "z", 9);
	(void)snprintf(tmp, sizeof(tmp), "%s.tmp", path);
	/* The new file cannot be made where this points. */
	assert(!symlink("/nonexistent/dir/file", tmp));
	save(registry, &a);
	while (!a.ends)
		assert(!loop_turn(loop));
	assert(a.err == -ENOENT);
	registry_free(registry);
	(void)unlink(tmp);
	assert(!registry_load(path, &registry, NULL));
	assert(value(registry, "z") == -1 && value(registry, "x") == 3);
	registry_free(registry);
}

static void without_a_file_it_ends_at_once(void)
{
	struct registry *registry = NULL;
	struct waiting a;

	assert(!registry_load(NULL, &registry, NULL));
	put(registry, "x", 1);
	save(registry, &a);
	assert(a.ends == 1 && !a.err);
	registry_free(registry);
}

static void what_is_no_state_file_is_refused(void)
{
	static const char *const bad[] = {"", "x", "[]", "{\"version\": 2}",
					  "{\"version\": 1, \"disks\": 1}"};
	struct registry *registry = NULL;
	struct why w;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		FILE *file = fopen(path, "w");

		assert(file && fputs(bad[i], file) >= 0 && !fclose(file));
		w = (struct why){0};
		assert(registry_load(path, &registry, &w) == -EBADMSG);
		assert(strstr(w.text, path));
	}
}

int main(void)
{
	assert(mkdtemp(dir));
	(void)snprintf(path, sizeof(path), "%s/state.json", dir);
	assert(!loop_new(&loop, NULL));
	assert(!workers_new(loop, 1, &workers, NULL));
	what_is_saved_is_loaded();
	a_write_that_fails_leaves_what_was();
	without_a_file_it_ends_at_once();
	what_is_no_state_file_is_refused();
	workers_free(workers);
	loop_free(loop);
	(void)unlink(path);
	(void)rmdir(dir);
	return 0;
}
