/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tier.h - the file tier: what RAM had to give up, on a local disk
 *
 * A file of slots of 64 KiB. A slot that is evicted from RAM is copied to a
 * buffer and written behind; a read that misses RAM looks here before it asks
 * the image's store. It is full at all times, and overwritten in the order in
 * which it was filled. It starts empty: nothing in it outlives the daemon.
 *
 * The file is not trusted: the CRC-32C of each page is kept in memory. Pages
 * of images never change, so what is here is right as long as its image is.
 *
 * An entry is written (nobody reads it), then valid; pinned entries, being
 * written or read, are passed over by the hand that overwrites.
 */
#ifndef CACHE_TIER_H
#define CACHE_TIER_H

#include <stdbool.h>
#include <stdint.h>

#include "cache/slots.h"

struct blk;
struct tier;

/** tier_new() - @file: its size is the quota; owned from success on */
int tier_new(struct blk *file, struct tier **ret)
	__attribute__((warn_unused_result));

/** tier_on_idle() - @idle is called each time the last write or read ends */
void tier_on_idle(struct tier *tier, void (*idle)(void *arg), void *arg);

/** tier_free() - after tier_is_busy() is false. Return: NULL. */
struct tier *tier_free(struct tier *tier);

/** tier_is_busy() - something is being written or read */
bool tier_is_busy(const struct tier *tier);

/**
 * tier_put() - keep the pages of a slot that leaves RAM
 * @entry:	the owner's word for this block: the number of its entry, or 0.
 *		The tier changes it when it overwrites the entry; it stays
 *		where it is as long as the owner has entries.
 * @bytes:	SLOT_BYTES, copied before return
 * @valid:	which pages
 *
 * Short of buffers, because the disk is slower than eviction, it is not kept.
 */
void tier_put(struct tier *tier, uint32_t *entry, const void *bytes,
	      uint16_t valid);

/** tier_valid() - which pages of entry @i can be read; 0 for entry 0 */
uint16_t tier_valid(const struct tier *tier, uint32_t i);

/** tier_get() - pin entry @i, to read it. Return: where it is in the file. */
uint64_t tier_get(struct tier *tier, uint32_t i);

/** tier_put_back() - the read has ended */
void tier_put_back(struct tier *tier, uint32_t i);

/** tier_is_whole() - are @n pages, read from page @first of @i on, right? */
bool tier_is_whole(struct tier *tier, uint32_t i, uint32_t first, uint32_t n,
		   const void *bytes);

/** tier_drop() - forget entry @i, if it is not 0; its owner's word is cleared
 */
void tier_drop(struct tier *tier, uint32_t i);

/** tier_file() - to read from */
struct blk *tier_file(struct tier *tier);

/** struct tier_counts - for metrics; slots, not bytes */
struct tier_counts {
	uint32_t total, used;
	uint64_t writes, dropped; /* slots kept, and not for lack of buffers */
	uint64_t damaged; /* reads whose checksum was wrong */
};

struct tier_counts tier_counts(const struct tier *tier);

#endif
