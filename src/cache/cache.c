/* SPDX-License-Identifier: Apache-2.0 */
/* cache.c - the images of the host, who opens them, and how it all ends */
#include "cache/cache.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "cache/image.h"
#include "cache/prefetch.h"

/* Of the cache device: so much may be kept for boot sets whatever comes. */
#define BOOT_PERCENT 50u
/* Requests on their way at once; a door has its own, lower limits. */
#define READS_MAX   65536u
#define WAITERS_MAX (4u * READS_MAX)
#define DEMANDS_MAX 4096u

static void on_evicted(void *owner, uint32_t block, struct slot *slot)
{
	struct image *image = owner;

	if (image->cache->tier)
		tier_put(image->cache->tier, &image->tier_index[block],
			 slots_bytes(image->cache->slots, image->index[block]),
			 slot->valid);
	image->index[block] = 0;
}

static void on_retry(struct loop_task *task)
{
	struct cache *cache = container_of(task, struct cache, retry);
	struct list now;

	list_init(&now);
	list_splice(&now, &cache->starved);
	read_resume(cache, &now);
}

int cache_new(struct loop *loop, struct workers *workers, uint64_t ram_bytes,
	      cache_store_open *open, struct cache **ret, struct why *w)
{
	struct cache *cache = calloc(1, sizeof(*cache));
	int err;

	if (!cache)
		return why(w, -ENOMEM, "cache");
	cache->loop = loop;
	cache->workers = workers;
	cache->open = open;
	err = slots_new(ram_bytes, BOOT_PERCENT, on_evicted, &cache->slots, w);
	if (err < 0) {
		free(cache);
		return err;
	}
	list_init(&cache->images);
	list_init(&cache->starved);
	loop_task_init(&cache->retry, on_retry);
	pool_init(&cache->reads, sizeof(struct read), READS_MAX);
	pool_init(&cache->waiters, sizeof(struct waiter), WAITERS_MAX);
	pool_init(&cache->demands, read_demand_size, DEMANDS_MAX);
	*ret = cache;
	return 0;
}

void image_free(struct image *image)
{
	image_forget(image);
	boot_map_free(image->map);
	list_del(&image->list);
	free(image->name);
	free(image->address);
	free(image->boot_dir);
	free(image);
}

struct cache *cache_free(struct cache *cache)
{
	if (!cache)
		return NULL;
	assert(!cache->busy);
	while (!list_is_empty(&cache->images))
		image_free(list_first(&cache->images, struct image, list));
	loop_task_cancel(&cache->retry);
	pool_release(&cache->reads);
	pool_release(&cache->waiters);
	pool_release(&cache->demands);
	pending_release(&cache->pending);
	slots_free(cache->slots);
	tier_free(cache->tier);
	free(cache);
	return NULL;
}

/* Tell whoever waits for it that nothing is in flight any more. */
static void check_stopped(void *arg)
{
	struct cache *cache = arg;

	if (!cache->stopped || cache->busy ||
	    (cache->tier && tier_is_busy(cache->tier)))
		return;
	cache->stopped(cache->stopped_arg);
	cache->stopped = NULL;
}

int cache_add_file_tier(struct cache *cache, struct blk *file)
{
	int err = tier_new(file, &cache->tier);

	if (!err)
		tier_on_idle(cache->tier, check_stopped, cache);
	return err;
}

static void image_idle(struct image *image)
{
	struct cache *cache = image->cache;

	image->state = IMAGE_IDLE;
	image->store = blk_free(image->store);
	cache->busy--;
	check_stopped(cache);
}

/* The last user went; unless another has come since. */
static void on_close(struct loop_task *task)
{
	struct image *image = container_of(task, struct image, close);

	if (!image->users)
		image_idle(image);
}

void cache_stop(struct cache *cache, void (*stopped)(void *arg), void *arg)
{
	struct list *at, *tmp;

	cache->stopped = stopped;
	cache->stopped_arg = arg;
	check_stopped(cache);
	list_for_each(at, tmp, &cache->images)
	{
		struct image *image = container_of(at, struct image, list);

		if (image->prefetch)
			prefetch_stop(image->prefetch);
	}
}

static struct image *find(struct cache *cache, const char *address)
{
	struct list *at, *tmp;

	list_for_each(at, tmp, &cache->images)
	{
		struct image *image = container_of(at, struct image, list);

		if (!strcmp(image->address, address))
			return image;
	}
	return NULL;
}

