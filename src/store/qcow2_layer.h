/* SPDX-License-Identifier: Apache-2.0 */
/*
 * qcow2_layer.h - what the files of the overlay layer share
 *
 *	qcow2.c		the layer: requests in, jobs, their end
 *	qcow2_read.c	read, status, cache
 *	qcow2_write.c	write, discard, zero
 *	qcow2_flush.c	rounds: data, then the bits of it
 *
 * A request that the file or the base can answer alone is handed down as one
 * part. Any other becomes a job, which goes through steps; a step may hand
 * parts down. A job is in one place at a time:
 *
 *	running (a step of it is on the stack), or with parts in flight,
 *	ready		its next step can run
 *	blocked		another job changes the same subclusters
 *	starved		a pool is empty
 *	slotless	all slots for dirty bits are taken: until a round ends
 *	to_flush	ends with the next round
 *	flushing	ends with this round
 *
 * Whatever ends while a step runs only marks its job as ready. Jobs run from
 * one loop, in overlay_leave(): no step is ever inside another.
 *
 * Which requests exclude each other. Whole subclusters may be written, zeroed
 * and read in any order at a time: each has its place in the file, and its
 * bits are set after its data. A write of a part of a subcluster that is not
 * in the file is different: it reads the rest from the base and writes all
 * (copy-on-write). So jobs that change bits are in the list "changing", and
 * of two that overlap there, where one copies, the later one waits. A write of
 * a part of a subcluster that is in the file just writes its bytes, and leaves
 * the bits alone: whoever zeroes the subcluster meanwhile has the last word.
 */
#ifndef STORE_QCOW2_LAYER_H
#define STORE_QCOW2_LAYER_H

#include "base/blk.h"
#include "base/list.h"
#include "base/pool.h"
#include "store/qcow2.h"
#include "store/qcow2_bits.h"
#include "store/qcow2_image.h"

#define PART_VECS   8 /* entries of an iovec that a part has room for */
#define VECS_MAX    1024 /* entries of a request's iovec at most: IOV_MAX */
#define ROUND_PAGES 8u /* of L2 tables in flight */

enum kind {
	KIND_BASE, /* neither bit: what the base has */
	KIND_DATA, /* in the file */
	KIND_ZERO /* zeroes; also behind the end of the base, or without one */
};

/** struct vecs - room for any iovec: a request's and an edge on each side */
struct vecs {
	struct iovec iov[VECS_MAX + 2];
};

/**
 * struct part - a request of ours to the file or the base
 * @parent:	the request that it answers alone; or NULL
 * @job:	the job that it is part of; or NULL
 * @is_optional: its failing is no error
 */
struct part {
	struct blk_req req; /* first */
	struct overlay *overlay;
	struct blk_req *parent;
	struct job *job;
	bool is_optional;
	struct vecs *vecs; /* of the pool, if @iov is too small */
	struct iovec iov[PART_VECS];
};

/**
 * struct edge - a subcluster that a request covers in part
 * @at:		its offset
 * @from, @to:	bytes of it that the request covers
 * @buf:	copying: what it will be; of the pool
 */
struct edge {
	bool is_set;
	bool is_copied;
	bool is_written; /* zero: its part is on its way */
	uint64_t at;
	uint64_t from, to;
	uint8_t *buf;
};

/** struct seg - subclusters whose bits a job sets, by number, @to not in */
struct seg {
	uint64_t from, to;
	enum kind kind;
};

/**
 * struct job - a request on its way through steps
 * @step:	the next one. Return: true to go on, false if the job is
 *		elsewhere now (see above), or gone.
 */
struct job {
	struct list list; /* of the overlay's, where it waits */
	struct overlay *overlay;
	struct blk_req *req;
	bool (*step)(struct job *job);
	unsigned parts; /* in flight; and one while a step hands some down */
	bool is_issuing;
	int err; /* the first one */
	uint64_t at; /* how far it is handed down, an offset */
	int nextents; /* status */

	/* write, zero, discard: */
	struct list changing; /* of the overlay's */
	uint64_t first, last; /* subclusters that it touches */
	bool is_copying; /* one of the edges is copied */
	bool has_changed; /* bits */
	struct edge head, tail;
	uint64_t from, to; /* what is written or punched, offsets */
	struct seg segs[3];
	unsigned seg; /* to be applied next, and the rest of it */
	struct vecs *vecs; /* of the pool, if @iov is too small */
	struct iovec iov[PART_VECS];
	int niov;
};

struct overlay;

