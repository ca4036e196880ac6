/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cache.h - the cache manager: every read of every golden image of the host
 *
 * One cache for all images and all their clones. Whoever wants to read an
 * image opens it here and gets a handle, a struct blk of its own over what all
 * share. The order at the first opening of an image is that of the invention:
 * the boot workload map is loaded and held against the image, the prefetch of
 * its boot segment starts, the handle is given out, a fresh record begins.
 *
 * A read finds each of its 4 KiB pages in one of three states:
 *
 *	present		copied from the cache device (slots.h)
 *	in flight	waits for that one read of the store, whoever began it
 *	absent		read from the file tier, or the store, at once; or, if
 *its extent of the boot segment is about to come, with that
 *
 * So many clones that ask for a page cause one read of the store. A failed
 * prefetch fails nobody: who waited for it reads the image itself.
 *
 * When the boot is over, or its disk is closed, the record is merged into the
 * map and a new segment and map are written (save.c): all from the cache,
 * while the guest runs on.
 *
 * Images are read-only: a handle refuses writes. Everything is called on the
 * loop's thread, and calls back on it.
 */
#ifndef CACHE_CACHE_H
#define CACHE_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"
#include "base/why.h"
#include "boot/map.h"
#include "boot/recorder.h"

struct blk;
struct cache;
struct loop;
struct workers;

/**
 * cache_store_open - how the cache opens what is at an address
 * @version:	filled with what the store has to tell two contents apart
 *
 * As store_open() without flags; called on a worker thread, must not touch
 * @loop. Return: 0; -ENOENT: there is no such thing; other -errno.
 */
typedef int cache_store_open(struct loop *loop, const char *address,
			     char version[static BOOT_VERSION_MAX],
			     struct blk **ret, struct why *why);

/**
 * cache_new() - make the host's cache
 * @loop:	the loop of the calling thread
 * @workers:	of that loop
 * @ram_bytes:	of the cache device; taken as it fills
 * @open:	opens images, maps and segments
 * @ret:	on success: cache_free() it
 */
int cache_new(struct loop *loop, struct workers *workers, uint64_t ram_bytes,
	      cache_store_open *open, struct cache **ret, struct why *why)
	__attribute__((warn_unused_result));

/**
 * cache_add_file_tier() - keep on a local disk what RAM has to give up
 * @file:	writable; its size is the quota, its content is overwritten;
 *		owned from success on
 *
 * At most once, before the first cache_open(). Return: 0; -EINVAL: smaller
 * than 64 KiB; -ENOMEM.
 */
int cache_add_file_tier(struct cache *cache, struct blk *file)
	__attribute__((warn_unused_result));

/** cache_free() - after cache_stop() has called back. Return: NULL. */
struct cache *cache_free(struct cache *cache);

/**
 * cache_stop() - end prefetch, let segments that are being written end
 * @stopped:	called once nothing is in flight; perhaps before return
 *
 * All handles are closed already, and none is opened after.
 */
void cache_stop(struct cache *cache, void (*stopped)(void *arg), void *arg);

/**
 * struct cache_image_options - how to treat an image; the first opener decides
 * @name:	for people, and of its map and segment files in @boot_dir
 * @address:	of the raw image. Its map is looked for at this address with
 *		".bootmap" behind the path, then in @boot_dir.
 * @boot_dir:	a directory to write map and segment to; NULL: nowhere, and
 *		nothing is recorded
 * @is_network:	the store is across a network: prefetch starts wider
 * @no_record, @no_prefetch: leave that out
 * @compress:	zstd level for the segment's extents; 0: store them plain
 * @limits:	when a boot is over; NULL: recorder_default_limits
 */
struct cache_image_options {
	const char *name;
	const char *address;
	const char *boot_dir;
	const struct recorder_limits *limits;
	bool is_network;
	bool no_record;
	bool no_prefetch;
	int compress;
};

/**
 * struct cache_opening - an opening on its way; a member of its owner's
 * @list:	private
 * @is_resumed:	a guest that runs already comes back: this is no boot, and is
 *		not recorded
 * @done:	called once, with 0 and a handle, blk_free() of which closes
 *		the image; or with -errno, NULL and why
 */
struct cache_opening {
	struct list list;
	bool is_resumed;
	void (*done)(struct cache_opening *opening, int res, struct blk *handle,
		     const struct why *why);
};

/** cache_open() - open an image; @opening->done may come before return */
void cache_open(struct cache *cache, const struct cache_image_options *options,
		struct cache_opening *opening);

/** cache_mark_booted() - the guest on @handle says that its boot is over */
void cache_mark_booted(struct blk *handle);

/**
 * cache_begin_boot() - the guest on @handle was reset: a new boot begins, and
 * what was recorded of the one before it is dropped unless it had ended
 */
void cache_begin_boot(struct blk *handle);

/** struct cache_reads - what reads of one handle, or of all, came to */
struct cache_reads {
	uint64_t reads, bytes;
	uint64_t hits; /* reads that found all their pages present */
	uint64_t waits; /* that waited for a page in flight, and no more */
	uint64_t misses; /* that had to ask the store */
	uint64_t errors;
	uint64_t blocked_ns; /* time of all waits and misses */
};

/** cache_handle_reads() - of one handle */
struct cache_reads cache_handle_reads(const struct blk *handle);

/** struct cache_image_stats - one image's counters and state, lent */
struct cache_image_stats {
	const char *name, *address;
	unsigned handles; /* open now */
	struct cache_reads reads;
	uint64_t demand_requests, demand_bytes; /* to the image's store */
	uint64_t tier_requests, tier_bytes; /* to the file tier */
	uint64_t prefetch_requests, prefetch_bytes; /* to the segment's */
	uint64_t prefetched_pages, used_pages; /* brought, and read since */
	uint64_t late_pages; /* waited for while their extent came */
	uint64_t prefetch_jumps, prefetch_errors;
	bool is_prefetching, is_recording, is_saving;
	const char *boot_end; /* why the last recorded boot ended, or NULL */
	const struct boot_map *map; /* or NULL */
};

/** cache_each() - tell of each image */
void cache_each(const struct cache *cache,
		void (*tell)(void *arg, const struct cache_image_stats *stats),
		void *arg);

/** struct cache_totals - of the cache device, in bytes */
struct cache_totals {
	uint64_t ram_bytes, used_bytes, boot_bytes;
	uint64_t evictions;
	uint64_t tier_bytes, tier_used_bytes; /* of the file tier; 0: none */
	uint64_t tier_writes, tier_dropped, tier_damaged; /* slots, pages */
};

struct cache_totals cache_totals(const struct cache *cache);

#endif
