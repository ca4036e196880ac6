/* SPDX-License-Identifier: Apache-2.0 */
/*
 * qcow2_write.c - write, discard, zero
 *
 * A job's steps:
 *
 *	plan_x	which subclusters are concerned, which edges are copied; waits
 *		here for jobs that it excludes
 *	copy	edges that are copied: what the base has of them is read
 *	send_x	data goes into the file; a hole is punched
 *	apply	the bits are set, a slot at a time if need be
 *	settle	ends, after a flush if it has to
 *
 * The end of the disk counts as the end of a subcluster: nothing is behind it.
 */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/iov.h"
#include "store/qcow2_layer.h"

/* An edge that is zeroed in place is written from here. */
static uint8_t zeroes[QCOW2_SUB];

static uint64_t sub_down(uint64_t offset)
{
	return offset / QCOW2_SUB;
}

/* As a subcluster's end, for an offset up to the disk's size. */
static uint64_t sub_up(uint64_t offset)
{
	return div_up(offset, QCOW2_SUB);
}

static bool is_whole(const struct overlay *o, uint64_t end)
{
	return end % QCOW2_SUB == 0 || end == o->blk.size;
}

static enum kind kind_at(const struct overlay *o, uint64_t offset)
{
	uint64_t len;

	return overlay_run(o, offset, offset + 1, &len);
}

/* Bits of the subclusters @from to @to of one cluster, in the low half. */
static uint64_t mask(uint64_t from, uint64_t to)
{
	uint64_t n = to - from;

	return ((1ull << n) - 1) << from % QCOW2_SUBS;
}

/* Where the cluster of subcluster @sub ends, or @to if that is before it. */
static uint64_t cluster_end(uint64_t sub, uint64_t to)
{
	return min_u64(round_down(sub, QCOW2_SUBS) + QCOW2_SUBS, to);
}

/* Whether all that @req touches is in the file; and, @is_settled, the file
 * knows it. */
static bool is_here(const struct overlay *o, const struct blk_req *req,
		    bool *is_settled)
{
	uint64_t to = sub_up(req->offset + req->len), end;

	*is_settled = true;
	for (uint64_t sub = sub_down(req->offset); sub < to; sub = end) {
		uint64_t cluster = sub / QCOW2_SUBS, m;

		end = cluster_end(sub, to);
		m = mask(sub, end);
		if ((o->bits.of[cluster] & m) != m)
			return false;
		*is_settled &= !bits_is_dirty(&o->bits, cluster);
	}
	return true;
}

/* Wait for another job, or go on in its way: see qcow2_layer.h. */
static bool is_blocked(const struct job *job)
{
	const struct overlay *o = job->overlay;
	struct list *pos;

	for (pos = o->changing.next; pos != &o->changing; pos = pos->next) {
		struct job *other = container_of(pos, struct job, changing);

		if ((job->is_copying || other->is_copying) &&
		    job->first <= other->last && other->first <= job->last)
			return true;
	}
	return false;
}

static void set_edge(struct job *job, struct edge *edge, uint64_t from,
		     uint64_t to)
{
	const struct overlay *o = job->overlay;
	uint64_t at = round_down(from, QCOW2_SUB);

	*edge = (struct edge){
		.is_set = true,
		.is_copied = kind_at(o, at) != KIND_DATA,
		.at = at,
		.from = from - at,
		.to = to - at,
	};
	job->is_copying |= edge->is_copied;
}

/* The edges of a request that touches part of subclusters. */
static void set_edges(struct job *job)
{
	const struct overlay *o = job->overlay;
	uint64_t from = job->req->offset, to = from + job->req->len;
	uint64_t from_up = round_up(from, QCOW2_SUB);

	job->first = sub_down(from);
	job->last = sub_up(to) - 1;
	job->is_copying = false;
	job->head.is_set = job->tail.is_set = false;
	if (from % QCOW2_SUB)
		set_edge(job, &job->head, from, min_u64(from_up, to));
	else if (to < from_up + QCOW2_SUB && !is_whole(o, to))
		set_edge(job, &job->head, from, to); /* within the first */
	if (!is_whole(o, to) && job->last != job->first)
		set_edge(job, &job->tail, round_down(to, QCOW2_SUB), to);
}

