/* SPDX-License-Identifier: Apache-2.0 */
/* loop_test.c - timers in order, tasks before waiting, watches, work */
#undef NDEBUG
#include <assert.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/loop.h"
#include "base/work.h"

static struct loop *loop;
static char trace[64];

static void note(char c)
{
	size_t n = strlen(trace);

	assert(n + 1 < sizeof(trace));
	trace[n] = c;
}

static void on_first(struct loop_timer *timer)
{
	(void)timer;
	note('1');
}

static void on_second(struct loop_timer *timer)
{
	(void)timer;
	note('2');
	loop_stop(loop);
}

static void on_task(struct loop_task *task)
{
	(void)task;
	note('t');
}

static void runs_timers_in_order_of_time(void)
{
	struct loop_timer a, b, c;
	struct loop_task task;
	uint64_t now = clock_ns();

	memset(trace, 0, sizeof(trace));
	loop_timer_init(&a, on_second);
	loop_timer_init(&b, on_first);
	loop_timer_init(&c, on_first);
	loop_task_init(&task, on_task);
	loop_timer_set(loop, &a, now + 9 * NS_PER_MS);
	loop_timer_set(loop, &b, now + 3 * NS_PER_MS);
	loop_timer_set(loop, &c, now + 6 * NS_PER_MS);
	loop_timer_cancel(&c);
	loop_defer(loop, &task);
	loop_defer(loop, &task);
	assert(loop_run(loop) == 0);
	assert(!strcmp(trace, "t12"));
	assert(clock_ns() >= now + 9 * NS_PER_MS);
}

static void on_never(struct loop_timer *timer)
{
	(void)timer;
	assert(!"an hour has passed");
}

/* Or whoever waits for what the task did would wait for the next event. */
static void a_turn_that_ran_a_task_does_not_wait(void)
{
	struct loop_timer hour;
	struct loop_task task;

	memset(trace, 0, sizeof(trace));
	loop_timer_init(&hour, on_never);
	loop_timer_set(loop, &hour, clock_ns() + 3600 * NS_PER_S);
	loop_task_init(&task, on_task);
	loop_defer(loop, &task);
	assert(loop_turn(loop) == 0);
	assert(!strcmp(trace, "t"));
	loop_timer_cancel(&hour);
}

static void on_ready(struct loop_watch *watch, int events)
{
	(void)watch;
	assert(events & POLLIN);
	note('r');
	loop_stop(loop);
}

static void watches_a_descriptor(void)
{
	struct loop_watch watch;
	int fd[2], other[2];

	memset(trace, 0, sizeof(trace));
	assert(pipe(fd) == 0 && pipe(other) == 0);
	loop_watch_init(loop, &watch, on_ready);
	loop_watch_set(&watch, other[0], POLLIN);
	loop_watch_set(&watch, fd[0], POLLIN); /* changes its mind */
	assert(write(fd[1], "x", 1) == 1);
	assert(loop_run(loop) == 0);
	assert(!strcmp(trace, "r") && !watch.is_in_flight);

	loop_watch_set(&watch, other[0], POLLIN);
	loop_watch_cancel(&watch);
	while (watch.is_in_flight)
		assert(loop_turn(loop) == 0);
	assert(!strcmp(trace, "r"));
	for (int i = 0; i < 2; i++) {
		close(fd[i]);
		close(other[i]);
	}
}

static void on_released(struct loop_watch *watch)
{
	note('g');
	free(watch);
}

static void lets_go_of_a_watch(void)
{
	struct loop_watch *watch = malloc(sizeof(*watch));
	int fd[2];

	memset(trace, 0, sizeof(trace));
	assert(watch && pipe(fd) == 0);
	loop_watch_init(loop, watch, on_ready);
	loop_watch_set(watch, fd[0], POLLIN);
	loop_watch_release(watch, on_released);
	assert(!strcmp(trace, "")); /* the kernel still has it */
	close(fd[0]);
	close(fd[1]);
	loop = loop_free(loop);
	assert(!strcmp(trace, "g"));

	watch = malloc(sizeof(*watch));
	assert(watch && loop_new(&loop, NULL) == 0);
	loop_watch_init(loop, watch, on_ready);
	loop_watch_release(watch, on_released);
	assert(!strcmp(trace, "gg"));
}

struct job {
	struct work work;
	int in, out;
};

static int jobs_done;

static void job_run(struct work *work)
{
	struct job *job = container_of(work, struct job, work);

	job->out = job->in * 2;
}

static void job_done(struct work *work)
{
	struct job *job = container_of(work, struct job, work);

	assert(job->out == job->in * 2);
	if (++jobs_done == 100)
		loop_stop(loop);
}

static void does_work_elsewhere(void)
{
	struct workers *workers = NULL;
	struct job jobs[100];

	assert(workers_new(loop, 3, &workers, NULL) == 0);
	for (int i = 0; i < 100; i++) {
		jobs[i] = (struct job){
			.work = {.run = job_run, .done = job_done},
			.in = i,
		};
		work_start(workers, &jobs[i].work);
	}
	assert(loop_run(loop) == 0 && jobs_done == 100);
	workers_free(workers);
}

int main(void)
{
	assert(loop_new(&loop, NULL) == 0);
	runs_timers_in_order_of_time();
	a_turn_that_ran_a_task_does_not_wait();
	watches_a_descriptor();
	lets_go_of_a_watch();
	does_work_elsewhere();
	loop_free(loop);
	return 0;
}
