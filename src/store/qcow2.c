/* SPDX-License-Identifier: Apache-2.0 */
/* qcow2.c - the overlay layer: its jobs, its beginning and its end */
#include "store/qcow2.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/iov.h"
#include "base/log.h"
#include "base/why.h"
#include "store/qcow2_layer.h"
#include "store/store.h"

#define JOBS_MAX  1024u
#define PARTS_MAX 4096u
#define POOL_VECS 256u /* of 16 KiB */
#define EDGES_MAX 1024u /* of 4 KiB */

/*
 * A process that was killed keeps its locks until the kernel has ended its
 * requests: the next one waits for that long, and so cannot be overtaken by a
 * write of the dead.
 */
#define LOCK_WAIT_MS  3000u
#define LOCK_PAUSE_MS 10u

enum kind overlay_run(const struct overlay *o, uint64_t offset, uint64_t end,
		      uint64_t *len)
{
	uint64_t cluster = offset / QCOW2_CLUSTER;
	unsigned within = (unsigned)(offset % QCOW2_CLUSTER / QCOW2_SUB);
	uint64_t bits = o->bits.of[cluster];
	enum kind kind = KIND_BASE;
	uint64_t at = round_down(offset, QCOW2_CLUSTER);
	uint32_t other;

	if (bits >> within & 1)
		kind = KIND_DATA;
	else if (bits >> within >> 32 & 1)
		kind = KIND_ZERO;
	/* In the file one chunk ends where another's table begins. */
	if (kind == KIND_DATA)
		end = min_u64(end,
			      round_down(offset, QCOW2_CHUNK) + QCOW2_CHUNK);
	for (;;) {
		bits = o->bits.of[cluster];
		if (kind == KIND_DATA)
			other = ~(uint32_t)bits;
		else if (kind == KIND_ZERO)
			other = ~(uint32_t)(bits >> 32);
		else
			other = (uint32_t)(bits | bits >> 32);
		other = other >> within << within;
		if (other) {
			at += (uint64_t)__builtin_ctz(other) * QCOW2_SUB;
			break;
		}
		at += QCOW2_CLUSTER;
		cluster++;
		within = 0;
		if (at >= end)
			break;
	}
	at = min_u64(at, end);
	if (kind == KIND_BASE) {
		if (!o->backing || offset >= o->backing->size)
			kind = KIND_ZERO;
		else
			at = min_u64(at, o->backing->size);
	}
	*len = at - offset;
	return kind;
}

struct job *job_new(struct overlay *o, struct blk_req *req,
		    bool (*step)(struct job *))
{
	struct job *job = pool_take(&o->jobs);

	if (!job)
		return NULL;
	*job = (struct job){
		.overlay = o,
		.req = req,
		.step = step,
		.at = req->offset,
	};
	list_init(&job->list);
	list_init(&job->changing);
	job_ready(job);
	return job;
}

void job_ready(struct job *job)
{
	list_del(&job->list);
	list_add_tail(&job->overlay->ready, &job->list);
}

bool job_park(struct job *job, struct list *list)
{
	list_del(&job->list);
	list_add_tail(list, &job->list);
	return false;
}

bool job_end(struct job *job)
{
	struct overlay *o = job->overlay;
	struct blk_req *req = job->req;
	int err = job->err;

	assert(!job->parts && list_is_empty(&job->list));
	if (!list_is_empty(&job->changing)) {
		list_del(&job->changing);
		list_splice(&o->ready, &o->blocked);
	}
	pool_give(&o->edges, job->head.buf);
	pool_give(&o->edges, job->tail.buf);
	pool_give(&o->vecs, job->vecs);
	pool_give(&o->jobs, job);
	o->has_spare = true;
	blk_end(req, err);
	return false;
}

void job_issue(struct job *job)
{
	if (!job->is_issuing)
		job->parts++;
	job->is_issuing = true;
}

bool job_issued(struct job *job, bool (*next)(struct job *))
{
	assert(job->is_issuing);
	job->is_issuing = false;
	job->step = next;
	return --job->parts == 0;
}

