/* SPDX-License-Identifier: Apache-2.0 */
/* loop.c - turns of an io_uring; loop.h has the order of things in a turn */
#include "base/loop.h"

#include <assert.h>
#include <errno.h>
#include <sched.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/why.h"

#define SQ_ENTRIES 1024u
#define CQ_ENTRIES 8192u
/* How long to look for a completion before sleeping: about what it costs to
 * sleep, and to be woken on another CPU. */
#define SPIN_NS (50 * NS_PER_US)
/* So many turns of one request each, before it is worth it. */
#define SPIN_SINGLES 8u
/* A wait shorter than this would have been shorter still without sleep. */
#define QUICK_NS (2 * SPIN_NS)

struct loop {
	struct io_uring ring;
	struct list tasks; /* of struct loop_task */
	struct list timers; /* of struct loop_timer, the soonest first */
	unsigned leaving; /* watches on their way to @released */
	bool is_stopped;
	bool is_quick; /* the last wait was short: the next may be, too */
	unsigned singles; /* turns of one completion, without a break */
};

int loop_new(struct loop **ret, struct why *w)
{
	struct io_uring_params params = {
		.flags = IORING_SETUP_CQSIZE | IORING_SETUP_SINGLE_ISSUER |
			 IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
		.cq_entries = CQ_ENTRIES,
	};
	struct loop *loop = calloc(1, sizeof(*loop));
	int err;

	if (!loop)
		return why(w, -ENOMEM, "event loop");
	err = io_uring_queue_init_params(SQ_ENTRIES, &loop->ring, &params);
	if (err == -EINVAL) { /* before Linux 6.1 */
		params.flags = IORING_SETUP_CQSIZE;
		err = io_uring_queue_init_params(SQ_ENTRIES, &loop->ring,
						 &params);
	}
	if (err < 0) {
		free(loop);
		return why(w, err,
			   "io_uring_setup (check sysctl kernel."
			   "io_uring_disabled, and the container's seccomp "
			   "profile)");
	}
	list_init(&loop->tasks);
	list_init(&loop->timers);
	*ret = loop;
	return 0;
}

struct loop *loop_free(struct loop *loop)
{
	if (!loop)
		return NULL;
	assert(list_is_empty(&loop->tasks));
	assert(list_is_empty(&loop->timers));
	while (loop->leaving && loop_turn(loop) == 0)
		continue;
	io_uring_queue_exit(&loop->ring);
	free(loop);
	return NULL;
}

struct io_uring *loop_ring(struct loop *loop)
{
	return &loop->ring;
}

struct io_uring_sqe *loop_sqe(struct loop *loop, struct loop_op *op)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&loop->ring);

	while (!sqe) {
		(void)io_uring_submit(&loop->ring);
		sqe = io_uring_get_sqe(&loop->ring);
	}
	io_uring_sqe_set_data(sqe, op);
	return sqe;
}

void loop_cancel(struct loop *loop, struct loop_op *op)
{
	static struct loop_op nobody;

	io_uring_prep_cancel(loop_sqe(loop, &nobody), op, 0);
}

/* Return: whether any ran; so does run_timers(). */
static bool run_tasks(struct loop *loop)
{
	bool is_any = !list_is_empty(&loop->tasks);
	struct list now;

	/* Those set from here on run in the next turn, which will not wait. */
	list_init(&now);
	list_splice(&now, &loop->tasks);
	while (!list_is_empty(&now)) {
		struct loop_task *task =
			list_first(&now, struct loop_task, list);

		list_del(&task->list);
		task->run(task);
	}
	return is_any;
}

static bool run_timers(struct loop *loop)
{
	bool is_any = false;
	uint64_t now;

	if (list_is_empty(&loop->timers))
		return false;
	now = clock_ns();
	while (!list_is_empty(&loop->timers)) {
		struct loop_timer *timer =
			list_first(&loop->timers, struct loop_timer, list);

		if (timer->at_ns > now)
			break;
		list_del(&timer->list);
		timer->run(timer);
		is_any = true;
	}
	return is_any;
}

/*
 * Look for a completion for a moment. One peer that asks, waits for the answer
 * and asks again costs us a sleep and a wake-up for each request; that is
 * most of its latency. The CPU is offered to others all the while: on the same
 * CPU the peer runs at once.
 *
 * Return: whether there is one.
 */
static bool spin(struct loop *loop, uint64_t until_ns)
{
	struct io_uring *ring = &loop->ring;

	(void)io_uring_submit_and_get_events(ring);
	do {
		if (io_uring_cq_ready(ring))
			return true;
		if (IO_URING_READ_ONCE(*ring->sq.kflags) & IORING_SQ_TASKRUN)
			(void)io_uring_get_events(ring);
		else
			(void)sched_yield();
	} while (clock_ns() < until_ns);
	return false;
}

