/* SPDX-License-Identifier: Apache-2.0 */
/* image.c - an image's users, its handles, and the record of a boot */
#include "cache/image.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "cache/prefetch.h"
#include "cache/save.h"

#define RECORDER_CHECK_NS NS_PER_S

void image_get(struct image *image)
{
	image->users++;
}

void image_put(struct image *image)
{
	assert(image->users);
	if (--image->users == 0)
		loop_defer(image->cache->loop, &image->close);
}

uint32_t image_slot(struct image *image, uint32_t block, bool is_boot)
{
	uint32_t *i = &image->index[block];

	if (!*i)
		*i = slots_take(image->cache->slots, image, block, is_boot);
	return *i;
}

void image_forget(struct image *image)
{
	struct cache *cache = image->cache;

	for (uint32_t block = 0; block < image->nblocks; block++) {
		if (image->index[block])
			slots_drop(cache->slots, image->index[block]);
		if (cache->tier)
			tier_drop(cache->tier, image->tier_index[block]);
	}
	free(image->index);
	free(image->tier_index);
	image->index = NULL;
	image->tier_index = NULL;
	image->nblocks = 0;
	memset(&image->identity, 0, sizeof(image->identity));
}

/* What is cached of the range, from page to page; a store is not asked. */
static void answer_status(struct image *image, struct blk_req *req)
{
	uint64_t at = req->offset, end = req->offset + req->len;
	int n = 0;

	while (at < end) {
		uint32_t page = (uint32_t)(at / PAGE_BYTES);
		uint32_t i = image->index[page / SLOT_PAGES];
		uint64_t next = (page + 1ull) * PAGE_BYTES;
		uint32_t flags = 0;

		if (!i) /* none of this slot's pages */
			next = (page / SLOT_PAGES + 1ull) * SLOT_BYTES;
		else if (slots_at(image->cache->slots, i)->valid >>
				 page % SLOT_PAGES &
			 1)
			flags = BLK_CACHED;
		if (next > end)
			next = end;
		if (n && req->extents[n - 1].flags == flags)
			req->extents[n - 1].len += next - at;
		else if (n < req->nextents)
			req->extents[n++] = (struct blk_extent){
				.len = next - at,
				.flags = flags,
			};
		else
			break;
		at = next;
	}
	req->nextents = n;
	blk_end(req, 0);
}

static void handle_submit(struct blk *blk, struct blk_req *req)
{
	struct handle *handle = (struct handle *)blk;
	struct image *image = handle->image;

	switch (req->op) {
	case BLK_READ:
		if (image->leader == handle)
			recorder_read(image->recorder, req->offset, req->len,
				      clock_ns());
		read_submit(handle, req);
		break;
	case BLK_CACHE:
		read_submit(handle, req);
		break;
	case BLK_STATUS:
		answer_status(image, req);
		break;
	default: /* a flush; blk_submit() lets no change through */
		blk_end(req, 0);
	}
}

static void handle_free(struct blk *blk)
{
	struct handle *handle = (struct handle *)blk;
	struct image *image = handle->image;

	if (image->leader == handle)
		image_stop_recording(image, BOOT_CLOSED);
	image->handles--;
	if (!image->handles && image->prefetch)
		prefetch_stop(image->prefetch);
	free(handle);
	image_put(image);
}

static const struct blk_ops handle_ops = {
	.name = "cache",
	.submit = handle_submit,
	.free = handle_free,
};

void handle_init(struct handle *handle, struct image *image)
{
	*handle = (struct handle){
		.blk =
			{
				.ops = &handle_ops,
				.size = image->store->size,
				.block = 1,
				.can = BLK_CAN_CACHE,
			},
		.image = image,
	};
}

/* Once a second: is the boot over? */
static void on_check(struct loop_timer *timer)
{
	struct image *image = container_of(timer, struct image, recorder_timer);
	uint64_t now = clock_ns();
	enum boot_end end = recorder_check(image->recorder, now);

	if (end != BOOT_GOES_ON)
		image_stop_recording(image, end);
	else
		loop_timer_set(image->cache->loop, timer,
			       now + RECORDER_CHECK_NS);
}

void image_record(struct image *image, struct handle *handle)
{
	uint64_t now = clock_ns();

	if (image->no_record || !image->boot_dir || image->recorder)
		return;
	if (recorder_new(image->store->size, &image->limits, now,
			 &image->recorder) < 0)
		return;
	image->leader = handle;
	image->stats.boot_end = NULL;
	loop_timer_init(&image->recorder_timer, on_check);
	loop_timer_set(image->cache->loop, &image->recorder_timer,
		       now + RECORDER_CHECK_NS);
}

void image_stop_recording(struct image *image, enum boot_end end)
{
	struct recorder *recorder = image->recorder;

	if (!recorder)
		return;
	image->recorder = NULL;
	image->leader = NULL;
	loop_timer_cancel(&image->recorder_timer);
	end = recorder_end(recorder, end, clock_ns());
	image->stats.boot_end = boot_end_name(end);
	log_debug(image->name, "boot is over: %s", boot_end_name(end));
	if (end != BOOT_DIED && !image->save)
		save_start(image, recorder, end);
	recorder_free(recorder);
}

void cache_mark_booted(struct blk *blk)
{
	struct handle *handle = (struct handle *)blk;

	assert(blk->ops == &handle_ops);
	if (handle->image->leader == handle)
		image_stop_recording(handle->image, BOOT_MARKED);
}

void cache_begin_boot(struct blk *blk)
{
	struct handle *handle = (struct handle *)blk;
	struct image *image = handle->image;

	assert(blk->ops == &handle_ops);
	if (image->leader == handle) {
		loop_timer_cancel(&image->recorder_timer);
		image->recorder = recorder_free(image->recorder);
		image->leader = NULL;
	}
	image_record(image, handle);
}

struct cache_reads cache_handle_reads(const struct blk *blk)
{
	const struct handle *handle = (const struct handle *)blk;

	assert(blk->ops == &handle_ops);
	return handle->reads;
}
