/* SPDX-License-Identifier: Apache-2.0 */
/*
 * handover.h - the cache of one process becomes that of the next
 *
 * What is cached stays where it is, in the memfd of the slots (slots.h), and
 * two descriptors pass: that one, and one of a description, which says what
 * each slot holds. In little endian, all of it:
 *
 *	header	magic "ROOSTCA1"; u64 length of the whole; u32 CRC-32C of the
 *		whole, with 0 here; u32 bytes of a slot; u32 bytes of a page;
 *		u32 slots there are; u32 images; u32 slots in use
 *	image	u64 size; u64 fingerprint; 128 bytes version; u16 length of the
 *		name; u16 length of the address; both, without a final 0
 *	slot	u32 number; u32 image; u32 block of it; u16 valid pages;
 *		u8 flags: 1 boot set, 2 main queue; u8 reads, at most 3
 *
 * The slots are in the order of their queues. The successor may be of another
 * version: it checks everything, and what it does not understand, or what
 * contradicts itself, is refused as a whole. Then the cache is empty, which
 * costs time and nothing else.
 *
 * An image that is handed over is IDLE with an identity (image.h). So the
 * first opening of it holds that against the image at the store, as for any
 * other image that was closed; nothing is read from the cache before.
 */
#ifndef CACHE_HANDOVER_H
#define CACHE_HANDOVER_H

#include <stddef.h>

struct cache;
struct why;

/**
 * cache_save_state() - describe what is cached
 * @ret_memory:	the bytes of the slots; close() it. Close-on-exec, as is
 * @ret_state:	the description, at its beginning; close() it
 *
 * After cache_stop() has called back: nothing is on its way into a slot.
 * Counters, what is in the file tier, and the memory of what was evicted a
 * while ago are left behind.
 */
int cache_save_state(struct cache *cache, int *ret_memory, int *ret_state,
		     struct why *why) __attribute__((warn_unused_result));

/**
 * cache_load_state() - begin with what another process has cached
 * @memory:	owned from success on
 * @state:	@len bytes of description; not trusted
 *
 * Before anything else is done with @cache, which may be of another size: what
 * does not fit into a smaller one is dropped.
 *
 * Return: 0; -EBADMSG: it is not understood, or contradicts itself; other
 * -errno. On error the cache is empty, as it was.
 */
int cache_load_state(struct cache *cache, int memory, const void *state,
		     size_t len, struct why *why)
	__attribute__((warn_unused_result));

/**
 * cache_drop_records() - no boot that is being recorded is to be learned
 *
 * For an upgrade, which cuts boots in two: half a boot is none.
 */
void cache_drop_records(struct cache *cache);

#endif