static bool take_buffers(struct job *job)
{
	struct overlay *o = job->overlay;

	if (job->head.is_set && job->head.is_copied)
		job->head.buf = pool_take(&o->edges);
	if (job->tail.is_set && job->tail.is_copied)
		job->tail.buf = pool_take(&o->edges);
	if ((!job->head.is_set || !job->head.is_copied || job->head.buf) &&
	    (!job->tail.is_set || !job->tail.is_copied || job->tail.buf))
		return true;
	pool_give(&o->edges, job->head.buf);
	pool_give(&o->edges, job->tail.buf);
	job->head.buf = job->tail.buf = NULL;
	return false;
}

/* The edge's subcluster as it is, into its buffer. False: no part is free. */
static bool read_edge(struct job *job, struct edge *edge)
{
	struct overlay *o = job->overlay;
	uint64_t end = min_u64(edge->at + QCOW2_SUB, o->blk.size), len;
	struct part *part;

	if (!edge->is_set || !edge->is_copied || edge->is_written)
		return true;
	if (overlay_run(o, edge->at, end, &len) == KIND_ZERO) {
		memset(edge->buf, 0, QCOW2_SUB);
		edge->is_written = true;
		return true;
	}
	part = part_new(job, BLK_READ, edge->at, len);
	if (!part)
		return false;
	memset(edge->buf + len, 0, QCOW2_SUB - len);
	part->iov[0] = (struct iovec){edge->buf, len};
	part->req.iov = part->iov;
	part->req.niov = 1;
	edge->is_written = true;
	o->stats.cow_reads++;
	blk_submit(o->backing, &part->req);
	return true;
}

static bool step_send_write(struct job *job);
static bool step_send_zero(struct job *job);

static bool step_copied(struct job *job)
{
	const struct blk_req *req = job->req;
	struct edge *edges[] = {&job->head, &job->tail};

	if (job->err)
		return job_end(job);
	for (size_t i = 0; i < ARRAY_SIZE(edges); i++) {
		struct edge *e = edges[i];

		e->is_written = false;
		if (!e->is_set || !e->is_copied)
			continue;
		if (req->op == BLK_WRITE)
			iov_get(req->iov, req->niov,
				e->at + e->from - req->offset, e->buf + e->from,
				e->to - e->from);
		else
			memset(e->buf + e->from, 0, e->to - e->from);
	}
	job->step = req->op == BLK_WRITE ? step_send_write : step_send_zero;
	return true;
}

static bool step_copy(struct job *job)
{
	job_issue(job);
	if (!read_edge(job, &job->head) || !read_edge(job, &job->tail))
		return job_park(job, &job->overlay->starved);
	return job_issued(job, step_copied);
}

static bool step_settle(struct job *job)
{
	struct overlay *o = job->overlay;
	bool needs_flush =
		(job->req->flags & BLK_FUA) || (job->has_changed && !o->side);

	if (o->flags & QCOW2_EPHEMERAL)
		needs_flush = false;

	/* The flush is for later jobs too: they need not wait for it. */
	if (!list_is_empty(&job->changing)) {
		list_del(&job->changing);
		list_init(&job->changing);
		list_splice(&o->ready, &o->blocked);
	}
	return needs_flush ? job_flush(job) : job_end(job);
}

/* What becomes of @bits where @m (low half) becomes @kind. */
static uint64_t changed(const struct overlay *o, uint64_t bits, uint64_t m,
			enum kind kind, uint64_t sub)
{
	if (kind == KIND_DATA)
		return (bits | m) & ~(m << 32);
	/* Without a base there it reads as zeroes anyway. */
	if (!o->backing || sub * QCOW2_SUB >= o->backing->size)
		return bits & ~m;
	return (bits | m << 32) & ~m;
}

static bool step_apply(struct job *job)
{
	struct overlay *o = job->overlay;

	o->is_unsynced = true;
	while (!job->err && job->seg < ARRAY_SIZE(job->segs)) {
		struct seg *seg = &job->segs[job->seg];
		uint64_t end, cluster = seg->from / QCOW2_SUBS, bits;

		if (seg->from >= seg->to) {
			job->seg++;
			continue;
		}
		end = cluster_end(seg->from, seg->to);
		bits = changed(o, o->bits.of[cluster], mask(seg->from, end),
			       seg->kind, seg->from);
		if (bits != o->bits.of[cluster]) {
			if (!bits_set(&o->bits, cluster, bits)) {
				(void)job_park(job, &o->slotless);
				round_kick(o);
				return false;
			}
			job->has_changed = true;
		}
		seg->from = end;
	}
	if (job->err)
		return job_end(job);
	job->step = step_settle;
	return true;
}