static void part_free(struct part *part)
{
	struct overlay *o = part->overlay;

	pool_give(&o->vecs, part->vecs);
	pool_give(&o->parts, part);
	o->has_spare = true;
}

static void part_done(struct blk_req *req, int res)
{
	struct part *part = (struct part *)req;
	struct overlay *o = part->overlay;
	struct job *job = part->job;

	overlay_enter(o);
	if (res < 0 && !part->is_optional && !job->err)
		job->err = res;
	if (req->op == BLK_STATUS && !res)
		job->nextents += req->nextents;
	part_free(part);
	if (--job->parts == 0)
		job_ready(job);
	overlay_leave(o);
}

struct part *part_new(struct job *job, enum blk_op op, uint64_t offset,
		      uint64_t len)
{
	struct part *part = pool_take(&job->overlay->parts);

	if (!part)
		return NULL;
	part->overlay = job->overlay;
	part->parent = NULL;
	part->job = job;
	part->is_optional = false;
	part->vecs = NULL;
	part->req = (struct blk_req){
		.op = op,
		.flags = job->req->flags & BLK_LOW,
		.offset = offset,
		.len = len,
		.done = part_done,
	};
	job->parts++;
	return part;
}

bool part_slice(struct part *part, const struct iovec *iov, int niov,
		uint64_t at)
{
	struct iovec *to = part->iov;

	if (niov > PART_VECS) {
		part->vecs = pool_take(&part->overlay->vecs);
		if (!part->vecs) {
			part->job->parts--;
			pool_give(&part->overlay->parts, part);
			return false;
		}
		to = part->vecs->iov;
	}
	part->req.iov = to;
	part->req.niov = iov_slice(iov, niov, at, part->req.len, to);
	return true;
}

static void forward_done(struct blk_req *req, int res)
{
	struct part *part = (struct part *)req;
	struct overlay *o = part->overlay;
	struct blk_req *parent = part->parent;

	overlay_enter(o);
	if (req->op == BLK_WRITE)
		o->is_unsynced = true;
	parent->nextents = req->nextents;
	part_free(part);
	blk_end(parent, res);
	overlay_leave(o);
}

bool overlay_forward(struct overlay *o, struct blk_req *req, struct blk *below,
		     uint64_t offset, uint32_t flags)
{
	struct part *part = pool_take(&o->parts);

	if (!part)
		return false;
	part->overlay = o;
	part->parent = req;
	part->vecs = NULL;
	part->req = (struct blk_req){
		.op = req->op,
		.flags = flags,
		.offset = offset,
		.len = req->len,
		.iov = req->iov,
		.niov = req->niov,
		.extents = req->extents,
		.nextents = req->nextents,
		.done = forward_done,
	};
	blk_submit(below, &part->req);
	return true;
}

static bool start(struct overlay *o, struct blk_req *req)
{
	switch (req->op) {
	case BLK_READ:
		return qcow2_start_read(o, req);
	case BLK_WRITE:
		return qcow2_start_write(o, req);
	case BLK_FLUSH:
		return qcow2_start_flush(o, req);
	case BLK_DISCARD:
	case BLK_ZERO:
		return qcow2_start_zero(o, req);
	case BLK_CACHE:
		return qcow2_start_cache(o, req);
	case BLK_STATUS:
		return qcow2_start_status(o, req);
	case BLK_OP_MAX:
		break;
	}
	blk_end(req, -EINVAL);
	return true;
}

/* A pool was empty when a request came. Somebody will give back what is out; if
 * nothing is, there is no memory at all. */
static bool is_hopeless(const struct overlay *o)
{
	return !o->jobs.taken && !o->parts.taken;
}

static void run_starved(struct overlay *o)
{
	if (!list_is_empty(&o->starved))
		list_splice(&o->ready, &o->starved);
	while (o->waiting) {
		struct blk_req *req = o->waiting;

		o->waiting = req->next;
		if (!o->waiting)
			o->waiting_end = &o->waiting;
		if (start(o, req))
			continue;
		if (is_hopeless(o)) {
			blk_end(req, -ENOMEM);
			continue;
		}
		if (!o->waiting)
			o->waiting_end = &req->next;
		req->next = o->waiting;
		o->waiting = req;
		return;
	}
}

