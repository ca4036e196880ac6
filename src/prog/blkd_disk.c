/* SPDX-License-Identifier: Apache-2.0 */
/* blkd_disk.c - the states of a disk; blkd_disk.h draws them */
#include "prog/blkd_disk.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/blk.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/why.h"
#include "prog/blkd.h"
#include "prog/inherit.h"
#include "prog/socket.h"
#include "serve/nbd.h"
#include "serve/vhost_user_blk.h"

const char *disk_state_name(enum disk_state state)
{
	static const char *const names[] = {
		[DISK_PROBING] = "probing",
		[DISK_SERVING] = "serving",
		[DISK_FAILED] = "failed",
		[DISK_REMOVING] = "removing",
	};

	return names[state];
}

const char *disk_use_name(enum disk_use use)
{
	static const char *const names[] = {
		[DISK_SHUT] = "shut",
		[DISK_OPENING] = "opening",
		[DISK_OPEN] = "open",
		[DISK_CLOSING] = "closing",
	};

	return names[use];
}

struct disk *disk_find(struct blkd *blkd, const char *name)
{
	struct list *at, *next;

	list_for_each(at, next, &blkd->disks)
	{
		struct disk *disk = container_of(at, struct disk, list);

		if (!strcmp(disk->spec.name, name))
			return disk;
	}
	return NULL;
}

unsigned disk_clients(const struct disk *disk)
{
	return disk->nbd_clients + disk->has_vhost_client;
}

static void set_timer(struct disk *disk, uint64_t ms)
{
	loop_timer_set(disk->blkd->loop, &disk->timer,
		       clock_ns() + ms * NS_PER_MS);
}

/* Its guest has come back, or will not. */
static void end_resuming(struct disk *disk)
{
	struct stack *stack = &disk->stack;

	if (!stack->is_resumed)
		return;
	stack->is_resumed = false;
	/* Nobody goes on with what was written, and nobody else may see it. */
	if (disk->use == DISK_SHUT && disk->spec.is_ephemeral && stack->overlay)
		(void)unlink(stack->overlay);
}

/* ---- the end ---- */

static void gone(struct disk *disk)
{
	struct blkd *blkd = disk->blkd;

	assert(disk->state == DISK_REMOVING && disk->use == DISK_SHUT);
	loop_timer_cancel(&disk->timer);
	if (!blkd->is_upgrading)
		end_resuming(disk);
	list_del(&disk->list);
	if (blkd->is_ending) /* which may have waited for it */
		loop_defer(blkd->loop, &blkd->end_task);
	if (disk->added) /* it never came to be */
		disk->added(disk, disk->added_owner);
	if (disk->removed)
		disk->removed(disk, disk->removed_owner);
	stack_release(&disk->stack);
	disk_spec_release(&disk->spec);
	free(disk);
}

/* No client is left, and no door: close the layers. */
static void drained(struct disk *disk)
{
	loop_timer_cancel(&disk->timer);
	switch (disk->use) {
	case DISK_SHUT:
		gone(disk);
		break;
	case DISK_OPEN:
		disk->use = DISK_CLOSING;
		gate_shut(&disk->gate);
		stack_close(&disk->stack);
		break;
	case DISK_OPENING:
	case DISK_CLOSING:
		break; /* stack_done() goes on */
	}
}

static bool has_doors(const struct disk *disk)
{
	return disk->export || disk->vhost;
}

static void unexported(void *owner)
{
	struct disk *disk = owner;

	disk->export = NULL;
	disk->nbd_clients = 0;
	if (!has_doors(disk))
		drained(disk);
}

static void vhost_stopped(void *owner)
{
	struct disk *disk = owner;

	disk->vhost = vhost_user_server_free(disk->vhost);
	disk->has_vhost_client = false;
	if (!disk->blkd->is_upgrading)
		(void)unlink(disk->spec.vhost_user);
	if (!has_doors(disk))
		drained(disk);
}

