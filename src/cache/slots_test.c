/* SPDX-License-Identifier: Apache-2.0 */
/* slots_test.c - who stays in the cache: the pinned, the boot set, the read */
#undef NDEBUG
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cache/slots.h"

#define TOTAL  100u
#define BLOCKS 10000u

static uint32_t index_of[BLOCKS]; /* what the owner knows */

static void on_evicted(void *owner, uint32_t block, struct slot *slot)
{
	assert(owner == index_of && slot->block == block);
	assert(!slot->pins);
	index_of[block] = 0;
}

static struct slots *start(unsigned boot_percent)
{
	struct slots *slots = NULL;

	memset(index_of, 0, sizeof(index_of));
	assert(slots_new((uint64_t)TOTAL * SLOT_BYTES, boot_percent, on_evicted,
			 &slots, NULL) == 0);
	return slots;
}

/* Read @block: it is there or is brought. Return: whether it was there. */
static bool use(struct slots *slots, uint32_t block, bool is_boot)
{
	if (index_of[block]) {
		slots_touch(slots_at(slots, index_of[block]));
		return true;
	}
	index_of[block] = slots_take(slots, index_of, block, is_boot);
	assert(index_of[block]);
	assert(slots_at(slots, index_of[block])->valid == 0);
	memset(slots_bytes(slots, index_of[block]), (int)block, 16);
	return false;
}

static void refuses_a_cache_without_room(void)
{
	struct slots *slots = NULL;

	assert(slots_new(SLOT_BYTES, 50, on_evicted, &slots, NULL) == -EINVAL);
	assert(!slots);
}

static void never_evicts_what_is_pinned(void)
{
	struct slots *slots = start(50);

	for (uint32_t block = 0; block < 10; block++) {
		use(slots, block, false);
		slots_at(slots, index_of[block])->pins = 1;
	}
	for (uint32_t block = 10; block < BLOCKS; block++)
		use(slots, block, false);
	for (uint32_t block = 0; block < 10; block++) {
		assert(index_of[block]);
		assert(*(uint8_t *)slots_bytes(slots, index_of[block]) ==
		       block);
	}
	for (uint32_t block = 0; block < BLOCKS; block++)
		if (index_of[block])
			slots_at(slots, index_of[block])->pins = 1;
	assert(slots_take(slots, index_of, 77, false) == 0);
	for (uint32_t block = 0; block < BLOCKS; block++)
		if (index_of[block])
			slots_at(slots, index_of[block])->pins = 0;
	slots_free(slots);
}

static void keeps_the_boot_set_within_its_quota(void)
{
	struct slots *slots = start(50);
	uint32_t kept = 0;

	for (uint32_t block = 0; block < 40; block++)
		use(slots, block, true);
	for (uint32_t block = 100; block < BLOCKS; block++)
		use(slots, block, false);
	for (uint32_t block = 0; block < 40; block++)
		assert(index_of[block]);
	/* Over the quota it is protected no more. */
	for (uint32_t block = 0; block < 90; block++)
		use(slots, block, true);
	for (uint32_t block = 100; block < BLOCKS; block++)
		use(slots, block, false);
	for (uint32_t block = 0; block < 90; block++)
		kept += index_of[block] != 0;
	assert(kept >= 50 && slots_counts(slots).boot == 50);
	slots_free(slots);
}

static void a_scan_does_not_push_out_what_is_read_again(void)
{
	struct slots *slots = start(0);
	uint32_t hits = 0, reads = 0;

	for (int round = 0; round < 3; round++)
		for (uint32_t block = 0; block < 30; block++)
			use(slots, block, false);
	for (uint32_t block = 100; block < BLOCKS; block++) {
		use(slots, block, false); /* the scan */
		reads++;
		hits += use(slots, block % 30, false);
	}
	assert(hits > reads * 99 / 100);
	slots_free(slots);
}

static void takes_back_what_is_dropped(void)
{
	struct slots *slots = start(50);

	for (uint32_t block = 0; block < TOTAL; block++)
		use(slots, block, block % 2);
	assert(slots_counts(slots).used == TOTAL);
	for (uint32_t block = 0; block < TOTAL; block++) {
		slots_drop(slots, index_of[block]);
		index_of[block] = 0;
	}
	assert(slots_counts(slots).used == 0 && slots_counts(slots).boot == 0);
	for (uint32_t block = 0; block < TOTAL; block++)
		use(slots, block, false);
	assert(slots_counts(slots).evictions == 0);
	slots_free(slots);
}

int main(void)
{
	refuses_a_cache_without_room();
	never_evicts_what_is_pinned();
	keeps_the_boot_set_within_its_quota();
	a_scan_does_not_push_out_what_is_read_again();
	takes_back_what_is_dropped();
	return 0;
}
