/* SPDX-License-Identifier: Apache-2.0 */
/* plan_test.c - each extent once, in order, from where a reader waits */
#undef NDEBUG
#include <assert.h>
#include <stdlib.h>

#include "boot/map_sample.h"
#include "boot/plan.h"

static uint32_t next(struct plan *plan)
{
	uint32_t i = UINT32_MAX;

	return plan_next(plan, &i) ? i : UINT32_MAX;
}

static void hands_out_in_order_and_then_no_more(void)
{
	struct plan *plan = NULL;

	assert(plan_new(5, &plan) == 0);
	for (uint32_t i = 0; i < 5; i++) {
		assert(plan_state(plan, i) == PLAN_WAITING);
		assert(next(plan) == i);
		assert(plan_state(plan, i) == PLAN_IN_FLIGHT);
	}
	assert(next(plan) == UINT32_MAX && !plan_is_over(plan));
	for (uint32_t i = 0; i < 5; i++) {
		assert(!plan_is_over(plan));
		plan_end(plan, i);
		assert(plan_state(plan, i) == PLAN_DONE);
	}
	assert(plan_is_over(plan) && next(plan) == UINT32_MAX);
	assert(!plan_free(plan));
}

static void goes_on_from_a_jump_then_fetches_the_rest(void)
{
	static const uint32_t want[] = {0, 6, 7, 8, 9, 1, 3, 4, 5};
	struct plan *plan = NULL;

	assert(plan_new(10, &plan) == 0);
	assert(next(plan) == want[0]);
	plan_take(plan, 2);
	plan_jump(plan, 6);
	for (unsigned i = 1; i < ARRAY_SIZE(want); i++)
		assert(next(plan) == want[i]);
	assert(next(plan) == UINT32_MAX);
	plan_free(plan);
}

static void gives_up_what_waits_when_stopped(void)
{
	struct plan *plan = NULL;

	assert(plan_new(4, &plan) == 0);
	assert(next(plan) == 0);
	plan_stop(plan);
	assert(next(plan) == UINT32_MAX && !plan_is_over(plan));
	assert(plan_state(plan, 3) == PLAN_DONE);
	plan_end(plan, 0);
	assert(plan_is_over(plan));
	plan_free(plan);

	assert(plan_new(0, &plan) == 0);
	assert(plan_is_over(plan) && next(plan) == UINT32_MAX);
	plan_free(plan);
	assert(!plan_free(NULL));
}

/* Jumps, takes and ends at random: still each extent exactly once. */
static void hands_out_each_once_whatever_happens(uint64_t seed)
{
	uint32_t n = 1 + sample_random(&seed, 300), out = 0, ended = 0;
	uint8_t *times = calloc(n, 1);
	struct plan *plan = NULL;

	assert(times && plan_new(n, &plan) == 0);
	while (!plan_is_over(plan)) {
		uint32_t i = sample_random(&seed, n);

		switch (sample_random(&seed, 4)) {
		case 0:
			plan_jump(plan, i);
			break;
		case 1:
			if (plan_state(plan, i) != PLAN_WAITING)
				break;
			plan_take(plan, i);
			times[i]++;
			out++;
			break;
		case 2:
			if (plan_state(plan, i) != PLAN_IN_FLIGHT)
				break;
			plan_end(plan, i);
			ended++;
			break;
		default:
			i = next(plan);
			if (i == UINT32_MAX)
				assert(out == n);
			else
				times[i]++, out++;
		}
	}
	assert(out == n && ended == n);
	for (uint32_t i = 0; i < n; i++)
		assert(times[i] == 1);
	free(times);
	plan_free(plan);
}

int main(void)
{
	hands_out_in_order_and_then_no_more();
	goes_on_from_a_jump_then_fetches_the_rest();
	gives_up_what_waits_when_stopped();
	for (uint64_t seed = 0; seed < 300; seed++)
		hands_out_each_once_whatever_happens(seed);
	return 0;
}
