/* SPDX-License-Identifier: Apache-2.0 */
/*
 * work.c - a queue of work, some threads, and an eventfd back to the loop
 *
 * Two lists under one lock: work to do, and work done whose @done is to be
 * called. The loop always has a read of the eventfd in flight.
 */
#include "base/work.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/loop.h"
#include "base/why.h"

struct workers {
	struct loop *loop;
	struct loop_op op; /* the read of @event */
	uint64_t event_count; /* where it reads to */
	int event; /* eventfd, written when @ended gains a member */
	bool is_reading;

	pthread_mutex_t lock; /* covers what follows */
	pthread_cond_t more; /* @todo has grown, or @is_ending */
	struct list todo, ended; /* of struct work */
	bool is_ending;

	unsigned nthreads;
	pthread_t threads[];
};

static void *thread_main(void *arg)
{
	struct workers *workers = arg;
	uint64_t one = 1;
	ssize_t n;

	(void)pthread_mutex_lock(&workers->lock);
	for (;;) {
		struct work *work;

		while (list_is_empty(&workers->todo) && !workers->is_ending)
			(void)pthread_cond_wait(&workers->more, &workers->lock);
		if (list_is_empty(&workers->todo))
			break;
		work = list_first(&workers->todo, struct work, list);
		list_del(&work->list);
		(void)pthread_mutex_unlock(&workers->lock);

		work->run(work);

		(void)pthread_mutex_lock(&workers->lock);
		list_add_tail(&workers->ended, &work->list);
		n = write(workers->event, &one, sizeof(one));
		assert(n == sizeof(one));
	}
	(void)pthread_mutex_unlock(&workers->lock);
	return NULL;
}

static void read_event(struct workers *workers)
{
	workers->is_reading = true;
	io_uring_prep_read(loop_sqe(workers->loop, &workers->op),
			   workers->event, &workers->event_count,
			   sizeof(workers->event_count), 0);
}

static void on_event(struct loop_op *op, int res, uint32_t cqe_flags)
{
	struct workers *workers = container_of(op, struct workers, op);
	struct list ended;

	(void)cqe_flags;
	workers->is_reading = false;
	if (workers->is_ending) /* only this thread writes it */
		return;
	(void)res;
	read_event(workers);

	list_init(&ended);
	(void)pthread_mutex_lock(&workers->lock);
	list_splice(&ended, &workers->ended);
	(void)pthread_mutex_unlock(&workers->lock);
	while (!list_is_empty(&ended)) {
		struct work *work = list_first(&ended, struct work, list);

		list_del(&work->list);
		work->done(work);
	}
}

int workers_new(struct loop *loop, unsigned nthreads, struct workers **ret,
		struct why *w)
{
	struct workers *workers =
		calloc(1, sizeof(*workers) + nthreads * sizeof(pthread_t));
	sigset_t all, saved;
	int err = 0;

	if (!workers)
		return why(w, -ENOMEM, "worker threads");
	workers->loop = loop;
	workers->op.done = on_event;
	list_init(&workers->todo);
	list_init(&workers->ended);
	workers->event = eventfd(0, EFD_CLOEXEC);
	if (workers->event < 0) {
		err = -errno;
		free(workers);
		return why(w, err, "eventfd");
	}
	(void)pthread_mutex_init(&workers->lock, NULL);
	(void)pthread_cond_init(&workers->more, NULL);
	read_event(workers);

	/* Signals are for the program's main thread. */
	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &saved);
	while (workers->nthreads < nthreads && !err) {
		err = -pthread_create(&workers->threads[workers->nthreads],
				      NULL, thread_main, workers);
		workers->nthreads += !err;
	}
	(void)pthread_sigmask(SIG_SETMASK, &saved, NULL);
	if (err) {
		workers_free(workers);
		return why(w, err, "pthread_create");
	}
	*ret = workers;
	return 0;
}

struct workers *workers_free(struct workers *workers)
{
	if (!workers)
		return NULL;
	(void)pthread_mutex_lock(&workers->lock);
	workers->is_ending = true;
	(void)pthread_cond_broadcast(&workers->more);
	(void)pthread_mutex_unlock(&workers->lock);
	for (unsigned i = 0; i < workers->nthreads; i++)
		(void)pthread_join(workers->threads[i], NULL);
	assert(list_is_empty(&workers->ended));

	loop_cancel(workers->loop, &workers->op);
	while (workers->is_reading)
		if (loop_turn(workers->loop) < 0)
			break;
	(void)close(workers->event);
	(void)pthread_cond_destroy(&workers->more);
	(void)pthread_mutex_destroy(&workers->lock);
	free(workers);
	return NULL;
}

void work_start(struct workers *workers, struct work *work)
{
	list_init(&work->list);
	(void)pthread_mutex_lock(&workers->lock);
	list_add_tail(&workers->todo, &work->list);
	(void)pthread_cond_signal(&workers->more);
	(void)pthread_mutex_unlock(&workers->lock);
}
