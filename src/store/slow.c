/* SPDX-License-Identifier: Apache-2.0 */
/*
 * slow.c - hold each request for a time, then pass it down untouched
 *
 * The delay is the same for all, so they become due in the order in which they
 * came: one queue and one timer, set for the first of it.
 */
#include "store/slow.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "base/array.h"
#include "base/blk.h"
#include "base/clock.h"
#include "base/loop.h"
#include "base/pool.h"

struct slow {
	struct blk blk; /* first */
	struct blk *below; /* owned */
	struct loop *loop;
	struct loop_timer timer; /* set if something waits and will be due */
	struct list held; /* of struct held, the oldest first */
	struct pool pool; /* of struct held */
	uint64_t delay_ns;
};

struct held {
	struct list list;
	struct blk_req *req;
	uint64_t since_ns;
};

static void set_timer(struct slow *slow)
{
	struct held *first;

	loop_timer_cancel(&slow->timer);
	if (list_is_empty(&slow->held) || slow->delay_ns == SLOW_HANG)
		return;
	first = list_first(&slow->held, struct held, list);
	loop_timer_set(slow->loop, &slow->timer,
		       first->since_ns + slow->delay_ns);
}

static void on_timer(struct loop_timer *timer)
{
	struct slow *slow = container_of(timer, struct slow, timer);
	uint64_t now = clock_ns();
	struct list due, *l, *tmp;

	/* What comes while these are handed down waits for its own time. */
	list_init(&due);
	list_for_each(l, tmp, &slow->held)
	{
		struct held *held = container_of(l, struct held, list);

		if (held->since_ns + slow->delay_ns > now)
			break;
		list_del(l);
		list_add_tail(&due, l);
	}
	set_timer(slow);
	while (!list_is_empty(&due)) {
		struct held *held = list_first(&due, struct held, list);
		struct blk_req *req = held->req;

		list_del(&held->list);
		pool_give(&slow->pool, held);
		blk_submit(slow->below, req);
	}
}

static void slow_submit(struct blk *blk, struct blk_req *req)
{
	struct slow *slow = (struct slow *)blk;
	struct held *held = pool_take(&slow->pool);

	if (!held) {
		blk_end(req, -ENOMEM);
		return;
	}
	held->req = req;
	held->since_ns = clock_ns();
	list_init(&held->list);
	list_add_tail(&slow->held, &held->list);
	if (slow->held.next == &held->list)
		set_timer(slow);
}

void slow_set_delay(struct blk *blk, uint64_t delay_ns)
{
	struct slow *slow = (struct slow *)blk;

	slow->delay_ns = delay_ns;
	set_timer(slow);
}

unsigned slow_waiting(const struct blk *blk)
{
	const struct slow *slow = (const struct slow *)blk;

	return (unsigned)slow->pool.taken;
}

static void slow_free(struct blk *blk)
{
	struct slow *slow = (struct slow *)blk;

	assert(list_is_empty(&slow->held));
	pool_release(&slow->pool);
	blk_free(slow->below);
	free(slow);
}

static const struct blk_ops slow_ops = {
	.name = "slow",
	.submit = slow_submit,
	.free = slow_free,
};

int slow_new(struct loop *loop, struct blk *below, uint64_t delay_ns,
	     struct blk **ret)
{
	struct slow *slow = calloc(1, sizeof(*slow));

	if (!slow)
		return -ENOMEM;
	slow->blk = (struct blk){
		.ops = &slow_ops,
		.size = below->size,
		.block = below->block,
		.can = below->can,
	};
	slow->below = below;
	slow->loop = loop;
	slow->delay_ns = delay_ns;
	list_init(&slow->held);
	loop_timer_init(&slow->timer, on_timer);
	pool_init(&slow->pool, sizeof(struct held), SIZE_MAX);
	*ret = &slow->blk;
	return 0;
}
