/* SPDX-License-Identifier: Apache-2.0 */
/*
 * slots.h - the cache device: RAM in slots of 64 KiB, and who may stay in it
 *
 * A slot holds an aligned 64 KiB of one image, of which any of its 16 pages of
 * 4 KiB may be valid. Slots are numbered; 0 is none. What they hold is in a
 * memfd, so that it can be handed to a successor process.
 *
 * Eviction is S3-FIFO (Yang et al., SOSP '23): what is new queues in small; if
 * it is read again before it reaches the end, or was evicted a short while
 * ago, it queues in main, where each read buys another round (three at most).
 * So one scan of an image does not push out what many VMs read. Over that: a
 * pinned slot (somebody reads into it or waits for it) is never evicted, and
 * slots of boot sets are passed over while they take no more than their quota.
 */
#ifndef CACHE_SLOTS_H
#define CACHE_SLOTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PAGE_BYTES 4096u
#define SLOT_PAGES 16u
#define SLOT_BYTES (PAGE_BYTES * SLOT_PAGES)

struct slots;
struct why;

/**
 * struct slot - what is in one; fields not marked are the owner's to change
 * @owner:	whose it is; NULL: free. Read only.
 * @block:	which 64 KiB of the owner's. Read only.
 * @prev, @next: of its queue. Private.
 * @valid:	a bit per page that may be read
 * @fresh:	a bit per page that was prefetched and not read since
 * @pins:	while not 0 it is not evicted
 * @freq:	reads since it was queued, at most 3. Private: slots_touch().
 * @queue:	Private.
 * @is_boot:	part of a boot set: protected up to the quota. Read only.
 */
struct slot {
	void *owner;
	uint32_t block;
	uint32_t prev, next;
	uint16_t valid;
	uint16_t fresh;
	uint16_t pins;
	uint8_t freq;
	uint8_t queue;
	bool is_boot;
};

/**
 * slots_new() - reserve the memory; it is used as it fills
 * @bytes:	of the cache; at least 16 slots
 * @boot_percent: most of it that is protected for boot sets
 * @evicted:	called when a slot is taken from its owner, before it is reused
 * @ret:	on success: slots_free() it
 */
int slots_new(uint64_t bytes, unsigned boot_percent,
	      void (*evicted)(void *owner, uint32_t block, struct slot *slot),
	      struct slots **ret, struct why *why)
	__attribute__((warn_unused_result));

/** slots_free() - nothing is pinned. Return: NULL. */
struct slots *slots_free(struct slots *slots);

/**
 * slots_take() - a slot for @block of @owner, with no page valid
 * @is_boot:	it is part of a boot set
 *
 * Return: its number; 0 if all are pinned. May call evicted().
 */
uint32_t slots_take(struct slots *slots, void *owner, uint32_t block,
		    bool is_boot);

/** slots_drop() - free slot @i, which is not pinned; evicted() is not called */
void slots_drop(struct slots *slots, uint32_t i);

struct slot *slots_at(struct slots *slots, uint32_t i);

/** slots_bytes() - the SLOT_BYTES of slot @i */
void *slots_bytes(struct slots *slots, uint32_t i);

/** slots_touch() - slot @i was read */
static inline void slots_touch(struct slot *slot)
{
	if (slot->freq < 3)
		slot->freq++;
}

/**
 * slots_each() - tell of all slots in use, in the order of their queues
 * @is_main:	it is in the main queue
 */
void slots_each(struct slots *slots,
		void (*tell)(void *arg, uint32_t i, const struct slot *slot,
			     bool is_main),
		void *arg);

/** slots_memfd() - what holds the bytes of the slots, one after another; lent
 */
int slots_memfd(const struct slots *slots);

/**
 * slots_adopt_memfd() - take over the bytes of another process's slots
 * @memfd:	owned from success on; it is made as long as this cache is
 *
 * No slot is in use. slots_adopt() for each that is to be kept comes next, in
 * the order of slots_each(), then slots_adopt_end().
 *
 * Return: 0; -errno, and nothing has changed.
 */
int slots_adopt_memfd(struct slots *slots, int memfd)
	__attribute__((warn_unused_result));

/**
 * slots_adopt() - slot @i, which is free, is in use as the other one had it
 * @from:	its owner, block, valid, freq and is_boot count
 */
void slots_adopt(struct slots *slots, uint32_t i, const struct slot *from,
		 bool is_main);

/** slots_adopt_end() - those that were passed over can be taken */
void slots_adopt_end(struct slots *slots);

/** struct slots_counts - for metrics; slots, not bytes */
struct slots_counts {
	uint32_t total, used, boot;
	uint64_t evictions;
};

struct slots_counts slots_counts(const struct slots *slots);

#endif
