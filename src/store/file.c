/* SPDX-License-Identifier: Apache-2.0 */
/*
 * file.c - requests to a file, over the loop's io_uring
 *
 * Each request has an op of a pool from its start to its end; when all ops are
 * taken it waits in a queue for the next one that comes free. An op goes
 * through steps, one at a time in the kernel:
 *
 *	read, write:	DATA, again until all bytes are done
 *	flush:		SYNC
 *	discard:	PUNCH, then SYNC if BLK_FUA
 *	zero:		PUNCH, else RANGE, else ZEROES until all bytes are
 *			done; then SYNC if BLK_FUA
 *	cache:		ADVISE
 *
 * A short read of what the page cache has needs none of this: it is over before
 * submit returns.
 *
 * Status is answered at once: looking for holes is quick on a local file
 * system, and on others we do not look.
 */
#include "store/file.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/uio.h>

#include "base/array.h"
#include "base/blk.h"
#include "base/loop.h"
#include "base/pool.h"
#include "store/file_open.h"

#define OPS_MAX	    4096u /* in flight per file; more wait */
#define TRIES_MAX   100u /* of a call that the kernel says to try again */
#define PIECE_MAX   (1024 * MIB) /* io_uring counts bytes in 32 bits */
#define VECS_MAX    1024 /* IOV_MAX */
#define ZEROES_SIZE (256 * KIB)
#define EXTENTS_MAX 256 /* found per request: two system calls each */

#define AT_ONCE_MAX (256 * KIB) /* longer reads leave the loop to others */

/* Reads not tried at once after one that the page cache did not have. */
#define SKIP_AFTER_MISS 8u

enum step {
	STEP_DATA,
	STEP_PUNCH,
	STEP_RANGE,
	STEP_ZEROES,
	STEP_SYNC,
	STEP_ADVISE
};

struct file {
	struct blk blk; /* first */
	struct loop *loop;
	struct file_fds fds; /* owned */
	struct pool ops; /* of struct file_op */
	unsigned nskip; /* reads to give to the ring without a try */
	struct blk_req *waiting; /* the first one that has no op */
	struct blk_req **waiting_end; /* where to link the next */
};

struct file_op {
	struct loop_op op;
	struct file *file;
	struct blk_req *req;
	enum step step;
	unsigned tries;
	bool is_direct; /* DATA: past the page cache */
	int vec; /* DATA: where in req->iov the rest begins */
	size_t skip; /* DATA: and how far into that entry */
	uint64_t did; /* DATA, ZEROES: bytes */
};

/* Never written to, so it takes no memory: all of it is the zero page. */
static const char zeroes[ZEROES_SIZE];

static void issue_data(struct file_op *op)
{
	struct blk_req *req = op->req;
	struct file *file = op->file;
	int fd = op->is_direct ? file->fds.direct : file->fds.buffered;
	const struct iovec *iov = &req->iov[op->vec];
	int niov = req->niov - op->vec;
	uint64_t at = req->offset + op->did;
	int flags = 0;
	struct io_uring_sqe *sqe = loop_sqe(file->loop, &op->op);

	if (req->op == BLK_WRITE && (req->flags & BLK_FUA))
		flags = RWF_DSYNC;
	/* The rest of a half-done entry goes alone, so that no entry needs to
	 * be copied and changed; so does a huge one. */
	if (niov == 1 || op->skip || iov->iov_len > PIECE_MAX) {
		char *base = (char *)iov->iov_base + op->skip;
		unsigned len =
			(unsigned)min_u64(iov->iov_len - op->skip, PIECE_MAX);

		if (req->op == BLK_READ)
			io_uring_prep_read(sqe, fd, base, len, at);
		else
			io_uring_prep_write(sqe, fd, base, len, at);
		sqe->rw_flags = flags;
		return;
	}
	if (niov > VECS_MAX)
		niov = VECS_MAX;
	if (req->op == BLK_READ)
		io_uring_prep_readv2(sqe, fd, iov, (unsigned)niov, at, flags);
	else
		io_uring_prep_writev2(sqe, fd, iov, (unsigned)niov, at, flags);
}