void disk_remove(struct disk *disk, void (*removed)(struct disk *, void *),
		 void *owner)
{
	enum disk_state was = disk->state;

	disk->removed = removed;
	disk->removed_owner = owner;
	if (was == DISK_REMOVING)
		return;
	disk->state = DISK_REMOVING;
	if (disk->use == DISK_SHUT) /* nothing that waits there will pass */
		gate_fail(&disk->gate);
	loop_timer_cancel(&disk->timer);
	if (was == DISK_SERVING) {
		nbd_export_remove(disk->export, unexported, disk);
		if (disk->vhost)
			vhost_user_server_stop(disk->vhost, vhost_stopped,
					       disk);
	} else if (was == DISK_FAILED) {
		drained(disk);
	}
	/* else it is still being probed: stack_done() goes on */
}

/* ---- open and close ---- */

static void begin_opening(struct disk *disk)
{
	loop_timer_cancel(&disk->timer);
	disk->use = DISK_OPENING;
	stack_open(&disk->stack);
}

static void begin_closing(struct disk *disk)
{
	disk->use = DISK_CLOSING;
	gate_shut(&disk->gate);
	stack_close(&disk->stack);
}

/* Somebody has come or gone. */
static void clients_changed(struct disk *disk)
{
	bool is_used = disk_clients(disk) > 0;

	if (disk->state != DISK_SERVING || disk->stack.is_plain)
		return;
	if (is_used && disk->use == DISK_SHUT)
		begin_opening(disk);
	else if (is_used && disk->use == DISK_OPEN)
		loop_timer_cancel(&disk->timer);
	else if (!is_used && disk->use == DISK_OPEN)
		set_timer(disk, disk->spec.is_ephemeral
					? DISK_LINGER_EPHEMERAL_MS
					: DISK_LINGER_MS);
	/* else it is on its way, and opened() or closed() looks again */
}

static void on_nbd_clients(void *owner, unsigned count)
{
	struct disk *disk = owner;

	disk->nbd_clients = count;
	clients_changed(disk);
}

static void on_vhost_event(void *owner, const char *what)
{
	struct disk *disk = owner;
	struct vhost_user_stats stats;

	log_debug(disk->spec.name, "vhost-user: %s", what);
	if (!disk->vhost)
		return;
	vhost_user_server_stats(disk->vhost, &stats);
	disk->has_vhost_client = stats.is_connected;
	clients_changed(disk);
}

static void opened(struct disk *disk)
{
	struct stack *stack = &disk->stack;

	if (!stack->err && gate_open(&disk->gate, stack->top) < 0) {
		stack->err = -ESTALE;
		(void)why(&stack->why, 0,
			  "%s is not of %llu bytes any more: remove the disk "
			  "and add it again",
			  disk->spec.file, (unsigned long long)stack->size);
		gate_fail(&disk->gate);
		disk->use = DISK_CLOSING;
		log_error(disk->spec.name, "%s", stack->why.text);
		stack_close(stack);
		return;
	}
	if (stack->err < 0) {
		log_error(disk->spec.name, "%s", stack->why.text);
		disk->use = DISK_SHUT;
		gate_fail(&disk->gate);
		if (disk->state == DISK_REMOVING) {
			if (!has_doors(disk))
				gone(disk);
		} else if (disk_clients(disk)) {
			set_timer(disk, DISK_RETRY_MS);
		}
		return;
	}
	disk->use = DISK_OPEN;
	end_resuming(disk);
	if (disk->state == DISK_REMOVING) {
		if (!has_doors(disk))
			drained(disk);
		return;
	}
	clients_changed(disk);
}

static void closed(struct disk *disk)
{
	disk->use = DISK_SHUT;
	if (disk->state == DISK_REMOVING) {
		if (!has_doors(disk))
			gone(disk);
		else
			gate_fail(&disk->gate);
		return;
	}
	if (disk->gate.state == GATE_FAILED) { /* of another shape: see above */
		set_timer(disk, DISK_RETRY_MS);
		return;
	}
	clients_changed(disk);
}

static void on_timer(struct loop_timer *timer)
{
	struct disk *disk = container_of(timer, struct disk, timer);

	if (disk->state == DISK_FAILED) {
		if (disk->use != DISK_SHUT) /* see probed() */
			return;
		disk->state = DISK_PROBING;
		stack_probe(&disk->stack);
	} else if (disk->use == DISK_OPEN && !disk_clients(disk)) {
		begin_closing(disk);
	} else if (disk->use == DISK_SHUT) {
		if (!disk_clients(disk))
			end_resuming(disk);
		gate_shut(&disk->gate);
		clients_changed(disk);
	}
}

