/* SPDX-License-Identifier: Apache-2.0 */
/* vhost_queue.c - the data path of a vhost-user queue */
#include "serve/vhost_queue.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include "base/array.h"
#include "base/clock.h"

#define RETRY_MS 10u /* after there was no memory for a request */

/*
 * Add one to an eventfd. A system call of its own: through the ring it came
 * 1.5 us later, and cost more. It does not block, see set_fd().
 */
static void signal_fd(int fd)
{
	static const uint64_t one = 1;

	/* Full: the driver has 2^64 calls that it has not heard yet. */
	if (fd >= 0 && write(fd, &one, sizeof(one)) < 0)
		return;
}

static void set_broken(struct vhost_queue *q)
{
	q->stats->broken++;
	signal_fd(q->err_fd);
}

/* What a migration has to copy once more. */
static void log_writes(const struct ram *ram, const struct virtio_blk_req *req,
		       uint32_t written)
{
	const struct iovec *iov = req->in;

	ram_dirty(ram, req->status, 1);
	for (uint64_t left = written - 1; left; iov++) {
		uint64_t n = min_u64(left, iov->iov_len);

		ram_dirty(ram, iov->iov_base, n);
		left -= n;
	}
}

static void on_answered(struct virtio_blk_req *req, uint32_t written)
{
	struct vhost_req *r = (struct vhost_req *)req;
	struct vhost_queue *q = r->queue;
	uint16_t head = req->chain.head;

	if (q->ram->log)
		log_writes(q->ram, req, written);
	pool_give(q->pool, r);
	virtq_push(&q->vq, head, written);
	vhost_inflight_push(&q->inflight, head);
	loop_defer(q->loop, &q->task);
}

/* Take one request and send it down. @head: -1 for the ring's next. */
static bool take(struct vhost_queue *q, int head)
{
	struct vhost_req *r = pool_take(q->pool);
	struct virtq_chain *chain;
	int err;

	if (!r) {
		loop_timer_set(q->loop, &q->retry,
			       clock_ns() + RETRY_MS * NS_PER_MS);
		return false;
	}
	chain = &r->req.chain;
	if (head < 0)
		err = virtq_pop(&q->vq, chain, r->req.iov, VIRTIO_BLK_IOVS);
	else
		err = virtq_pop_head(&q->vq, (uint16_t)head, chain, r->req.iov,
				     VIRTIO_BLK_IOVS);
	if (err < 0) {
		pool_give(q->pool, r);
		set_broken(q);
		return false;
	}
	vhost_inflight_take(&q->inflight, chain->head);
	r->queue = q;
	r->req.done = on_answered;
	q->stats->requests++;
	err = virtio_blk_submit(q->dev, &r->req);
	if (err < 0) {
		virtq_drop(&q->vq, chain->head);
		pool_give(q->pool, r);
		set_broken(q);
		return false;
	}
	return true;
}

/* Take all that is there now; what comes meanwhile waits for the next turn. */
static void process(struct vhost_queue *q)
{
	int n;

	if (!q->is_running || q->vq.state != VIRTQ_RUNNING)
		return;
	while (q->nagain) {
		unsigned i = --q->nagain;

		if (!take(q, q->again[i]))
			return;
	}
	n = virtq_avail(&q->vq);
	if (n < 0) {
		set_broken(q);
		return;
	}
	if (n > 0)
		virtq_quiet(&q->vq);
	if (n > 1)
		loop_is_busy(q->loop);
	while (n-- > 0)
		if (!take(q, -1))
			return;
	if (virtq_listen(&q->vq))
		loop_defer(q->loop, &q->task);
}

static void tell_idle(struct vhost_queue *q)
{
	if (!q->is_running && vhost_queue_is_idle(q))
		q->on_idle(q);
}

static void publish(struct vhost_queue *q)
{
	if (q->vq.published == q->vq.next_used)
		return;
	virtq_publish(&q->vq);
	vhost_inflight_publish(&q->inflight, q->vq.published);
	if (virtq_needs_signal(&q->vq)) {
		q->stats->calls++;
		signal_fd(q->call_fd);
	}
}

static void on_task(struct loop_task *task)
{
	struct vhost_queue *q = container_of(task, struct vhost_queue, task);

	publish(q);
	process(q);
	tell_idle(q);
}

static void on_retry(struct loop_timer *timer)
{
	process(container_of(timer, struct vhost_queue, retry));
}

