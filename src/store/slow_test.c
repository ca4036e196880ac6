/* SPDX-License-Identifier: Apache-2.0 */
/* slow_test.c - requests wait side by side, or until they are let go */
#undef NDEBUG
#include <assert.h>
#include <stdio.h>

#include "base/array.h"
#include "base/blk.h"
#include "base/clock.h"
#include "base/loop.h"
#include "base/why.h"
#include "store/mem.h"
#include "store/slow.h"

#define N 5

static struct loop *loop;
static struct blk_req reqs[N];
static char buf[N][512];
static struct iovec iov[N];
static unsigned ended;

static void on_done(struct blk_req *req, int res)
{
	assert(res == 0);
	assert(req == &reqs[ended]); /* first come, first served */
	if (++ended == N)
		loop_stop(loop);
}

static void submit_all(struct blk *blk)
{
	ended = 0;
	for (unsigned i = 0; i < N; i++) {
		iov[i] = (struct iovec){buf[i], sizeof(buf[i])};
		reqs[i] = (struct blk_req){
			.op = BLK_READ,
			.len = sizeof(buf[i]),
			.iov = &iov[i],
			.niov = 1,
			.done = on_done,
		};
		blk_submit(blk, &reqs[i]);
	}
	assert(ended == 0 && slow_waiting(blk) == N);
}

static struct blk *make(uint64_t delay_ns)
{
	struct blk *mem = NULL, *blk = NULL;

	assert(mem_new(4096, 512, &mem) == 0);
	assert(slow_new(loop, mem, delay_ns, &blk) == 0);
	return blk;
}

static void all_wait_at_the_same_time(void)
{
	struct blk *blk = make(20 * NS_PER_MS);
	uint64_t from = clock_ns();

	submit_all(blk);
	assert(loop_run(loop) == 0);
	assert(ended == N);
	assert(clock_ns() - from >= 20 * NS_PER_MS);
	assert(clock_ns() - from < 20 * NS_PER_MS * N);
	blk_free(blk);
}

static void on_timer(struct loop_timer *timer)
{
	(void)timer;
	loop_stop(loop);
}

static void hangs_until_let_go(void)
{
	struct blk *blk = make(SLOW_HANG);
	struct loop_timer timer;

	submit_all(blk);
	loop_timer_init(&timer, on_timer);
	loop_timer_set(loop, &timer, clock_ns() + 5 * NS_PER_MS);
	assert(loop_run(loop) == 0);
	assert(ended == 0 && slow_waiting(blk) == N);
	slow_set_delay(blk, 0);
	assert(loop_run(loop) == 0);
	assert(ended == N);
	assert(slow_waiting(blk) == 0);
	blk_free(blk);
}

static void does_not_end_within_submit(void)
{
	struct blk *blk = make(0);

	submit_all(blk);
	assert(loop_run(loop) == 0);
	assert(ended == N);
	blk_free(blk);
}

int main(void)
{
	struct why w = {0};

	if (loop_new(&loop, &w) < 0) {
		printf("skipped: %s\n", w.text);
		return 77;
	}
	all_wait_at_the_same_time();
	hangs_until_let_go();
	does_not_end_within_submit();
	loop_free(loop);
	return 0;
}
