/* SPDX-License-Identifier: Apache-2.0 */
/*
 * prefetch.c - reads extents of the boot segment, as the plan orders and the
 * pace allows, and puts their pages into the cache
 *
 * An extent that is on its way has all its pages that are wanted in
 * cache.pending, so demand reads join it. When it has come its checksum is
 * verified before any byte is looked at; then each page that is still pending
 * with it goes into its slot. A page that is present is never written to, so a
 * prefetch cannot overwrite anything. Whoever waited walks on (read.c) and
 * finds its pages present, or, if the extent was no good, absent.
 *
 * Extents and their buffers are taken from a fixed set: that is the bound of
 * the prefetch buffer. A few are kept for demand reads that need an extent now.
 */
#include "cache/prefetch.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/clock.h"
#include "base/log.h"
#include "boot/extent_codec.h"
#include "boot/plan.h"
#include "cache/image.h"

#define EXTENTS_MAX    40u /* on their way at once; a buffer of 1 MiB each */
#define EXTENTS_SPARED 8u /* of them, kept for demand reads */
#define ERRORS_MAX     3u /* failed reads of the segment until it is left */

struct extent_read {
	struct fetch fetch; /* first */
	struct blk_req req;
	struct iovec iov;
	uint64_t started_ns;
	uint32_t extent;
	uint8_t *buf; /* BOOT_EXTENT_BYTES; kept from use to use */
	struct list list; /* of prefetch.idle, while not in use */
};

struct prefetch {
	struct image *image;
	struct boot_map *map; /* the image's when it began; owned */
	struct blk *segment; /* owned */
	struct plan *plan;
	uint8_t *raw; /* where compressed extents are unpacked */
	uint64_t in_flight; /* bytes */
	unsigned nidle, errors;
	bool is_pumping; /* pump() is on the stack */
	bool is_damaged; /* and that was told */
	struct list idle; /* of struct extent_read */
	struct loop_task end; /* frees it, not from the segment's callback */
	uint32_t blocks[BOOT_EXTENT_BLOCKS];
	struct extent_read extents[EXTENTS_MAX];
};

static void pump(struct prefetch *prefetch);

static bool is_present(const struct image *image, uint32_t page)
{
	uint32_t i = image->index[page / SLOT_PAGES];

	return i &&
	       slots_at(image->cache->slots, i)->valid >> page % SLOT_PAGES & 1;
}

static void insert(struct image *image, uint32_t page, const uint8_t *bytes)
{
	struct slots *slots = image->cache->slots;
	uint32_t i = image_slot(image, page / SLOT_PAGES, true);
	uint16_t bit = (uint16_t)(1u << page % SLOT_PAGES);
	struct slot *slot;

	if (!i) /* the cache is full of what others wait for */
		return;
	slot = slots_at(slots, i);
	memcpy((uint8_t *)slots_bytes(slots, i) +
		       (size_t)(page % SLOT_PAGES) * PAGE_BYTES,
	       bytes, PAGE_BYTES);
	slot->valid |= bit;
	slot->fresh |= bit;
	image->stats.prefetched_pages++;
}

/* Check and unpack an extent. Return: its pages, or NULL. */
static const uint8_t *unpack(struct prefetch *prefetch,
			     const struct extent_read *er)
{
	const struct boot_extent *extent = &prefetch->map->extents[er->extent];
	uint8_t *to = er->buf;

	if (extent->codec != BOOT_PLAIN) {
		if (!prefetch->raw)
			prefetch->raw = malloc(BOOT_EXTENT_BYTES);
		to = prefetch->raw;
	}
	if (!to || extent_unpack(extent, er->buf, extent->stored, to,
				 (size_t)boot_map_extent_blocks(prefetch->map,
								er->extent) *
					 BOOT_BLOCK) < 0)
		return NULL;
	return to;
}

static void extent_failed(struct prefetch *prefetch, uint32_t extent, int res)
{
	struct image *image = prefetch->image;

	image->stats.prefetch_errors++;
	if (!res) { /* it was read, and is not what the map says */
		if (prefetch->is_damaged)
			return; /* and so are those that were on their way */
		prefetch->is_damaged = true;
		log_warning(image->name,
			    "boot segment %016" PRIx64 " is damaged in extent "
			    "%" PRIu32 ": not used; this boot records it anew",
			    prefetch->map->segment_id, extent);
		image->map = boot_map_free(image->map);
	} else if (++prefetch->errors == ERRORS_MAX) {
		log_warning(image->name, "boot segment cannot be read: %s",
			    strerror(-res));
	} else {
		return;
	}
	plan_stop(prefetch->plan);
}

static void extent_done(struct blk_req *req, int res)
{
	struct extent_read *er = container_of(req, struct extent_read, req);
	struct image *image = er->fetch.image;
	struct prefetch *prefetch = image->prefetch;
	uint32_t n = boot_map_extent_blocks(prefetch->map, er->extent);
	const uint8_t *bytes = res < 0 ? NULL : unpack(prefetch, er);
	uint64_t now = clock_ns();

	prefetch->in_flight -= req->len;
	boot_map_blocks(prefetch->map, er->extent * BOOT_EXTENT_BLOCKS, n,
			prefetch->blocks);
	for (uint32_t k = 0; k < n; k++) {
		uint32_t page = prefetch->blocks[k];

		if (pending_del(&image->cache->pending, image, page,
				&er->fetch) &&
		    bytes)
			insert(image, page, bytes + (size_t)k * BOOT_BLOCK);
	}
	plan_end(prefetch->plan, er->extent);
	if (bytes)
		pace_prefetched(&image->pace, req->len, now - er->started_ns,
				now);
	else
		extent_failed(prefetch, er->extent, res);

	/* Still busy: whoever walks on may ask for another extent. */
	read_resume(image->cache, &er->fetch.waiters);
	list_add(&prefetch->idle, &er->list);
	prefetch->nidle++;
	pump(prefetch);
}

