/* SPDX-License-Identifier: Apache-2.0 */
/*
 * read.c - a read finds its pages, waits for them, or has them fetched
 *
 * read_submit() first tries the whole request: if all pages are present it is
 * copied and ended, with nothing taken from any pool. Otherwise it becomes a
 * struct read, and walk() goes over its pages: what is present is copied, what
 * is in flight gets a waiter, what is absent a demand fetch, straight into
 * pinned slots, of as long a stretch as is absent.
 *
 * Invariants:
 *
 * (1) A page is in cache.pending exactly while a fetch that will make it valid
 *     is in flight; then it is not valid.
 * (2) A slot has a pin for each demand fetch that reads into it.
 * (3) A read's refs are its waiters, plus one while walk() is at it.
 */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/array.h"
#include "base/clock.h"
#include "base/iov.h"
#include "cache/image.h"
#include "cache/prefetch.h"

/* Longest demand fetch: what one read of a guest may be, and then some. */
#define DEMAND_SLOTS 16u

struct demand {
	struct fetch fetch; /* first */
	struct blk_req req;
	uint64_t started_ns;
	uint32_t page, n;
	uint32_t tier; /* the entry of the file tier that is read; 0: the store
			*/
	int niov;
	struct iovec iov[DEMAND_SLOTS];
};

const size_t read_demand_size = sizeof(struct demand);

/* Bits @first to @first + @n - 1 of a slot's 16. */
static uint16_t mask_of(uint32_t first, uint32_t n)
{
	return (uint16_t)(((1u << n) - 1) << first);
}

/* How many of @n pages from @page on lie in the same slot. */
static uint32_t in_slot(uint32_t page, uint32_t n)
{
	return (uint32_t)min_u64(SLOT_PAGES - page % SLOT_PAGES, n);
}

static uint32_t first_page(const struct blk_req *req)
{
	return (uint32_t)(req->offset / PAGE_BYTES);
}

static uint32_t end_page(const struct blk_req *req)
{
	return (uint32_t)div_up(req->offset + req->len, PAGE_BYTES);
}

/* Copy what @req wants of @n pages from @page on, valid in slot @i. */
static void copy_out(struct handle *handle, struct blk_req *req, uint32_t i,
		     uint32_t page, uint32_t n)
{
	struct image *image = handle->image;
	struct slot *slot = slots_at(image->cache->slots, i);
	const uint8_t *bytes = slots_bytes(image->cache->slots, i);
	uint64_t slot_start = (uint64_t)slot->block * SLOT_BYTES;
	uint64_t from = max_u64(req->offset, (uint64_t)page * PAGE_BYTES);
	uint64_t to = min_u64(req->offset + req->len,
			      (uint64_t)(page + n) * PAGE_BYTES);
	uint16_t mask = mask_of(page % SLOT_PAGES, n);

	if (req->op == BLK_CACHE)
		return;
	iov_put(req->iov, req->niov, from - req->offset,
		bytes + (from - slot_start), to - from);
	if (handle == &image->inner) /* a save is no guest's use */
		return;
	slots_touch(slot);
	if (slot->fresh & mask) {
		image->stats.used_pages +=
			(unsigned)__builtin_popcount(slot->fresh & mask);
		slot->fresh &= (uint16_t)~mask;
		pace_used(&image->pace, true);
	}
}

/* Copy and end @req if every page of it is present. */
static bool try_hit(struct handle *handle, struct blk_req *req)
{
	struct image *image = handle->image;
	uint32_t end = end_page(req), n;

	for (uint32_t page = first_page(req); page < end; page += n) {
		uint32_t i = image->index[page / SLOT_PAGES];
		uint16_t mask;

		n = in_slot(page, end - page);
		mask = mask_of(page % SLOT_PAGES, n);
		if (!i ||
		    (slots_at(image->cache->slots, i)->valid & mask) != mask)
			return false;
	}
	for (uint32_t page = first_page(req); page < end; page += n) {
		n = in_slot(page, end - page);
		copy_out(handle, req, image->index[page / SLOT_PAGES], page, n);
	}
	return true;
}

static void count(struct cache_reads *reads, const struct read *read,
		  uint64_t took_ns)
{
	reads->misses += read->has_missed;
	reads->waits += read->has_waited && !read->has_missed;
	reads->hits += !read->has_waited && !read->has_missed;
	reads->errors += read->res < 0;
	reads->blocked_ns += took_ns;
}

static void read_put(struct read *read)
{
	struct handle *handle = read->handle;
	struct blk_req *req = read->req;
	uint64_t took_ns;
	int res;

	if (--read->refs)
		return;
	took_ns = clock_ns() - read->started_ns;
	count(&handle->reads, read, took_ns);
	count(&handle->image->stats.reads, read, took_ns);
	res = read->res;
	pool_give(&handle->image->cache->reads, read);
	blk_end(req, res);
}

