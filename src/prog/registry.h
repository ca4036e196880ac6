/* SPDX-License-Identifier: Apache-2.0 */
/*
 * registry.h - what the operator has added by verbs, kept over restarts
 *
 * Three lists of JSON objects, each with a "name": stores, images, disks. They
 * are one JSON file, which is replaced as a whole: written beside, synced,
 * renamed. A change counts when its file is in place; until then nobody is
 * told that it succeeded.
 *
 * An object with "is_configured" is in the lists, but not in the file.
 *
 * Used on the loop's thread; the file is written by a worker, one write at a
 * time. A write that finds several changes waiting serves them all.
 */
#ifndef PROG_REGISTRY_H
#define PROG_REGISTRY_H

#include <jansson.h>

#include "base/list.h"

struct registry;
struct why;
struct workers;

#define REGISTRY_FILE_MAX (16u << 20) /* bytes */

enum registry_kind {
	REGISTRY_STORES,
	REGISTRY_IMAGES,
	REGISTRY_DISKS,
	REGISTRY_KIND_MAX
};

/**
 * registry_load() - read the file, if there is one
 * @path:	of the file; NULL: nothing is kept
 *
 * Blocks; for the start.
 *
 * Return: 0, also where there is no file yet; -EBADMSG: it is not what we
 * wrote, and is left alone.
 */
int registry_load(const char *path, struct registry **ret, struct why *why)
	__attribute__((warn_unused_result));

/** registry_free() - no save is in flight. Return: NULL. */
struct registry *registry_free(struct registry *registry);

/** registry_list() - the array of all objects of @kind; borrowed */
json_t *registry_list(const struct registry *registry, enum registry_kind kind);

/** registry_find() - by name; borrowed; NULL: there is none */
json_t *registry_find(const struct registry *registry, enum registry_kind kind,
		      const char *name);

/** registry_put() - add @object, which is consumed, or replace its namesake */
int registry_put(struct registry *registry, enum registry_kind kind,
		 json_t *object) __attribute__((warn_unused_result));

/** registry_drop() - remove by name; fine if there is none */
void registry_drop(struct registry *registry, enum registry_kind kind,
		   const char *name);

/** struct registry_save - a member of whoever waits for the file */
struct registry_save {
	struct list list;
	void (*done)(struct registry_save *save, int err, struct why *why);
};

/**
 * registry_save() - write all changes made so far
 * @save:	its done is set; called on the loop, perhaps at once
 */
void registry_save(struct registry *registry, struct workers *workers,
		   struct registry_save *save);

#endif