static void arm_kick(struct vhost_queue *q)
{
	struct io_uring_sqe *sqe = loop_sqe(q->loop, &q->kick_op);

	q->is_kick_armed = true;
	io_uring_prep_poll_multishot(sqe, q->kick_fd, POLLIN);
}

static void on_kick(struct loop_op *op, int res, uint32_t cqe_flags)
{
	struct vhost_queue *q = container_of(op, struct vhost_queue, kick_op);

	(void)res;
	q->stats->kicks++;
	if (!(cqe_flags & IORING_CQE_F_MORE)) {
		q->is_kick_armed = false;
		if (!q->is_running) {
			tell_idle(q);
			return;
		}
		/* The kernel had no room for a completion; or it was paused
		 * and resumed while the poll was being cancelled. An error
		 * here would be one of the descriptor: it stays deaf. */
		if (res >= 0 || res == -ECANCELED)
			arm_kick(q);
	}
	process(q);
}

void vhost_queue_init(struct vhost_queue *q, struct loop *loop,
		      struct virtio_blk *dev, struct pool *pool,
		      const struct ram *ram, struct vhost_queue_stats *stats,
		      void (*on_idle)(struct vhost_queue *))
{
	*q = (struct vhost_queue){
		.loop = loop,
		.dev = dev,
		.pool = pool,
		.ram = ram,
		.stats = stats,
		.on_idle = on_idle,
		.kick_fd = -1,
		.call_fd = -1,
		.err_fd = -1,
		.kick_op.done = on_kick,
	};
	loop_task_init(&q->task, on_task);
	loop_timer_init(&q->retry, on_retry);
}

int vhost_queue_start(struct vhost_queue *q, const struct virtq_layout *layout,
		      uint8_t *inflight)
{
	int err = virtq_start(&q->vq, q->ram, layout);
	uint16_t heads[VIRTQ_SIZE_MAX];

	if (err < 0)
		return err;
	q->nagain = vhost_inflight_open(&q->inflight, inflight, layout->size,
					q->vq.published, heads);
	for (unsigned i = 0; i < q->nagain; i++) /* process() takes the last */
		q->again[i] = heads[q->nagain - 1 - i];
	q->stats->again += q->nagain;
	/* The ring was taken up to here: answered or not. */
	if (q->inflight.is_old)
		q->vq.next_avail = (uint16_t)(q->vq.published + q->nagain);
	return 0;
}

bool vhost_queue_is_started(const struct vhost_queue *q)
{
	return q->vq.state != VIRTQ_STOPPED;
}

void vhost_queue_stop(struct vhost_queue *q)
{
	assert(!q->is_running && vhost_queue_is_idle(q));
	virtq_stop(&q->vq);
	q->nagain = 0;
}

void vhost_queue_pause(struct vhost_queue *q)
{
	if (!q->is_running)
		return;
	q->is_running = false;
	loop_timer_cancel(&q->retry);
	if (q->is_kick_armed)
		loop_cancel(q->loop, &q->kick_op);
}

void vhost_queue_resume(struct vhost_queue *q)
{
	if (q->is_running || !vhost_queue_is_started(q))
		return;
	q->is_running = true;
	if (!q->is_kick_armed && q->kick_fd >= 0)
		arm_kick(q);
	loop_defer(q->loop, &q->task);
}

bool vhost_queue_is_idle(const struct vhost_queue *q)
{
	return !q->vq.out && !q->is_kick_armed &&
	       q->vq.published == q->vq.next_used &&
	       list_is_empty(&q->task.list);
}

static void set_fd(int *to, int fd)
{
	int flags = fd >= 0 ? fcntl(fd, F_GETFL) : -1;

	if (*to >= 0)
		(void)close(*to);
	/* A front-end that does not listen must not hold up the others. */
	if (flags >= 0)
		(void)fcntl(fd, F_SETFL, flags | O_NONBLOCK);
	*to = fd;
}

void vhost_queue_set_call(struct vhost_queue *q, int fd)
{
	set_fd(&q->call_fd, fd);
	if (vhost_queue_is_started(q))
		signal_fd(fd);
}

void vhost_queue_set_err(struct vhost_queue *q, int fd)
{
	set_fd(&q->err_fd, fd);
}

void vhost_queue_set_kick(struct vhost_queue *q, int fd)
{
	assert(!q->is_kick_armed);
	set_fd(&q->kick_fd, fd);
}
