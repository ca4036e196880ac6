/* SPDX-License-Identifier: Apache-2.0 */
/*
 * plan.h - which extent of a boot segment to read next
 *
 * Extents are handed out in order from a place that a demand read can move:
 * after plan_jump() the stream goes on from there to the end, then fetches
 * what it passed over. Each extent is handed out once.
 */
#ifndef BOOT_PLAN_H
#define BOOT_PLAN_H

#include <stdbool.h>
#include <stdint.h>

struct plan;

enum plan_state {
	PLAN_WAITING,
	PLAN_IN_FLIGHT,
	PLAN_DONE, /* in the cache, or given up */
};

/** plan_new() - for @nextents, all waiting. Return: 0 or -ENOMEM. */
int plan_new(uint32_t nextents, struct plan **ret)
	__attribute__((warn_unused_result));

struct plan *plan_free(struct plan *plan);

/** plan_next() - hand out an extent. Return: false if none is waiting. */
bool plan_next(struct plan *plan, uint32_t *ret);

/** plan_take() - hand out extent @i, which is waiting, out of order */
void plan_take(struct plan *plan, uint32_t i);

/** plan_jump() - the stream goes on from extent @i */
void plan_jump(struct plan *plan, uint32_t i);

/** plan_end() - extent @i, in flight, has ended */
void plan_end(struct plan *plan, uint32_t i);

/** plan_stop() - all that is still waiting is given up */
void plan_stop(struct plan *plan);

enum plan_state plan_state(const struct plan *plan, uint32_t i);

/** plan_is_over() - nothing waits and nothing is in flight */
bool plan_is_over(const struct plan *plan);

#endif
