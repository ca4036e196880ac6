/* SPDX-License-Identifier: Apache-2.0 */
/* blkd_disk.c - the states of a disk; blkd_disk.h draws them */
#include "prog/blkd_disk.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/blk.h"
#include "base/clock.h"
#include "base/log.h"
#include "prog/blkd.h"
#include "serve/nbd.h"

const char *disk_state_name(enum disk_state state)
{
	static const char *const names[] = {
		[DISK_OPENING] = "opening",
		[DISK_SERVING] = "serving",
		[DISK_FAILED] = "failed",
		[DISK_REMOVING] = "removing",
	};

	return names[state];
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

static void disk_gone(void *owner)
{
	struct disk *disk = owner;

	assert(disk->state == DISK_REMOVING && !disk->is_working);
	loop_timer_cancel(&disk->retry);
	stack_close(&disk->stack);
	list_del(&disk->list);
	if (disk->opened) /* it never came to be */
		disk->opened(disk, disk->opened_owner);
	if (disk->removed)
		disk->removed(disk, disk->removed_owner);
	disk_spec_release(&disk->spec);
	free(disk);
}

static void on_clients(void *owner, unsigned count)
{
	struct disk *disk = owner;

	log_debug(disk->spec.name, "%u clients", count);
	disk->clients = count;
}

static int serve(struct disk *disk, struct why *w)
{
	struct nbd_export_conf conf = {
		.name = disk->spec.name,
		.description = disk->spec.image,
		.is_read_only = disk->spec.is_ro,
		.on_clients = on_clients,
		.owner = disk,
	};
	int err = stack_join(disk->blkd, &disk->spec, &disk->stack, w);

	if (err < 0)
		return err;
	conf.blk = disk->stack.top;
	err = nbd_server_add(disk->blkd->nbd, &conf, &disk->export);
	return err < 0 ? why(w, err, "NBD export") : 0;
}

static void disk_opened(struct work *work)
{
	struct disk *disk = container_of(work, struct disk, work);
	void (*opened)(struct disk *, void *) = disk->opened;
	bool was_failed = disk->why.text[0] && disk->state == DISK_FAILED;

	disk->is_working = false;
	if (disk->state == DISK_REMOVING) {
		disk->err = -ECANCELED;
		disk_gone(disk);
		return;
	}
	(void)was_failed;
	if (!disk->err)
		disk->err = serve(disk, &disk->why);
	if (!disk->err) {
		disk->state = DISK_SERVING;
		log_debug(disk->spec.name, "serving %llu bytes of %s",
			  (unsigned long long)disk->stack.top->size,
			  disk->spec.file);
	} else {
		stack_close(&disk->stack);
		disk->state = DISK_FAILED;
		if (disk->is_kept)
			loop_timer_set(disk->blkd->loop, &disk->retry,
				       clock_ns() + DISK_RETRY_S * NS_PER_S);
	}
	disk->opened = NULL;
	if (opened)
		opened(disk, disk->opened_owner);
}

static void disk_open(struct work *work)
{
	struct disk *disk = container_of(work, struct disk, work);

	disk->why = (struct why){0};
	disk->err =
		stack_open(disk->blkd, &disk->spec, &disk->stack, &disk->why);
}

static void begin_opening(struct disk *disk)
{
	disk->state = DISK_OPENING;
	disk->is_working = true;
	disk->work.run = disk_open;
	disk->work.done = disk_opened;
	work_start(disk->blkd->workers, &disk->work);
}

static void retry(struct loop_timer *timer)
{
	begin_opening(container_of(timer, struct disk, retry));
}

int disk_add(struct blkd *blkd, struct disk_spec *spec, bool is_kept,
	     void (*opened)(struct disk *, void *), void *owner,
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
	disk->opened = opened;
	disk->opened_owner = owner;
	loop_timer_init(&disk->retry, retry);
	list_init(&disk->list);
	list_add_tail(&blkd->disks, &disk->list);
	begin_opening(disk);
	if (ret)
		*ret = disk;
	return 0;
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
	loop_timer_cancel(&disk->retry);
	if (was == DISK_SERVING)
		nbd_export_remove(disk->export, disk_gone, disk);
	else if (was == DISK_FAILED)
		disk_gone(disk);
	/* else the worker is still opening it: disk_opened() goes on */
}