/* Hand down @iov as the file's content from @job->from to @job->to. */
static bool step_send_write(struct job *job)
{
	struct overlay *o = job->overlay;
	const struct blk_req *req = job->req;
	const struct iovec *iov = req->iov;
	int niov = req->niov;

	if (job->niov) {
		iov = job->vecs ? job->vecs->iov : job->iov;
		niov = job->niov;
	} else if (job->is_copying) {
		bool has_head = job->head.is_set && job->head.is_copied;
		bool has_tail = job->tail.is_set && job->tail.is_copied;
		struct iovec *to = job->iov;
		uint64_t from = req->offset, end = from + req->len;

		if (niov + 2 > PART_VECS) {
			job->vecs = pool_take(&o->vecs);
			if (!job->vecs)
				return job_park(job, &o->starved);
			to = job->vecs->iov;
		}
		if (has_head) {
			job->from = job->head.at;
			from = job->head.at + job->head.to;
			to[job->niov++] =
				(struct iovec){job->head.buf, QCOW2_SUB};
		}
		if (has_tail)
			end = job->tail.at;
		if (from < end)
			job->niov += iov_slice(iov, niov, from - req->offset,
					       end - from, to + job->niov);
		if (has_tail)
			to[job->niov++] =
				(struct iovec){job->tail.buf, QCOW2_SUB};
		job->to = has_tail		    ? job->tail.at + QCOW2_SUB
			  : has_head && from == end ? job->head.at + QCOW2_SUB
						    : end;
		job->at = job->from;
		iov = to;
		niov = job->niov;
	}

	job_issue(job);
	while (job->at < job->to) {
		uint64_t chunk_end =
			round_down(job->at, QCOW2_CHUNK) + QCOW2_CHUNK;
		uint64_t len = min_u64(chunk_end, job->to) - job->at;
		struct part *part =
			part_new(job, BLK_WRITE, qcow2_place(job->at), len);

		if (!part)
			return job_park(job, &o->starved);
		if (len == job->to - job->from) {
			part->req.iov = iov;
			part->req.niov = niov;
		} else if (!part_slice(part, iov, niov, job->at - job->from)) {
			return job_park(job, &o->starved);
		}
		job->at += len;
		blk_submit(o->file, &part->req);
	}
	/* Only what is written whole becomes data; an edge in place is data
	 * already, or somebody has zeroed it since. */
	job->segs[0] = (struct seg){
		.from = sub_up(job->from),
		.to = is_whole(o, job->to) ? sub_up(job->to)
					   : sub_down(job->to),
		.kind = KIND_DATA,
	};
	return job_issued(job, step_apply);
}

static bool step_plan_write(struct job *job)
{
	struct overlay *o = job->overlay;
	bool is_settled;

	set_edges(job);
	if (is_blocked(job))
		return job_park(job, &o->blocked);
	if (!take_buffers(job))
		return job_park(job, &o->starved);
	if (!is_here(o, job->req, &is_settled))
		list_add_tail(&o->changing, &job->changing);
	job->from = job->at = job->req->offset;
	job->to = job->from + job->req->len;
	job->step = job->is_copying ? step_copy : step_send_write;
	return true;
}

bool qcow2_start_write(struct overlay *o, struct blk_req *req)
{
	bool is_settled;
	uint64_t end = req->offset + req->len;

	uint32_t flags = req->flags & (BLK_FUA | BLK_LOW);

	if (o->flags & QCOW2_EPHEMERAL)
		flags &= ~BLK_FUA;
	if (is_here(o, req, &is_settled) &&
	    (is_settled || !(flags & BLK_FUA)) &&
	    req->offset / QCOW2_CHUNK == (end - 1) / QCOW2_CHUNK)
		return overlay_forward(o, req, o->file,
				       qcow2_place(req->offset), flags);
	return job_new(o, req, step_plan_write);
}