/* Nothing is in flight that could give back what the starved ones wait for:
 * there is no memory. */
static void fail_starved(struct overlay *o)
{
	struct list *pos, *tmp;

	list_for_each(pos, tmp, &o->starved)
	{
		struct job *job = container_of(pos, struct job, list);

		job->err = -ENOMEM;
		job->parts = 0;
		job->step = job_end;
		job_ready(job);
	}
}

static void destroy(struct overlay *o);

void overlay_leave(struct overlay *o)
{
	while (o->depth == 1) {
		if (o->round.is_ready) {
			o->round.is_ready = false;
			o->round.step(o);
		} else if (!list_is_empty(&o->ready)) {
			struct job *job =
				list_first(&o->ready, struct job, list);

			list_del(&job->list);
			while (job->step(job))
				;
		} else if (o->has_spare) {
			o->has_spare = false;
			run_starved(o);
		} else if (!list_is_empty(&o->starved) && !o->parts.taken &&
			   !o->round.step) {
			fail_starved(o);
		} else {
			break;
		}
	}
	if (--o->depth == 0 && o->is_freed)
		destroy(o);
}

static void overlay_submit(struct blk *blk, struct blk_req *req)
{
	struct overlay *o = (struct overlay *)blk;

	overlay_enter(o);
	if (req->niov > VECS_MAX) {
		blk_end(req, -EINVAL);
	} else if (o->waiting || !start(o, req)) {
		if (is_hopeless(o)) {
			blk_end(req, -ENOMEM);
		} else {
			req->next = NULL;
			*o->waiting_end = req;
			o->waiting_end = &req->next;
		}
	}
	overlay_leave(o);
}

/* What is dirty goes into the file now. If it cannot, PATH.dirty stays for
 * the next one who opens the image. */
static int settle(struct overlay *o)
{
	const struct bits *bits = &o->bits;
	int fd = o->image.fd;

	if ((o->is_unsynced || bits->ndirty) && fdatasync(fd) < 0)
		return -errno;
	for (unsigned i = 0; i < bits->ndirty; i++) {
		uint64_t cluster = bits->slots[bits->dirty[i]].cluster;
		int err = qcow2_image_put_bits(&o->image, cluster,
					       bits->of[cluster]);

		if (err < 0)
			return err;
	}
	return bits->ndirty && fdatasync(fd) < 0 ? -errno : 0;
}

static void destroy(struct overlay *o)
{
	assert(list_is_empty(&o->ready) && list_is_empty(&o->changing) &&
	       !o->waiting && !o->round.step);
	if (o->flags & QCOW2_EPHEMERAL) {
		(void)unlink(o->image.path);
		qcow2_side_remove(&o->image, o->side);
	} else if (!settle(o)) {
		qcow2_side_remove(&o->image, o->side);
	}
	/* Last, as the lock goes with it. */
	blk_free(o->backing);
	blk_free(o->file);
	for (unsigned i = 0; i < ROUND_PAGES; i++)
		free(o->round.pages[i]);
	bits_release(&o->bits);
	qcow2_image_release(&o->image);
	pool_release(&o->jobs);
	pool_release(&o->parts);
	pool_release(&o->vecs);
	pool_release(&o->edges);
	free(o);
}

static void overlay_free(struct blk *blk)
{
	struct overlay *o = (struct overlay *)blk;

	o->is_freed = true;
	if (!o->depth)
		destroy(o);
}

static const struct blk_ops overlay_ops = {
	.name = "qcow2",
	.submit = overlay_submit,
	.free = overlay_free,
};

int qcow2_layer_new(struct qcow2_image *image, struct qcow2_side_slot *side,
		    unsigned flags, struct blk *file, struct blk *backing,
		    struct blk **ret)
{
	struct overlay *o = calloc(1, sizeof(*o));
	uint32_t block = file->block;