static int submit_and_wait(struct loop *loop, bool may_wait)
{
	struct __kernel_timespec ts = {0}, *timeout = NULL;
	struct io_uring_cqe *cqe;
	uint64_t began_ns;
	int err;

	if (!may_wait || !list_is_empty(&loop->tasks) || loop->is_stopped)
		return io_uring_submit_and_get_events(&loop->ring);
	if (!list_is_empty(&loop->timers)) {
		struct loop_timer *timer =
			list_first(&loop->timers, struct loop_timer, list);
		uint64_t now = clock_ns();
		uint64_t left = timer->at_ns > now ? timer->at_ns - now : 0;

		ts.tv_sec = (long long)(left / NS_PER_S);
		ts.tv_nsec = (long long)(left % NS_PER_S);
		timeout = &ts;
	}
	began_ns = clock_ns();
	if (loop->is_quick && loop->singles >= SPIN_SINGLES &&
	    spin(loop, began_ns + SPIN_NS))
		return 0;
	err = io_uring_submit_and_wait_timeout(&loop->ring, &cqe, 1, timeout,
					       NULL);
	loop->is_quick = clock_ns() - began_ns < QUICK_NS;
	return err;
}

/* @is_running: wait even if a task or a timer was run. */
static int turn(struct loop *loop, bool is_running)
{
	struct io_uring_cqe *cqe;
	bool is_any = run_tasks(loop);
	unsigned n;
	int err;

	is_any |= run_timers(loop);
	err = submit_and_wait(loop, is_running || !is_any);
	if (err < 0 && err != -ETIME && err != -EINTR && err != -EAGAIN &&
	    err != -EBUSY)
		return err;

	/* Only what is there now: a chain of completions must not starve the
	 * deferred tasks. */
	n = io_uring_cq_ready(&loop->ring);
	loop->singles = n == 1 ? loop->singles + 1 : 0;
	for (; n; n--) {
		struct loop_op *op;
		uint32_t flags;
		int res;

		if (io_uring_peek_cqe(&loop->ring, &cqe) < 0)
			break;
		op = io_uring_cqe_get_data(cqe);
		res = cqe->res;
		flags = cqe->flags;
		io_uring_cqe_seen(&loop->ring, cqe);
		if (op && op->done)
			op->done(op, res, flags);
	}
	return 0;
}

int loop_turn(struct loop *loop)
{
	return turn(loop, false);
}

int loop_run(struct loop *loop)
{
	int err = 0;

	loop->is_stopped = false;
	while (!err && !loop->is_stopped)
		err = turn(loop, true);
	return err;
}

void loop_is_busy(struct loop *loop)
{
	loop->singles = 0;
}

void loop_stop(struct loop *loop)
{
	loop->is_stopped = true;
}

void loop_task_init(struct loop_task *task, void (*run)(struct loop_task *))
{
	list_init(&task->list);
	task->run = run;
}

void loop_defer(struct loop *loop, struct loop_task *task)
{
	if (list_is_empty(&task->list))
		list_add_tail(&loop->tasks, &task->list);
}

void loop_task_cancel(struct loop_task *task)
{
	list_del(&task->list);
}

void loop_timer_init(struct loop_timer *timer, void (*run)(struct loop_timer *))
{
	list_init(&timer->list);
	timer->run = run;
}

void loop_timer_set(struct loop *loop, struct loop_timer *timer, uint64_t at_ns)
{
	struct list *before;

	list_del(&timer->list);
	timer->at_ns = at_ns;
	/* From the end: most timers are set for later than those set so far. */
	for (before = &loop->timers; before->prev != &loop->timers;
	     before = before->prev)
		if (container_of(before->prev, struct loop_timer, list)
			    ->at_ns <= at_ns)
			break;
	list_add_tail(before, &timer->list);
}

void loop_timer_cancel(struct loop_timer *timer)
{
	list_del(&timer->list);
}

static void watch_arm(struct loop_watch *watch, int fd, unsigned events)
{
	watch->is_in_flight = true;
	watch->again_fd = -1;
	io_uring_prep_poll_add(loop_sqe(watch->loop, &watch->op), fd, events);
}

static void watch_done(struct loop_op *op, int res, uint32_t cqe_flags)
{
	struct loop_watch *watch = container_of(op, struct loop_watch, op);

	(void)cqe_flags;
	watch->is_in_flight = false;
	if (watch->released) {
		watch->loop->leaving--;
		watch->released(watch);
		return;
	}
	if (watch->again_fd >= 0) { /* cancelled, then set anew */
		watch_arm(watch, watch->again_fd, watch->again_events);
		return;
	}
	if (!watch->is_set)
		return;
	watch->is_set = false;
	watch->run(watch, res);
}

void loop_watch_init(struct loop *loop, struct loop_watch *watch,
		     void (*run)(struct loop_watch *, int))
{
	*watch = (struct loop_watch){
		.op.done = watch_done,
		.loop = loop,
		.run = run,
		.again_fd = -1,
	};
}

void loop_watch_set(struct loop_watch *watch, int fd, unsigned events)
{
	watch->is_set = true;
	if (!watch->is_in_flight) {
		watch_arm(watch, fd, events);
		return;
	}
	watch->again_fd = fd;
	watch->again_events = events;
	loop_cancel(watch->loop, &watch->op);
}

void loop_watch_cancel(struct loop_watch *watch)
{
	if (watch->is_in_flight && watch->is_set && watch->again_fd < 0)
		loop_cancel(watch->loop, &watch->op);
	watch->again_fd = -1;
	watch->is_set = false;
}

void loop_watch_release(struct loop_watch *watch,
			void (*released)(struct loop_watch *))
{
	loop_watch_cancel(watch);
	if (!watch->is_in_flight) {
		released(watch);
		return;
	}
	watch->released = released;
	watch->loop->leaving++;
}