/* The edge's part of a zero request; or all of its subcluster, if copied. */
static bool write_edge(struct job *job, struct edge *edge)
{
	struct overlay *o = job->overlay;
	uint64_t from = edge->is_copied ? 0 : edge->from;
	uint64_t to = edge->is_copied ? QCOW2_SUB : edge->to;
	struct part *part;

	if (!edge->is_set || edge->is_written)
		return true;
	part = part_new(job, BLK_WRITE, qcow2_place(edge->at + from),
			to - from);
	if (!part)
		return false;
	part->iov[0] = (struct iovec){
		edge->is_copied ? edge->buf : zeroes,
		to - from,
	};
	part->req.iov = part->iov;
	part->req.niov = 1;
	edge->is_written = true;
	blk_submit(o->file, &part->req);
	return true;
}

/* Whether there is anything in the file from @from to @to to be punched. */
static bool has_data(const struct overlay *o, uint64_t from, uint64_t to)
{
	while (from < to) {
		uint64_t len;

		if (overlay_run(o, from, to, &len) == KIND_DATA)
			return true;
		from += len;
	}
	return false;
}

static struct seg edge_seg(const struct edge *edge)
{
	uint64_t sub = sub_down(edge->at);

	if (!edge->is_set || !edge->is_copied)
		return (struct seg){0};
	return (struct seg){sub, sub + 1, KIND_DATA};
}

static bool step_send_zero(struct job *job)
{
	struct overlay *o = job->overlay;
	const struct blk_req *req = job->req;
	bool is_kept = req->op == BLK_ZERO && (req->flags & BLK_NO_HOLE) &&
		       (o->file->can & BLK_CAN_ZERO);
	bool can_punch =
		!(req->flags & BLK_NO_HOLE) && (o->file->can & BLK_CAN_DISCARD);

	job_issue(job);
	if (!write_edge(job, &job->head) || !write_edge(job, &job->tail))
		return job_park(job, &o->starved);
	while (job->at < job->to && (is_kept || can_punch)) {
		uint64_t chunk_end =
			round_down(job->at, QCOW2_CHUNK) + QCOW2_CHUNK;
		uint64_t len = min_u64(chunk_end, job->to) - job->at;
		struct part *part;

		if (!is_kept && !has_data(o, job->at, job->at + len)) {
			job->at += len;
			continue;
		}
		part = part_new(job, is_kept ? BLK_ZERO : BLK_DISCARD,
				qcow2_place(job->at), len);
		if (!part)
			return job_park(job, &o->starved);
		/* The bits make it zeroes, whether it is punched or not. */
		part->is_optional = !is_kept;
		if (is_kept)
			part->req.flags |=
				req->flags & (BLK_NO_HOLE | BLK_FAST);
		job->at += len;
		blk_submit(o->file, &part->req);
	}
	job->segs[0] = edge_seg(&job->head);
	job->segs[1] = (struct seg){
		.from = sub_up(job->from),
		.to = sub_up(job->to),
		.kind = is_kept ? KIND_DATA : KIND_ZERO,
	};
	job->segs[2] = edge_seg(&job->tail);
	return job_issued(job, step_apply);
}

/* An edge that reads as zeroes is done; a discard leaves its edges be. */
static void drop_edge(struct job *job, struct edge *edge)
{
	if (edge->is_set && (job->req->op == BLK_DISCARD ||
			     kind_at(job->overlay, edge->at) == KIND_ZERO))
		edge->is_set = false;
}

static bool step_plan_zero(struct job *job)
{
	struct overlay *o = job->overlay;
	uint64_t end = job->req->offset + job->req->len;

	set_edges(job);
	job->from =
		job->head.is_set ? job->head.at + QCOW2_SUB : job->req->offset;
	job->to = job->tail.is_set				? job->tail.at
		  : job->head.is_set && job->first == job->last ? job->from
								: end;
	drop_edge(job, &job->head);
	drop_edge(job, &job->tail);
	job->is_copying = (job->head.is_set && job->head.is_copied) ||
			  (job->tail.is_set && job->tail.is_copied);
	if (is_blocked(job))
		return job_park(job, &o->blocked);
	if (!take_buffers(job))
		return job_park(job, &o->starved);
	list_add_tail(&o->changing, &job->changing);
	job->at = job->from;
	job->step = job->is_copying ? step_copy : step_send_zero;
	return true;
}

bool qcow2_start_zero(struct overlay *o, struct blk_req *req)
{
	return job_new(o, req, step_plan_zero);
}
