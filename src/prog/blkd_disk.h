/* SPDX-License-Identifier: Apache-2.0 */
/*
 * blkd_disk.h - a disk of the daemon, from its addition to its removal
 *
 *	PROBING  -> SERVING			probed()
 *	PROBING  -> FAILED -> PROBING		probed(), retry
 *	any      -> REMOVING -> gone		disk_remove(), ..., gone()
 *
 * PROBING: a worker looks at what it stands on; nobody can use it.
 * SERVING: it is an NBD export, and doors may use its gate.
 * FAILED: @stack.why says why; if it is to be kept it is tried again now and
 *	then, since a store that is away comes back.
 * REMOVING: clients drain; no new ones come.
 *
 * While it is SERVING or REMOVING its layers have states of their own:
 *
 *	SHUT -> OPENING		a client comes
 *	OPENING -> OPEN		or, if it fails, SHUT with a retry
 *	OPEN -> CLOSING		nobody has used it for DISK_LINGER_MS
 *	CLOSING -> SHUT		or OPENING, if a client has come
 *
 * That is the open and the close from which boots are learned. A plain disk
 * (blkd_stack.h) stays OPEN.
 */
#ifndef PROG_BLKD_DISK_H
#define PROG_BLKD_DISK_H

#include <stdbool.h>

#include "base/list.h"
#include "base/loop.h"
#include "prog/blkd_gate.h"
#include "prog/blkd_stack.h"
#include "prog/disk_spec.h"

struct blkd;
struct nbd_export;
struct vhost_user_server;
struct why;

#define DISK_RETRY_MS 3000
/* A client that reconnects is the same boot. */
#define DISK_LINGER_MS 1000
/* ... and must find what it wrote. */
#define DISK_LINGER_EPHEMERAL_MS 10000
/* Guests of the process before us come back until then, if at all. */
#define DISK_RESUME_MS 60000

enum disk_state { DISK_PROBING, DISK_SERVING, DISK_FAILED, DISK_REMOVING };
enum disk_use { DISK_SHUT, DISK_OPENING, DISK_OPEN, DISK_CLOSING };

/**
 * struct disk - made by disk_add(), ends with disk_remove()
 * @is_kept:	it is one of the configuration or the state file: a probe that
 *		fails is tried again
 * @nbd_clients, @has_vhost_client: who has it open
 * @export, @vhost: its doors; NULL where there is none
 * @added:	called once, when the first probe has ended; or NULL
 * @removed:	called once, when it is about to be freed; or NULL
 */
struct disk {
	struct list list; /* of struct blkd */
	struct blkd *blkd;
	struct disk_spec spec;
	enum disk_state state;
	enum disk_use use;
	bool is_kept;
	unsigned nbd_clients;
	bool has_vhost_client;

	struct gate gate;
	struct stack stack;
	struct nbd_export *export;
	struct vhost_user_server *vhost;
	struct loop_timer timer; /* FAILED, SHUT: retry; OPEN: linger */

	void (*added)(struct disk *disk, void *owner);
	void *added_owner;
	void (*removed)(struct disk *disk, void *owner);
	void *removed_owner;
};

/**
 * disk_add() - begin to probe a disk
 * @spec:	taken over and emptied, on success
 * @added:	see struct disk. Never called before return; the disk is
 *		SERVING or FAILED then, or REMOVING if that was asked since.
 * @ret:	the disk, in the list of @blkd; may be NULL
 *
 * Return: 0; -EEXIST: the name is taken; -ESHUTDOWN; -ENOMEM.
 */
int disk_add(struct blkd *blkd, struct disk_spec *spec, bool is_kept,
	     void (*added)(struct disk *disk, void *owner), void *owner,
	     struct disk **ret, struct why *why)
	__attribute__((warn_unused_result));

/** disk_find() - by name; those being removed are found too. NULL: none. */
struct disk *disk_find(struct blkd *blkd, const char *name);

/** disk_clients() - how many have it open */
unsigned disk_clients(const struct disk *disk);

/** disk_state_name(), disk_use_name() - for people and JSON: "serving" */
const char *disk_state_name(enum disk_state state);
const char *disk_use_name(enum disk_use use);

/**
 * disk_remove() - drain its clients, close its layers, free it
 * @removed:	see struct disk. A second call replaces the first's.
 */
void disk_remove(struct disk *disk,
		 void (*removed)(struct disk *disk, void *owner), void *owner);
#endif