/* The first opener decides how the image is treated. */
static int configure(struct image *image,
		     const struct cache_image_options *options)
{
	char *name = strdup(options->name);
	char *dir = options->boot_dir ? strdup(options->boot_dir) : NULL;

	if (!name || (options->boot_dir && !dir)) {
		free(name);
		free(dir);
		return -ENOMEM;
	}
	free(image->name);
	free(image->boot_dir);
	image->name = name;
	image->boot_dir = dir;
	image->is_network = options->is_network;
	image->no_record = options->no_record;
	image->no_prefetch = options->no_prefetch;
	image->level = options->compress;
	image->limits =
		options->limits ? *options->limits : recorder_default_limits;
	image->is_handed_over = false;
	return 0;
}

int image_new(struct cache *cache, const struct cache_image_options *options,
	      struct image **ret)
{
	struct image *image = calloc(1, sizeof(*image));

	if (!image)
		return -ENOMEM;
	list_init(&image->list);
	list_init(&image->openers);
	loop_task_init(&image->close, on_close);
	image->cache = cache;
	image->address = strdup(options->address);
	if (!image->address || configure(image, options) < 0) {
		image_free(image);
		return -ENOMEM;
	}
	list_add_tail(&cache->images, &image->list);
	*ret = image;
	return 0;
}

static void give_handle(struct image *image, struct cache_opening *opening)
{
	struct handle *handle = calloc(1, sizeof(*handle));

	if (!handle) {
		opening->done(opening, -ENOMEM, NULL,
			      &(struct why){"out of memory"});
		return;
	}
	handle_init(handle, image);
	image->handles++;
	image_get(image);
	if (!opening->is_resumed)
		image_record(image, handle);
	opening->done(opening, 0, &handle->blk, NULL);
}

void image_ready(struct image *image, int res, const struct why *w)
{
	struct list openers;

	image->state = IMAGE_READY;
	list_init(&openers);
	list_splice(&openers, &image->openers);
	if (res < 0) /* before the openers hear of it: they may ask again */
		image_idle(image);
	while (!list_is_empty(&openers)) {
		struct cache_opening *opening =
			list_first(&openers, struct cache_opening, list);

		list_del(&opening->list);
		if (res < 0)
			opening->done(opening, res, NULL, w);
		else
			give_handle(image, opening);
	}
}

void cache_open(struct cache *cache, const struct cache_image_options *options,
		struct cache_opening *opening)
{
	struct image *image = find(cache, options->address);

	if ((!image && image_new(cache, options, &image) < 0) ||
	    (image->is_handed_over && configure(image, options) < 0)) {
		opening->done(opening, -ENOMEM, NULL,
			      &(struct why){"out of memory"});
		return;
	}
	if (image->state == IMAGE_READY) {
		give_handle(image, opening);
		return;
	}
	list_init(&opening->list);
	list_add_tail(&image->openers, &opening->list);
	if (image->state == IMAGE_IDLE) {
		image->state = IMAGE_OPENING;
		cache->busy++;
		image_open(image);
	}
}

void cache_each(const struct cache *cache,
		void (*tell)(void *arg, const struct cache_image_stats *stats),
		void *arg)
{
	struct list *at, *tmp;

	list_for_each(at, tmp, &cache->images)
	{
		struct image *image = container_of(at, struct image, list);
		struct cache_image_stats stats = image->stats;

		stats.name = image->name;
		stats.address = image->address;
		stats.handles = image->handles;
		stats.is_prefetching = image->prefetch != NULL;
		stats.is_recording = image->recorder != NULL;
		stats.is_saving = image->save != NULL;
		stats.map = image->map;
		tell(arg, &stats);
	}
}

struct cache_totals cache_totals(const struct cache *cache)
{
	struct slots_counts counts = slots_counts(cache->slots);
	struct tier_counts tier = {0};

	if (cache->tier)
		tier = tier_counts(cache->tier);

	return (struct cache_totals){
		.ram_bytes = (uint64_t)counts.total * SLOT_BYTES,
		.used_bytes = (uint64_t)counts.used * SLOT_BYTES,
		.boot_bytes = (uint64_t)counts.boot * SLOT_BYTES,
		.evictions = counts.evictions,
		.tier_bytes = (uint64_t)tier.total * SLOT_BYTES,
		.tier_used_bytes = (uint64_t)tier.used * SLOT_BYTES,
		.tier_writes = tier.writes,
		.tier_dropped = tier.dropped,
		.tier_damaged = tier.damaged,
	};
}
