/* SPDX-License-Identifier: Apache-2.0 */
/*
 * plan.c - which extent of a boot segment to read next
 *
 * An extent's state goes WAITING -> IN_FLIGHT (plan_next, plan_take) -> DONE
 * (plan_end), or WAITING -> DONE (plan_stop). The counts of both first states
 * are kept, so that all questions are answered at once; plan_next() walks over
 * the extents that do not wait, of which there are a few thousand at most.
 */
#include "boot/plan.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

struct plan {
	uint32_t nextents;
	uint32_t at; /* the stream goes on from here; wraps at the end */
	uint32_t nwaiting;
	uint32_t nin_flight;
	uint8_t state[]; /* enum plan_state */
};

int plan_new(uint32_t nextents, struct plan **ret)
{
	struct plan *plan = calloc(1, sizeof(*plan) + nextents);

	if (!plan)
		return -ENOMEM;
	plan->nextents = nextents;
	plan->nwaiting = nextents;
	*ret = plan;
	return 0;
}

struct plan *plan_free(struct plan *plan)
{
	free(plan);
	return NULL;
}

void plan_take(struct plan *plan, uint32_t i)
{
	assert(i < plan->nextents && plan->state[i] == PLAN_WAITING);
	plan->state[i] = PLAN_IN_FLIGHT;
	plan->nwaiting--;
	plan->nin_flight++;
}

bool plan_next(struct plan *plan, uint32_t *ret)
{
	if (!plan->nwaiting)
		return false;
	for (;; plan->at++) {
		if (plan->at == plan->nextents)
			plan->at = 0;
		if (plan->state[plan->at] == PLAN_WAITING)
			break;
	}
	plan_take(plan, plan->at);
	*ret = plan->at++;
	return true;
}

void plan_jump(struct plan *plan, uint32_t i)
{
	assert(i < plan->nextents);
	plan->at = i;
}

void plan_end(struct plan *plan, uint32_t i)
{
	assert(i < plan->nextents && plan->state[i] == PLAN_IN_FLIGHT);
	plan->state[i] = PLAN_DONE;
	plan->nin_flight--;
}

void plan_stop(struct plan *plan)
{
	for (uint32_t i = 0; i < plan->nextents; i++)
		if (plan->state[i] == PLAN_WAITING)
			plan->state[i] = PLAN_DONE;
	plan->nwaiting = 0;
}

enum plan_state plan_state(const struct plan *plan, uint32_t i)
{
	assert(i < plan->nextents);
	return (enum plan_state)plan->state[i];
}

bool plan_is_over(const struct plan *plan)
{
	return !plan->nwaiting && !plan->nin_flight;
}
