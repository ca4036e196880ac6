/* SPDX-License-Identifier: Apache-2.0 */
/* qcow2_read.c - what is where: read, status, cache */
#include <errno.h>

#include "base/iov.h"
#include "store/qcow2_layer.h"

/* One part per stretch of one kind; zeroes need none. */
static bool step_read(struct job *job)
{
	struct overlay *o = job->overlay;
	struct blk_req *req = job->req;
	uint64_t end = req->offset + req->len;

	job_issue(job);
	while (job->at < end && !job->err) {
		uint64_t len, done = job->at - req->offset;
		enum kind kind = overlay_run(o, job->at, end, &len);
		struct blk *below = kind == KIND_DATA ? o->file : o->backing;
		struct part *part;

		if (kind == KIND_ZERO) {
			iov_zero(req->iov, req->niov, done, len);
			job->at += len;
			continue;
		}
		part = part_new(job, BLK_READ,
				kind == KIND_DATA ? qcow2_place(job->at)
						  : job->at,
				len);
		if (!part || !part_slice(part, req->iov, req->niov, done))
			return job_park(job, &o->starved);
		job->at += len;
		blk_submit(below, &part->req);
	}
	return job_issued(job, job_end);
}

bool qcow2_start_read(struct overlay *o, struct blk_req *req)
{
	uint32_t flags = req->flags & BLK_LOW;
	uint64_t len;
	enum kind kind =
		overlay_run(o, req->offset, req->offset + req->len, &len);

	if (len < req->len)
		return job_new(o, req, step_read);
	if (kind == KIND_DATA)
		return overlay_forward(o, req, o->file,
				       qcow2_place(req->offset), flags);
	if (kind == KIND_BASE)
		return overlay_forward(o, req, o->backing, req->offset, flags);
	iov_zero(req->iov, req->niov, 0, req->len);
	blk_end(req, 0);
	return true;
}

/* Only what is in the base can need to be fetched. */
static bool step_cache(struct job *job)
{
	struct overlay *o = job->overlay;
	uint64_t end = job->req->offset + job->req->len;

	job_issue(job);
	while (job->at < end) {
		uint64_t len;
		enum kind kind = overlay_run(o, job->at, end, &len);

		if (kind == KIND_BASE) {
			struct part *part =
				part_new(job, BLK_CACHE, job->at, len);

			if (!part)
				return job_park(job, &o->starved);
			part->is_optional = true;
			job->at += len;
			blk_submit(o->backing, &part->req);
		} else {
			job->at += len;
		}
	}
	return job_issued(job, job_end);
}

bool qcow2_start_cache(struct overlay *o, struct blk_req *req)
{
	uint64_t len;

	if (overlay_run(o, req->offset, req->offset + req->len, &len) ==
		    KIND_BASE &&
	    len == req->len)
		return overlay_forward(o, req, o->backing, req->offset,
				       req->flags & BLK_LOW);
	return job_new(o, req, step_cache);
}

static uint64_t status_len(const struct blk_req *req, int n)
{
	uint64_t len = 0;

	for (int i = 0; i < n; i++)
		len += req->extents[i].len;
	return len;
}

/*
 * The extents so far are job->nextents; where the base shows through it is
 * asked, and fills the next ones itself.
 */
static bool step_status(struct job *job)
{
	struct overlay *o = job->overlay;
	struct blk_req *req = job->req;
	uint64_t end = req->offset + req->len, len;
	uint64_t at = req->offset + status_len(req, job->nextents);

	if (!job->err && at == job->at && job->nextents)
		job->err = -EIO; /* the base had nothing to say */
	job->at = at;
	while (!job->err && at < end && job->nextents < req->nextents) {
		enum kind kind = overlay_run(o, at, end, &len);
		struct part *part;

		if (kind != KIND_BASE) {
			req->extents[job->nextents++] = (struct blk_extent){
				.len = len,
				.flags = BLK_CACHED |
					 (kind == KIND_ZERO
						  ? BLK_HOLE | BLK_ZEROES
						  : 0),
			};
			at += len;
			continue;
		}
		part = part_new(job, BLK_STATUS, at, len);
		if (!part)
			return job_park(job, &o->starved);
		part->req.extents = req->extents + job->nextents;
		part->req.nextents = req->nextents - job->nextents;
		job->at = at;
		job_issue(job);
		blk_submit(o->backing, &part->req);
		return job_issued(job, step_status);
	}
	req->nextents = job->err ? 0 : job->nextents;
	return job_end(job);
}

bool qcow2_start_status(struct overlay *o, struct blk_req *req)
{
	uint64_t len;

	if (overlay_run(o, req->offset, req->offset + req->len, &len) ==
		    KIND_BASE &&
	    len == req->len)
		return overlay_forward(o, req, o->backing, req->offset,
				       req->flags);
	return job_new(o, req, step_status);
}