/* Let @n pages of @read from @page on wait in @list. */
static bool wait_in(struct list *list, struct read *read, uint32_t page,
		    uint32_t n)
{
	struct cache *cache = read->handle->image->cache;
	struct waiter *waiter = pool_take(&cache->waiters);

	if (!waiter) {
		read->res = -ENOMEM;
		return false;
	}
	waiter->read = read;
	waiter->page = page;
	waiter->n = n;
	list_add_tail(list, &waiter->list);
	read->refs++;
	return true;
}

static bool is_absent(const struct image *image, uint32_t page)
{
	uint32_t i = image->index[page / SLOT_PAGES];

	if (i && (slots_at(image->cache->slots, i)->valid &
		  mask_of(page % SLOT_PAGES, 1)))
		return false;
	return !pending_find(&image->cache->pending, image, page);
}

/* What was read of the file tier is right, or its entry is gone. */
static bool is_good_tier(struct cache *cache, const struct demand *demand,
			 int res)
{
	bool is_good =
		!res && tier_is_whole(cache->tier, demand->tier,
				      demand->page % SLOT_PAGES, demand->n,
				      demand->iov[0].iov_base);

	if (!is_good)
		tier_drop(cache->tier, demand->tier);
	tier_put_back(cache->tier, demand->tier);
	return is_good;
}

static void demand_done(struct blk_req *req, int res)
{
	struct demand *demand = container_of(req, struct demand, req);
	struct image *image = demand->fetch.image;
	struct cache *cache = image->cache;
	bool is_good = !res;
	struct list waiters;
	uint64_t now;
	uint32_t n;

	if (demand->tier) {
		/* If not, whoever waits looks again, and asks the store. */
		is_good = is_good_tier(cache, demand, res);
		res = 0;
	} else {
		now = clock_ns();
		pace_demand(&image->pace, now - demand->started_ns,
			    image->prefetch
				    ? prefetch_in_flight(image->prefetch)
				    : 0,
			    now);
	}
	for (uint32_t page = demand->page; page < demand->page + demand->n;
	     page += n) {
		struct slot *slot =
			slots_at(cache->slots, image->index[page / SLOT_PAGES]);

		n = in_slot(page, demand->page + demand->n - page);
		for (uint32_t k = 0; k < n; k++)
			(void)pending_del(&cache->pending, image, page + k,
					  &demand->fetch);
		if (is_good)
			slot->valid |= mask_of(page % SLOT_PAGES, n);
		slot->pins--;
	}
	list_init(&waiters);
	list_splice(&waiters, &demand->fetch.waiters);
	pool_give(&cache->demands, demand);

	if (res < 0) { /* nobody asks again: each has its error */
		struct list *at, *tmp;

		list_for_each(at, tmp, &waiters)
			container_of(at, struct waiter, list)
				->read->res = res;
	}
	read_resume(cache, &waiters);
	if (!list_is_empty(&cache->starved))
		loop_defer(cache->loop, &cache->retry);
	image_put(image);
}

/* Send @demand to where its pages are. */
static void demand_submit(struct image *image, struct demand *demand)
{
	struct cache *cache = image->cache;
	struct cache_image_stats *stats = &image->stats;
	struct blk *from = image->store;
	uint64_t len = (uint64_t)demand->n * PAGE_BYTES;

	demand->req = (struct blk_req){
		.op = BLK_READ,
		.offset = (uint64_t)demand->page * PAGE_BYTES,
		.iov = demand->iov,
		.niov = demand->niov,
		.done = demand_done,
	};
	if (demand->tier) {
		from = tier_file(cache->tier);
		demand->req.offset = tier_get(cache->tier, demand->tier) +
				     demand->page % SLOT_PAGES * PAGE_BYTES;
		stats->tier_requests++;
		stats->tier_bytes += len;
	} else {
		uint64_t left = image->store->size - demand->req.offset;

		/* The image may end inside its last page. */
		if (left < len) {
			struct iovec *last = &demand->iov[demand->niov - 1];

			last->iov_len -= len - left;
			memset((char *)last->iov_base + last->iov_len, 0,
			       len - left);
			len = left;
		}
		stats->demand_requests++;
		stats->demand_bytes += len;
		demand->started_ns = clock_ns();
	}
	demand->req.len = len;
	blk_submit(from, &demand->req);
}

/* How many of @n pages from @page on one read of the file tier brings. */
static uint32_t in_tier(const struct image *image, uint32_t page, uint32_t n,
			uint32_t *ret_entry)
{
	uint32_t i = image->tier_index[page / SLOT_PAGES], k = 0;
	uint32_t valid = i ? tier_valid(image->cache->tier, i) : 0;

	valid >>= page % SLOT_PAGES;
	while (k < in_slot(page, n) && (valid >> k & 1))
		k++;
	*ret_entry = i;
	return k;
}

/*
 * Begin to fetch absent pages from @page on, at most @n.
 *
 * Return: how many; 0 if there is no room, and then nothing was begun.
 */
