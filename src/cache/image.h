/* SPDX-License-Identifier: Apache-2.0 */
/*
 * image.h - what the files of this room share: an image, its handles, and
 * reads on their way. Not for other rooms.
 *
 * States of an image:
 *
 *	IDLE	nobody has it open. No store; pages that are still cached stay
 *		cached, under the identity that they were read with.
 *	OPENING	open.c is connecting; openers wait in @openers.
 *	READY	handles are out, or a segment is being saved.
 *
 * IDLE -> OPENING: cache_open(). OPENING -> READY: open.c, when the identity is
 * known. OPENING -> IDLE: the store cannot be opened. READY -> IDLE:
 * image_put(), when the last user goes.
 *
 * Users of an image are its handles, its prefetch and its save: each holds a
 * count in @users, so the store is closed after the last of them.
 */
#ifndef CACHE_IMAGE_H
#define CACHE_IMAGE_H

#include "base/blk.h"
#include "base/list.h"
#include "base/loop.h"
#include "base/pool.h"
#include "boot/map.h"
#include "boot/pace.h"
#include "boot/recorder.h"
#include "cache/cache.h"
#include "cache/pending.h"
#include "cache/slots.h"
#include "cache/tier.h"

struct prefetch;
struct save;

struct cache {
	struct loop *loop;
	struct workers *workers;
	cache_store_open *open;
	struct slots *slots;
	struct tier *tier; /* or NULL */
	struct pending pending;
	struct list images; /* of struct image */
	struct pool reads, waiters, demands;
	struct list starved; /* of struct waiter: no slot was to be had */
	struct loop_task retry; /* of @starved */
	unsigned busy; /* images that are not IDLE */
	void (*stopped)(void *arg);
	void *stopped_arg;
};

enum image_state {
	IMAGE_IDLE,
	IMAGE_OPENING,
	IMAGE_READY,
};

/* A handle: one opener's view of an image. */
struct handle {
	struct blk blk; /* first */
	struct image *image;
	struct cache_reads reads;
};

struct image {
	struct list list; /* of the cache */
	struct cache *cache;
	enum image_state state;
	unsigned users;
	unsigned handles;
	char *name, *address, *boot_dir; /* boot_dir may be NULL */
	bool is_network, no_record, no_prefetch;
	bool is_handed_over; /* the first opener's options are to come */
	int level; /* of compression; 0: none */
	struct recorder_limits limits;

	struct blk *store; /* NULL while IDLE */
	struct boot_identity identity; /* of what is cached; size 0: nothing */
	uint32_t *index; /* slot number per 64 KiB of the image; 0: none */
	uint32_t *tier_index; /* likewise entry of the file tier */
	uint32_t nblocks; /* entries of both */
	struct list openers; /* of struct cache_opening */
	struct loop_task close; /* frees @store, not from its own callback */

	struct boot_map *map; /* what the last boots read, or NULL */
	struct prefetch *prefetch; /* or NULL */
	struct pace pace;
	struct save *save; /* a segment being written, or NULL */
	struct handle inner; /* the cache's own reads; never recorded */
	struct handle *leader; /* the handle whose boot is recorded */
	struct recorder *recorder; /* NULL when nothing is recorded */
	struct loop_timer recorder_timer;
	struct cache_image_stats stats;
};

/* A request on its way through the cache. */
struct read {
	struct blk_req *req;
	struct handle *handle;
	uint64_t started_ns;
	uint32_t refs; /* parts that have not ended */
	int res;
	bool has_waited, has_missed;
};

/* Pages of a read that wait for a fetch, or for a slot. */
struct waiter {
	struct list list; /* of a fetch, or cache.starved */
	struct read *read;
	uint32_t page, n;
};

/* Pages on their way from a store; the first member of each kind. */
struct fetch {
	struct image *image;
	struct list waiters; /* of struct waiter */
	bool is_prefetch;
};

/** image_new() - IDLE, in the list of @cache; 0 or -ENOMEM */
int image_new(struct cache *cache, const struct cache_image_options *options,
	      struct image **ret) __attribute__((warn_unused_result));

/** image_free() - it has no users */
void image_free(struct image *image);

/** handle_init() - make @handle a view of @image */
void handle_init(struct handle *handle, struct image *image);

/** image_get(), image_put() - count a user; the last one closes the store */
void image_get(struct image *image);
void image_put(struct image *image);

/** image_open() - begin to open; openers are in @image->openers */
void image_open(struct image *image);

/** image_ready() - open.c is done: give out handles, or @res and @why */
void image_ready(struct image *image, int res, const struct why *why);

/** image_forget() - drop all cached pages of an image that has no users */
void image_forget(struct image *image);

/** image_record() - begin to record the boot of @handle */
void image_record(struct image *image, struct handle *handle);

/** image_stop_recording() - for reason @end; saves what is worth it */
void image_stop_recording(struct image *image, enum boot_end end);

/**
 * image_slot() - the slot of @block, taking one if it has none
 *
 * Return: its number, or 0: all are pinned.
 */
uint32_t image_slot(struct image *image, uint32_t block, bool is_boot);

/** read_demand_size - bytes of an object of cache.demands */
extern const size_t read_demand_size;

/** read_submit() - the way of each read; see read.c */
void read_submit(struct handle *handle, struct blk_req *req);

/** read_resume() - go on with all that waited; @waiters is empty after */
void read_resume(struct cache *cache, struct list *waiters);

#endif