/** struct round_page - a page of an L2 table on its way into the file */
struct round_page {
	struct blk_req req; /* first */
	struct overlay *overlay;
	struct iovec iov;
	uint8_t bytes[BITS_PAGE];
};

/** struct round - data is flushed, then its bits are written and flushed */
struct round {
	void (*step)(struct overlay *overlay); /* NULL: no round */
	bool is_ready; /* @step can run */
	bool has_bits;
	bool is_data_synced;
	int err;
	unsigned page; /* for bits_page() */
	unsigned in_flight;
	struct blk_req req; /* flush */
	struct round_page *pages[ROUND_PAGES]; /* owned; made when needed */
	bool is_busy[ROUND_PAGES];
};

struct overlay {
	struct blk blk; /* first */
	struct blk *file; /* owned */
	struct blk *backing; /* owned, or NULL */
	unsigned flags;
	struct qcow2_image image;
	struct bits bits;
	struct qcow2_side_slot *side; /* or NULL */

	struct pool jobs, parts, vecs, edges;
	struct list ready, blocked, starved, slotless, to_flush, flushing;
	struct list changing;
	struct blk_req *waiting; /* requests that found a pool empty */
	struct blk_req **waiting_end;
	bool has_spare; /* something was given back to a pool */

	unsigned depth; /* of calls into the layer */
	bool is_freed; /* in such a call; done when it returns */
	bool is_unsynced; /* data ended in the file since a round began */
	int broken; /* what a flush of data failed with: no flush holds again */
	struct round round;
	struct qcow2_stats stats;
};

/**
 * qcow2_layer_new() - the layer, over a file of any kind
 * @image:	as loaded; consumed on success
 * @side:	or NULL; consumed likewise
 * @file:	the image's bytes; owned from success on
 * @backing:	likewise; or NULL
 */
int qcow2_layer_new(struct qcow2_image *image, struct qcow2_side_slot *side,
		    unsigned flags, struct blk *file, struct blk *backing,
		    struct blk **ret) __attribute__((warn_unused_result));

/* Around every call into the layer; the outermost leave runs what is ready. */
static inline void overlay_enter(struct overlay *o)
{
	o->depth++;
}
void overlay_leave(struct overlay *o);

/** overlay_run() - how much from @offset on is of one kind: @len, up to @end */
enum kind overlay_run(const struct overlay *o, uint64_t offset, uint64_t end,
		      uint64_t *len);

/** job_new() - for @req. Return: NULL: none is free. */
struct job *job_new(struct overlay *o, struct blk_req *req,
		    bool (*step)(struct job *));

/** job_ready() - its step will run */
void job_ready(struct job *job);

/** job_park() - into a list of waiting ones. Return: false. */
bool job_park(struct job *job, struct list *list);

/** job_end() - end the request with @job->err. Return: false. A step. */
bool job_end(struct job *job);

/* A step that hands down parts begins with job_issue() and ends with "return
 * job_issued(job, next)"; between them it may park the job, and then begins
 * anew. */
void job_issue(struct job *job);
bool job_issued(struct job *job, bool (*next)(struct job *));

/** part_new() - of @job, with no iovec. Return: NULL: none is free. */
struct part *part_new(struct job *job, enum blk_op op, uint64_t offset,
		      uint64_t len);

/**
 * part_slice() - give @part the @part->req.len bytes from @at into @iov
 *
 * Return: false: no room is free, and @part is gone.
 */
bool part_slice(struct part *part, const struct iovec *iov, int niov,
		uint64_t at);

/* Each takes up a request: begins it, or ends it. Return: false: a pool is
 * empty, and nothing has happened. */
bool qcow2_start_read(struct overlay *o, struct blk_req *req);
bool qcow2_start_status(struct overlay *o, struct blk_req *req);
bool qcow2_start_cache(struct overlay *o, struct blk_req *req);
bool qcow2_start_write(struct overlay *o, struct blk_req *req);
bool qcow2_start_zero(struct overlay *o, struct blk_req *req);
bool qcow2_start_flush(struct overlay *o, struct blk_req *req);

/** overlay_forward() - hand @req down to @below whole, at @offset there */
bool overlay_forward(struct overlay *o, struct blk_req *req, struct blk *below,
		     uint64_t offset, uint32_t flags);

/** round_kick() - begin a round if somebody needs one and none is going on */
void round_kick(struct overlay *o);

/** job_flush() - end @job after the next round. Return: false. A step. */
bool job_flush(struct job *job);

#endif
