/* SPDX-License-Identifier: Apache-2.0 */
/*
 * loop.h - one thread's events: an io_uring, timers, and what is put off
 *
 * Everything of the data path lives on a loop, and is touched by the loop's
 * thread only: no locks. A blocking piece of work (open, connect, compress,
 * fsync of a directory) is given to base/work.h, which calls back on the loop.
 *
 * A turn of the loop: the deferred tasks run, the timers that are due run, all
 * new requests go to the kernel in one system call that also waits, and each
 * completion is handed to its op. So whoever answers many requests collects
 * answers while completions come, and sends them from a deferred task: one
 * send for all.
 *
 * Where completions have come one by one and quickly, the loop looks for the
 * next for up to 50 us before it sleeps; an idle loop does not.
 *
 * All objects here (ops, tasks, timers, watches) are members of their owners'
 * structs and are not freed while something is in flight or set.
 */
#ifndef BASE_LOOP_H
#define BASE_LOOP_H

#include <liburing.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"

struct loop;
struct why;

/**
 * struct loop_op - one request to the kernel in flight
 * @done:	called on the loop with the result (0 or more, or -errno) and
 *		the completion's IORING_CQE_F_ flags. With IORING_CQE_F_MORE
 *		the op stays in flight and is called again. NULL: nobody is
 *		called (close and the like).
 */
struct loop_op {
	void (*done)(struct loop_op *op, int res, uint32_t cqe_flags);
};

/** struct loop_task - something to do before the loop waits again */
struct loop_task {
	struct list list; /* of the loop, while set */
	void (*run)(struct loop_task *task);
};

/** struct loop_timer - a call at a time; set once, called once */
struct loop_timer {
	struct list list; /* of the loop, in order of time, while set */
	uint64_t at_ns; /* clock_ns() */
	void (*run)(struct loop_timer *timer);
};

/**
 * struct loop_watch - a call when a descriptor is ready, for libraries that
 * want to be told (libnbd, libcurl)
 *
 * One shot: set it again after each call. @run is called with the poll(2)
 * events, or with -errno; not after loop_watch_cancel().
 */
struct loop_watch {
	struct loop_op op;
	struct loop *loop;
	void (*run)(struct loop_watch *watch, int events);
	bool is_set; /* @run is still to be called */
	bool is_in_flight; /* the kernel still has the op */
	int again_fd; /* set again while in flight: poll this next; or -1 */
	unsigned again_events;
	void (*released)(struct loop_watch *watch);
};

/**
 * loop_new() - make the loop of the calling thread
 * @ret:	on success the loop: loop_free() it, on the same thread
 *
 * Return: 0; -ENOMEM; -EPERM or -ENOSYS where the kernel or a container
 * forbids io_uring: @why then says what to do.
 */
int loop_new(struct loop **ret, struct why *why)
	__attribute__((warn_unused_result));

/**
 * loop_free() - nothing may be in flight or set, but watches that are being
 * released: it waits for those. Return: NULL.
 */
struct loop *loop_free(struct loop *loop);

/** loop_run() - turn until loop_stop(). Return: 0, or what the ring said. */
int loop_run(struct loop *loop);

/**
 * loop_turn() - one turn, for whoever waits for something in a loop of his own
 *
 * Waits only if it ran no task and no timer: what is waited for may have been
 * done by those.
 */
int loop_turn(struct loop *loop);

/** loop_stop() - loop_run() returns after this turn; on the loop's thread */
void loop_stop(struct loop *loop);

/**
 * loop_is_busy() - a peer has sent several requests at once
 *
 * It does not wait for each answer, so the loop had better sleep until more
 * have come than look for the next one.
 */
void loop_is_busy(struct loop *loop);

/**
 * loop_sqe() - a new request to the kernel, sent at the end of this turn
 * @op:		told of the completion; already set up
 *
 * The caller fills it with one io_uring_prep_x() and does not set user data.
 *
 * Return: never NULL: a full queue is sent off first.
 */
struct io_uring_sqe *loop_sqe(struct loop *loop, struct loop_op *op);

/** loop_cancel() - ask the kernel to end @op early; its done is still called */
void loop_cancel(struct loop *loop, struct loop_op *op);

/** loop_ring() - for buffer rings and registered files */
struct io_uring *loop_ring(struct loop *loop);

/** loop_task_init() - @run is called once per loop_defer() */
void loop_task_init(struct loop_task *task,
		    void (*run)(struct loop_task *task));

/** loop_defer() - run @task before the loop waits; no effect if it is set */
void loop_defer(struct loop *loop, struct loop_task *task);

/** loop_task_cancel() - @task will not run; fine if it is not set */
void loop_task_cancel(struct loop_task *task);

void loop_timer_init(struct loop_timer *timer,
		     void (*run)(struct loop_timer *timer));

/** loop_timer_set() - call at @at_ns of clock_ns(); replaces an earlier time */
void loop_timer_set(struct loop *loop, struct loop_timer *timer,
		    uint64_t at_ns);

/** loop_timer_cancel() - @timer will not run; fine if it is not set */
void loop_timer_cancel(struct loop_timer *timer);

void loop_watch_init(struct loop *loop, struct loop_watch *watch,
		     void (*run)(struct loop_watch *watch, int events));

/** loop_watch_set() - call once @fd has one of @events (POLLIN, POLLOUT) */
void loop_watch_set(struct loop_watch *watch, int fd, unsigned events);

/**
 * loop_watch_cancel() - no more calls
 *
 * The op may still be in flight: free the watch only when
 * !watch->is_in_flight, after more turns.
 */
void loop_watch_cancel(struct loop_watch *watch);

/**
 * loop_watch_release() - no more calls, and tell when @watch can be freed
 * @released:	called once, at once or in a later turn, when the kernel has
 *		let go of @watch; may free it. The descriptor may be closed
 *		before.
 */
void loop_watch_release(struct loop_watch *watch,
			void (*released)(struct loop_watch *watch));

#endif