static uint32_t demand_start(struct read *read, uint32_t page, uint32_t n)
{
	struct image *image = read->handle->image;
	struct cache *cache = image->cache;
	struct demand *demand;
	uint32_t got = 0, part, tier = 0, tiered;
	int niov = 0;

	tiered = cache->tier ? in_tier(image, page, n, &tier) : 0;
	if (tiered)
		n = tiered;

	demand = pool_take(&cache->demands);
	if (!demand || pending_reserve(&cache->pending, n) < 0) {
		pool_give(&cache->demands, demand);
		return 0;
	}
	demand->fetch = (struct fetch){.image = image};
	list_init(&demand->fetch.waiters);
	for (; got < n && niov < (int)DEMAND_SLOTS; got += part) {
		uint32_t at = page + got;
		uint32_t i = image_slot(image, at / SLOT_PAGES,
					image->recorder != NULL);

		if (!i)
			break;
		part = in_slot(at, n - got);
		slots_at(cache->slots, i)->pins++;
		demand->iov[niov++] = (struct iovec){
			.iov_base = (char *)slots_bytes(cache->slots, i) +
				    (size_t)(at % SLOT_PAGES) * PAGE_BYTES,
			.iov_len = (size_t)part * PAGE_BYTES,
		};
		for (uint32_t k = 0; k < part; k++)
			pending_add(&cache->pending, image, at + k,
				    &demand->fetch);
	}
	if (!got) {
		pool_give(&cache->demands, demand);
		return 0;
	}
	demand->page = page;
	demand->n = got;
	demand->niov = niov;
	demand->tier = tiered ? tier : 0;
	read->has_missed = true;
	/* The waiter first: the fetch may end inside blk_submit(). Without
	 * memory for one the read has its error; the pages still come. */
	(void)wait_in(&demand->fetch.waiters, read, page, got);
	image_get(image);
	demand_submit(image, demand);
	return got;
}

/* See to @n pages of @read from @page on. */
static void walk(struct read *read, uint32_t page, uint32_t n)
{
	struct image *image = read->handle->image;
	struct cache *cache = image->cache;
	uint32_t end = page + n, k;

	while (page < end && !read->res) {
		uint32_t i = image->index[page / SLOT_PAGES];
		uint16_t valid = i ? slots_at(cache->slots, i)->valid : 0;
		struct fetch *fetch;

		valid = (uint16_t)(valid >> page % SLOT_PAGES);
		if (valid & 1) {
			for (k = 1; k < in_slot(page, end - page); k++)
				if (!(valid >> k & 1))
					break;
			copy_out(read->handle, read->req, i, page, k);
			page += k;
			continue;
		}
		fetch = pending_find(&cache->pending, image, page);
		if (fetch) {
			for (k = 1; page + k < end; k++)
				if (pending_find(&cache->pending, image,
						 page + k) != fetch)
					break;
			read->has_waited = true;
			if (fetch->is_prefetch)
				image->stats.late_pages += k;
			(void)wait_in(&fetch->waiters, read, page, k);
			page += k;
			continue;
		}
		for (k = 1; page + k < end; k++)
			if (!is_absent(image, page + k))
				break;
		if (image->prefetch && prefetch_take(image->prefetch, page, k))
			continue; /* it is in flight now, or present */
		k = demand_start(read, page, k);
		if (!k && !cache->demands.taken) { /* nothing will change */
			read->res = -ENOMEM;
			return;
		}
		if (!k) { /* until a demand ends and unpins its slots */
			(void)wait_in(&cache->starved, read, page, end - page);
			return;
		}
		page += k;
	}
}

void read_resume(struct cache *cache, struct list *waiters)
{
	while (!list_is_empty(waiters)) {
		struct waiter *waiter =
			list_first(waiters, struct waiter, list);
		struct read *read = waiter->read;
		uint32_t page = waiter->page, n = waiter->n;

		list_del(&waiter->list);
		pool_give(&cache->waiters, waiter);
		walk(read, page, n);
		read_put(read);
	}
}

void read_submit(struct handle *handle, struct blk_req *req)
{
	struct image *image = handle->image;
	struct cache *cache = image->cache;
	struct read *read;

	if (try_hit(handle, req)) {
		handle->reads.reads++;
		handle->reads.hits++;
		handle->reads.bytes += req->len;
		image->stats.reads.reads++;
		image->stats.reads.hits++;
		image->stats.reads.bytes += req->len;
		blk_end(req, 0);
		return;
	}
	read = pool_take(&cache->reads);
	if (!read) {
		blk_end(req, -ENOMEM);
		return;
	}
	handle->reads.reads++;
	handle->reads.bytes += req->len;
	image->stats.reads.reads++;
	image->stats.reads.bytes += req->len;
	if (req->op == BLK_READ)
		pace_used(&image->pace, false);
	*read = (struct read){
		.req = req,
		.handle = handle,
		.started_ns = clock_ns(),
		.refs = 1,
	};
	walk(read, first_page(req), end_page(req) - first_page(req));
	read_put(read);
}