static void issue(struct file_op *op)
{
	struct blk_req *req = op->req;
	struct loop *loop = op->file->loop;
	int fd = op->file->fds.buffered;

	switch (op->step) {
	case STEP_DATA:
		issue_data(op);
		return;
	case STEP_PUNCH:
		io_uring_prep_fallocate(loop_sqe(loop, &op->op), fd,
					FALLOC_FL_PUNCH_HOLE |
						FALLOC_FL_KEEP_SIZE,
					(off_t)req->offset, (off_t)req->len);
		return;
	case STEP_RANGE:
		io_uring_prep_fallocate(loop_sqe(loop, &op->op), fd,
					FALLOC_FL_ZERO_RANGE |
						FALLOC_FL_KEEP_SIZE,
					(off_t)req->offset, (off_t)req->len);
		return;
	case STEP_ZEROES:
		io_uring_prep_write(
			loop_sqe(loop, &op->op), fd, zeroes,
			(unsigned)min_u64(req->len - op->did, ZEROES_SIZE),
			req->offset + op->did);
		return;
	case STEP_SYNC:
		io_uring_prep_fsync(loop_sqe(loop, &op->op), fd,
				    IORING_FSYNC_DATASYNC);
		return;
	case STEP_ADVISE:
		io_uring_prep_fadvise(loop_sqe(loop, &op->op), fd, req->offset,
				      (off_t)min_u64(req->len, PIECE_MAX),
				      POSIX_FADV_WILLNEED);
		return;
	}
}

static bool is_aligned(const struct file *file, const struct blk_req *req)
{
	uint64_t memory = 0;

	for (int i = 0; i < req->niov; i++)
		memory |= (uintptr_t)req->iov[i].iov_base | req->iov[i].iov_len;
	return !(memory & (file->fds.memory_align - 1)) &&
	       !((req->offset | req->len) & (file->fds.offset_align - 1));
}

static void start(struct file *file, struct blk_req *req, struct file_op *op);

/* The end of a request: its op goes to the next one that waits. The request is
 * ended last, as its owner may free the file then. */
static void finish(struct file_op *op, int res)
{
	struct file *file = op->file;
	struct blk_req *req = op->req, *next = file->waiting;

	if (next) {
		file->waiting = next->next;
		if (!file->waiting)
			file->waiting_end = &file->waiting;
		start(file, next, op);
	} else {
		pool_give(&file->ops, op);
	}
	blk_end(req, res);
}

static void next_step(struct file_op *op, enum step step)
{
	op->step = step;
	op->tries = 0;
	issue(op);
}

/* All is done but what BLK_FUA asks for beyond it. */
static void finish_synced(struct file_op *op)
{
	if (op->req->flags & BLK_FUA)
		next_step(op, STEP_SYNC);
	else
		finish(op, 0);
}

static bool is_impossible(int res)
{
	/* EINVAL is how a block device says that it wants whole sectors. */
	return res == -EOPNOTSUPP || res == -ENOSYS || res == -EINVAL;
}

static void done_data(struct file_op *op, int res)
{
	struct blk_req *req = op->req;

	if (res == -EINVAL && op->is_direct) {
		/* Wants more alignment than it told us. */
		op->is_direct = false;
		issue(op);
		return;
	}
	if (res <= 0) {
		finish(op, res ? res : -EIO); /* 0: the file has shrunk */
		return;
	}
	op->did += (unsigned)res;
	if (op->did >= req->len) {
		finish(op, 0);
		return;
	}
	for (size_t left = (unsigned)res; left;) {
		size_t here = req->iov[op->vec].iov_len - op->skip;

		if (left < here) {
			op->skip += left;
			break;
		}
		left -= here;
		op->vec++;
		op->skip = 0;
	}
	while (!req->iov[op->vec].iov_len)
		op->vec++;
	/* What is left need not be aligned. */
	op->is_direct = false;
	next_step(op, STEP_DATA);
}

static void done_zeroes(struct file_op *op, int res)
{
	if (res <= 0) {
		finish(op, res ? res : -EIO);
		return;
	}
	op->did += (unsigned)res;
	if (op->did < op->req->len)
		next_step(op, STEP_ZEROES);
	else
		finish_synced(op);
}

static void done_hole(struct file_op *op, int res)
{
	struct blk_req *req = op->req;

	if (res == 0)
		finish_synced(op);
	else if (!is_impossible(res))
		finish(op, res);
	else if (req->op == BLK_DISCARD)
		finish(op, 0); /* it was only a hint */
	else if (op->step == STEP_PUNCH && op->file->fds.can_zero_range)
		next_step(op, STEP_RANGE);
	else if (req->flags & BLK_FAST)
		finish(op, -EOPNOTSUPP);
	else
		next_step(op, STEP_ZEROES);
}

static void op_done(struct loop_op *loop_op, int res, uint32_t cqe_flags)
{
	struct file_op *op = container_of(loop_op, struct file_op, op);

	(void)cqe_flags;
	if ((res == -EAGAIN || res == -EINTR) && op->tries++ < TRIES_MAX) {
		issue(op);
		return;
	}
	switch (op->step) {
	case STEP_DATA:
		done_data(op, res);
		return;
	case STEP_PUNCH:
	case STEP_RANGE:
		done_hole(op, res);
		return;
	case STEP_ZEROES:
		done_zeroes(op, res);
		return;
	case STEP_SYNC:
		finish(op, res);
		return;
	case STEP_ADVISE:
		finish(op, 0); /* failing to is no error */
		return;
	}
}