	if (!o)
		return -ENOMEM;
	if (backing && backing->block > block)
		block = backing->block;
	if (image->header.size % block) {
		free(o);
		return -EINVAL;
	}
	if (bits_init(&o->bits, image->bits, image->nclusters, side) < 0) {
		free(o);
		return -ENOMEM;
	}
	o->blk = (struct blk){
		.ops = &overlay_ops,
		.size = image->header.size,
		.block = block,
		.can = BLK_CAN_WRITE | BLK_CAN_DISCARD | BLK_CAN_ZERO |
		       BLK_CAN_FAST_ZERO |
		       (backing ? backing->can & BLK_CAN_CACHE : 0),
	};
	o->file = file;
	o->backing = backing;
	o->flags = flags;
	o->image = *image;
	*image = (struct qcow2_image){.fd = -1};
	o->side = side;
	o->stats.has_dirty_file = side;
	pool_init(&o->jobs, sizeof(struct job), JOBS_MAX);
	pool_init(&o->parts, sizeof(struct part), PARTS_MAX);
	pool_init(&o->vecs, sizeof(struct vecs), POOL_VECS);
	pool_init(&o->edges, QCOW2_SUB, EDGES_MAX);
	list_init(&o->ready);
	list_init(&o->blocked);
	list_init(&o->starved);
	list_init(&o->slotless);
	list_init(&o->to_flush);
	list_init(&o->flushing);
	list_init(&o->changing);
	o->waiting_end = &o->waiting;
	*ret = &o->blk;
	return 0;
}

/* Everything but the file's struct blk, whose lock is held. */
static int open_over(struct blk *file, const char *path, unsigned flags,
		     struct blk *backing, struct blk **ret, struct why *w)
{
	struct qcow2_image image = {.fd = -1};
	struct qcow2_side_slot *side = NULL;
	int err = qcow2_image_load(path, &image, w);

	if (err < 0)
		return err;
	if (!image.header.backing[0] != !backing)
		err = why(w, -EINVAL, "%s",
			  backing ? "has no base" : "needs its base");
	if (!err)
		err = qcow2_side_recover(&image, w);
	if (!err) {
		err = qcow2_image_claim(&image);
		if (err < 0)
			(void)why(w, err, "header");
	}
	if (!err && qcow2_side_create(&image, &side) < 0)
		log_debug(path, "no space for its .dirty file");
	if (!err) {
		err = qcow2_layer_new(&image, side, flags, file, backing, ret);
		if (err < 0)
			(void)why(w, err, "size %llu",
				  (unsigned long long)image.header.size);
	}
	if (err < 0) {
		qcow2_side_remove(&image, side);
		qcow2_image_release(&image);
		return why_in(w, err, "%s", path);
	}
	return 0;
}

int qcow2_open(struct loop *loop, const char *path, unsigned flags,
	       struct blk *backing, struct blk **ret, struct why *w)
{
	const struct timespec pause = {.tv_nsec = LOCK_PAUSE_MS * NS_PER_MS};
	struct blk *file = NULL;
	int err;

	for (unsigned ms = 0;; ms += LOCK_PAUSE_MS) {
		err = store_open(loop, path,
				 (flags & STORE_DIRECT) | STORE_WRITE, NULL,
				 &file, w);
		if (err != -EBUSY || ms >= LOCK_WAIT_MS)
			break;
		(void)nanosleep(&pause, NULL);
	}
	if (err < 0)
		return err;
	err = open_over(file, path, flags, backing, ret, w);
	if (err < 0)
		blk_free(file);
	return err;
}

void qcow2_keep(struct blk *blk)
{
	struct overlay *o = (struct overlay *)blk;

	o->flags &= ~QCOW2_EPHEMERAL;
}

void qcow2_get_stats(const struct blk *blk, struct qcow2_stats *ret)
{
	const struct overlay *o = (const struct overlay *)blk;

	*ret = o->stats;
	ret->dirty = o->bits.ndirty + o->bits.nwriting;
}