/* ---- the beginning ---- */

static int serve_vhost(struct disk *disk)
{
	struct vhost_user_options options = {
		.is_read_only = disk->spec.is_ro,
		.serial =
			disk->spec.serial ? disk->spec.serial : disk->spec.name,
		.on_event = on_vhost_event,
		.owner = disk,
	};
	int fd = -1, err;

	if (!disk->spec.vhost_user)
		return 0;
	err = socket_listen_unix(disk->spec.vhost_user, 0, &fd,
				 &disk->stack.why);
	if (err < 0)
		return err;
	err = vhost_user_server_new(disk->blkd->loop, fd, &disk->gate.blk,
				    &options, &disk->vhost);
	if (err < 0) {
		cleanup_fd(&fd);
		return why(&disk->stack.why, err, "vhost-user");
	}
	return 0;
}

static int serve(struct disk *disk)
{
	struct stack *stack = &disk->stack;
	struct nbd_export_conf conf = {
		.name = disk->spec.name,
		.description = disk->spec.image,
		.blk = &disk->gate.blk,
		.is_read_only = disk->spec.is_ro,
		.on_clients = on_nbd_clients,
		.owner = disk,
	};
	int err;

	gate_init(&disk->gate, stack->size, stack->block, stack->can);
	if (stack->is_plain) {
		disk->use = DISK_OPEN;
		err = gate_open(&disk->gate, stack->top);
		if (err < 0)
			return err;
	}
	/* What can fail for a reason goes first: there is nothing to undo. */
	err = serve_vhost(disk);
	if (err < 0)
		return err;
	err = nbd_server_add(disk->blkd->nbd, &conf, &disk->export);
	return err < 0 ? why(&stack->why, err, "NBD export") : 0;
}

static void probed(struct disk *disk)
{
	void (*added)(struct disk *, void *) = disk->added;
	struct stack *stack = &disk->stack;

	if (disk->state == DISK_REMOVING) {
		disk->use = stack->top ? DISK_OPEN : DISK_SHUT;
		if (!stack->err)
			stack->err = -ECANCELED;
		if (stack->top)
			gate_init(&disk->gate, 0, 1, 0);
		drained(disk);
		return;
	}
	if (!stack->err)
		stack->err = serve(disk);
	disk->state = stack->err ? DISK_FAILED : DISK_SERVING;
	if (stack->err && disk->is_kept)
		set_timer(disk, DISK_RETRY_MS);
	else if (disk->use == DISK_SHUT && stack->is_resumed)
		set_timer(disk, DISK_RESUME_MS);
	disk->added = NULL;
	if (added)
		added(disk, disk->added_owner);
}

static void stack_done(struct stack *stack)
{
	struct disk *disk = container_of(stack, struct disk, stack);

	if (disk->use == DISK_OPENING)
		opened(disk);
	else if (disk->use == DISK_CLOSING)
		closed(disk);
	else
		probed(disk);
}

int disk_add(struct blkd *blkd, struct disk_spec *spec, bool is_kept,
	     void (*added)(struct disk *, void *), void *owner,
	     struct disk **ret, struct why *w)
{
	struct disk *disk;

	if (blkd->is_ending)
		return why(w, -ESHUTDOWN, "the daemon is ending");
	if (disk_find(blkd, spec->name)) {
		(void)why(w, 0, "there is a disk called '%s' already",
			  spec->name);
		return -EEXIST;
	}
	disk = calloc(1, sizeof(*disk));
	if (!disk)
		return -ENOMEM;
	disk->blkd = blkd;
	disk->spec = *spec;
	*spec = (struct disk_spec){0};
	disk->is_kept = is_kept;
	disk->added = added;
	disk->added_owner = owner;
	gate_init(&disk->gate, 0, 1, 0);
	loop_timer_init(&disk->timer, on_timer);
	stack_init(&disk->stack, blkd, &disk->spec, stack_done);
	disk->stack.is_resumed = inherit_disk(disk->spec.name);
	list_init(&disk->list);
	list_add_tail(&blkd->disks, &disk->list);
	stack_probe(&disk->stack);
	if (ret)
		*ret = disk;
	return 0;
}