static enum step first_step(const struct file *file, const struct blk_req *req)
{
	switch (req->op) {
	case BLK_FLUSH:
		return STEP_SYNC;
	case BLK_DISCARD:
		return STEP_PUNCH;
	case BLK_ZERO:
		if (!(req->flags & BLK_NO_HOLE))
			return STEP_PUNCH;
		return file->fds.can_zero_range ? STEP_RANGE : STEP_ZEROES;
	case BLK_CACHE:
		return STEP_ADVISE;
	default:
		return STEP_DATA;
	}
}

static void start(struct file *file, struct blk_req *req, struct file_op *op)
{
	*op = (struct file_op){
		.op.done = op_done,
		.file = file,
		.req = req,
		.step = first_step(file, req),
	};
	if (op->step == STEP_DATA)
		op->is_direct = file->fds.direct >= 0 && is_aligned(file, req);
	issue(op);
}

/* Fill @req's extents by looking for data and holes in turn. */
static int status(const struct file *file, struct blk_req *req)
{
	uint64_t at = req->offset, end = req->offset + req->len;
	int max = req->nextents < EXTENTS_MAX ? req->nextents : EXTENTS_MAX;
	int n = 0;

	while (at < end && n < max) {
		struct blk_extent extent = {0};
		uint64_t to;
		off_t seen = lseek(file->fds.buffered, (off_t)at, SEEK_DATA);

		if (seen == (off_t)at) {
			seen = lseek(file->fds.buffered, (off_t)at, SEEK_HOLE);
		} else {
			extent.flags = BLK_HOLE | BLK_ZEROES;
			if (seen < 0 && errno == ENXIO) /* no data from here */
				seen = lseek(file->fds.buffered, 0, SEEK_END);
		}
		if (seen < 0)
			return -errno;
		to = min_u64((uint64_t)seen, end);
		if (to <= at) /* the file has shrunk */
			break;
		extent.len = to - at;
		req->extents[n++] = extent;
		at = to;
	}
	if (!n)
		return -EIO;
	req->nextents = n;
	return 0;
}

/*
 * A read of what the page cache has is over before an op of the ring would be
 * set up. Return: whether it is; if not, nothing is done.
 */
static bool read_at_once(struct file *file, struct blk_req *req)
{
	ssize_t n;

	if (file->nskip) {
		file->nskip--;
		return false;
	}
	n = preadv2(file->fds.buffered, req->iov,
		    req->niov < VECS_MAX ? req->niov : VECS_MAX,
		    (off_t)req->offset, RWF_NOWAIT);
	if (n >= 0 && (uint64_t)n == req->len)
		return true;
	file->nskip = SKIP_AFTER_MISS;
	return false;
}

static void file_submit(struct blk *blk, struct blk_req *req)
{
	struct file *file = (struct file *)blk;
	struct file_op *op;

	if (req->op == BLK_READ && !(req->flags & BLK_LOW) &&
	    req->len <= AT_ONCE_MAX && file->fds.direct < 0 &&
	    read_at_once(file, req)) {
		blk_end(req, 0);
		return;
	}

	if (req->op == BLK_STATUS) {
		if (!file->fds.can_seek_hole)
			blk_end_as_data(req);
		else
			blk_end(req, status(file, req));
		return;
	}
	if (req->op == BLK_FLUSH && !(blk->can & BLK_CAN_WRITE)) {
		blk_end(req, 0);
		return;
	}
	op = pool_take(&file->ops);
	if (op) {
		start(file, req, op);
	} else if (file->ops.taken) {
		req->next = NULL;
		*file->waiting_end = req;
		file->waiting_end = &req->next;
	} else {
		blk_end(req, -ENOMEM); /* nobody would wake it */
	}
}

static void file_free(struct blk *blk)
{
	struct file *file = (struct file *)blk;

	assert(!file->waiting);
	pool_release(&file->ops);
	file_fds_release(&file->fds);
	free(file);
}

static const struct blk_ops file_ops = {
	.name = "file",
	.submit = file_submit,
	.free = file_free,
};

int file_open(struct loop *loop, const char *path, unsigned flags,
	      struct store_version *version, struct blk **ret, struct why *w)
{
	struct file *file = calloc(1, sizeof(*file));
	int err;

	if (!file)
		return -ENOMEM;
	err = file_fds_open(path, flags, version, &file->fds, w);
	if (err < 0) {
		free(file);
		return err;
	}
	file->blk = (struct blk){
		.ops = &file_ops,
		.size = file->fds.size,
		.block = 1,
		.can = file->fds.can,
	};
	file->loop = loop;
	file->waiting_end = &file->waiting;
	pool_init(&file->ops, sizeof(struct file_op), OPS_MAX);
	*ret = &file->blk;
	return 0;
}
