/* SPDX-License-Identifier: Apache-2.0 */
/*
 * blkd_disk.h - a disk of the daemon, from its opening to its removal
 *
 *	OPENING  -> SERVING			disk_opened()
 *	OPENING  -> FAILED -> OPENING		disk_opened(), retry
 *	any      -> REMOVING -> gone		disk_remove(), disk_gone()
 *
 * OPENING: its stores are being opened on a worker; nobody can use it.
 * SERVING: it is an NBD export, and doors may use its blk.
 * FAILED: @why says why; if it is to be kept it is tried again now and then,
 *	since a store that is away comes back.
 * REMOVING: clients drain; no new ones come.
 */
#ifndef PROG_BLKD_DISK_H
#define PROG_BLKD_DISK_H

#include <stdbool.h>

#include "base/list.h"
#include "base/loop.h"
#include "base/why.h"
#include "base/work.h"
#include "prog/blkd_stack.h"
#include "prog/disk_spec.h"

struct blkd;
struct nbd_export;

#define DISK_RETRY_S 5

enum disk_state { DISK_OPENING, DISK_SERVING, DISK_FAILED, DISK_REMOVING };

/**
 * struct disk - made by disk_add(), ends with disk_remove()
 * @state:	as above
 * @err, @why:	what the last opening ended with
 * @is_kept:	it came from the configuration or the state file: an opening
 *		that fails is tried again
 * @opened:	called once, when the first opening has ended; may be NULL
 * @removed:	called once, when it is gone from the list and about to be
 *		freed; may be NULL
 */
struct disk {
	struct list list; /* of struct blkd */
	struct blkd *blkd;
	struct disk_spec spec;
	enum disk_state state;
	int err;
	struct why why;
	bool is_kept;
	unsigned clients; /* NBD connections that have it open */

	struct stack stack;
	struct nbd_export *export;
	struct work work; /* while is_working */
	bool is_working;
	struct loop_timer retry;

	void (*opened)(struct disk *disk, void *owner);
	void *opened_owner;
	void (*removed)(struct disk *disk, void *owner);
	void *removed_owner;
};

/**
 * disk_add() - begin to open a disk
 * @spec:	taken over and emptied, on success
 * @opened:	see struct disk. Called from the loop, not before return.
 * @ret:	the disk, in the list of @blkd; may be NULL
 *
 * Return: 0; -EEXIST: the name is taken; -ESHUTDOWN; -ENOMEM.
 */
int disk_add(struct blkd *blkd, struct disk_spec *spec, bool is_kept,
	     void (*opened)(struct disk *disk, void *owner), void *owner,
	     struct disk **ret, struct why *why)
	__attribute__((warn_unused_result));

/** disk_find() - by name; those being removed are found too. NULL: none. */
struct disk *disk_find(struct blkd *blkd, const char *name);

/** disk_state_name() - for people and JSON: "serving" */
const char *disk_state_name(enum disk_state state);

/**
 * disk_remove() - drain its clients, close its layers, free it
 * @removed:	see struct disk. A second call replaces the first's.
 */
void disk_remove(struct disk *disk,
		 void (*removed)(struct disk *disk, void *owner), void *owner);

#endif