/* Read extent @i, which the plan handed out. Return: false: not needed. */
static bool extent_start(struct prefetch *prefetch, uint32_t i)
{
	struct image *image = prefetch->image;
	const struct boot_extent *extent = &prefetch->map->extents[i];
	uint32_t n = boot_map_extent_blocks(prefetch->map, i);
	struct extent_read *er =
		list_first(&prefetch->idle, struct extent_read, list);
	uint32_t wanted = 0;

	assert(prefetch->nidle);
	if (!er->buf)
		er->buf = aligned_alloc(BOOT_BLOCK, BOOT_EXTENT_BYTES);
	if (!er->buf || pending_reserve(&image->cache->pending, n) < 0) {
		plan_end(prefetch->plan, i);
		return false;
	}
	boot_map_blocks(prefetch->map, i * BOOT_EXTENT_BLOCKS, n,
			prefetch->blocks);
	for (uint32_t k = 0; k < n; k++) {
		uint32_t page = prefetch->blocks[k];

		if (is_present(image, page) ||
		    pending_find(&image->cache->pending, image, page))
			continue;
		pending_add(&image->cache->pending, image, page, &er->fetch);
		wanted++;
	}
	if (!wanted) {
		plan_end(prefetch->plan, i);
		return false;
	}
	list_del(&er->list);
	prefetch->nidle--;
	prefetch->in_flight += extent->stored;
	image->stats.prefetch_requests++;
	image->stats.prefetch_bytes += extent->stored;
	er->extent = i;
	er->started_ns = clock_ns();
	er->iov = (struct iovec){
		.iov_base = er->buf,
		.iov_len = extent->stored,
	};
	er->req = (struct blk_req){
		.op = BLK_READ,
		.flags = BLK_LOW,
		.offset = extent->offset,
		.len = extent->stored,
		.iov = &er->iov,
		.niov = 1,
		.done = extent_done,
	};
	blk_submit(prefetch->segment, &er->req);
	return true;
}

/* Read on, as far as the pace allows; end when there is nothing left. */
static void pump(struct prefetch *prefetch)
{
	struct image *image = prefetch->image;
	uint32_t i;

	if (prefetch->is_pumping) /* an extent that ended inside submit */
		return;
	prefetch->is_pumping = true;
	if (pace_is_useless(&image->pace))
		plan_stop(prefetch->plan);
	while (prefetch->nidle > EXTENTS_SPARED &&
	       pace_may(&image->pace, prefetch->in_flight, BOOT_EXTENT_BYTES) &&
	       plan_next(prefetch->plan, &i))
		(void)extent_start(prefetch, i);
	prefetch->is_pumping = false;
	if (plan_is_over(prefetch->plan))
		loop_defer(image->cache->loop, &prefetch->end);
}

static struct prefetch *prefetch_free(struct prefetch *prefetch)
{
	for (unsigned i = 0; i < EXTENTS_MAX; i++)
		free(prefetch->extents[i].buf);
	free(prefetch->raw);
	boot_map_free(prefetch->map);
	plan_free(prefetch->plan);
	free(prefetch);
	return NULL;
}

static void on_end(struct loop_task *task)
{
	struct prefetch *prefetch = container_of(task, struct prefetch, end);
	struct image *image = prefetch->image;

	log_debug(image->name,
		  "prefetch ended: %" PRIu64 " requests, %" PRIu64 " bytes",
		  image->stats.prefetch_requests, image->stats.prefetch_bytes);
	image->prefetch = NULL;
	blk_free(prefetch->segment);
	prefetch_free(prefetch);
	image_put(image);
}

int prefetch_start(struct image *image, struct blk *segment)
{
	struct prefetch *prefetch = calloc(1, sizeof(*prefetch));

	if (!prefetch)
		return -ENOMEM;
	prefetch->image = image;
	prefetch->map = boot_map_copy(image->map);
	if (!prefetch->map ||
	    plan_new(image->map->nextents, &prefetch->plan) < 0) {
		prefetch_free(prefetch);
		return -ENOMEM;
	}
	prefetch->segment = segment;
	loop_task_init(&prefetch->end, on_end);
	list_init(&prefetch->idle);
	for (unsigned i = 0; i < EXTENTS_MAX; i++) {
		struct extent_read *er = &prefetch->extents[i];

		er->fetch = (struct fetch){.image = image, .is_prefetch = true};
		list_init(&er->fetch.waiters);
		list_add_tail(&prefetch->idle, &er->list);
	}
	prefetch->nidle = EXTENTS_MAX;
	image->prefetch = prefetch;
	image_get(image);
	pump(prefetch);
	return 0;
}

void prefetch_stop(struct prefetch *prefetch)
{
	plan_stop(prefetch->plan);
	pump(prefetch);
}

bool prefetch_take(struct prefetch *prefetch, uint32_t page, uint32_t n)
{
	struct image *image = prefetch->image;
	uint32_t rank, i;

	if (!boot_map_find(prefetch->map, page, &rank))
		return false;
	i = rank / BOOT_EXTENT_BLOCKS;
	if (plan_state(prefetch->plan, i) != PLAN_WAITING)
		return false;
	image->stats.prefetch_jumps++;
	plan_jump(prefetch->plan, i);
	if (!prefetch->nidle ||
	    !pace_prefers_extent(&image->pace, (uint64_t)n * PAGE_BYTES,
				 prefetch->map->extents[i].stored))
		return false;
	plan_take(prefetch->plan, i);
	return extent_start(prefetch, i);
}

uint64_t prefetch_in_flight(const struct prefetch *prefetch)
{
	return prefetch->in_flight;
}
