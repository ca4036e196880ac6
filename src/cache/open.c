/* SPDX-License-Identifier: Apache-2.0 */
/*
 * open.c - the first opening of an image: store, map, segment, identity
 *
 *	worker	connect to the image; load and decode its map, from beside it
 *		or from the host's own directory; connect to the segment
 *	loop	read the blocks of the fingerprint; compare identities: what
 *		is cached, and the map, are kept only if they speak of this
 *		very image
 *	loop	start the prefetch, then give out the handles
 *
 * A map that is missing is no news; one that is damaged or stale is told in
 * one line, and this boot is recorded anew.
 */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/work.h"
#include "boot/fingerprint.h"
#include "boot/map_fmt.h"
#include "cache/image.h"
#include "cache/prefetch.h"

/* A map of BOOT_BLOCKS_MAX blocks in the worst order, and then some. */
#define MAP_BYTES_MAX (128ull * MIB)

/* Where map and segment are looked for, in this order. */
enum place {
	BESIDE, /* the image, at its store */
	OWN_DIR, /* image->boot_dir */
	PLACES
};

struct opener {
	struct work work;
	struct image *image;
	int res;
	struct why why;
	struct blk *store; /* owned until given to the image */
	struct boot_map *map[PLACES]; /* owned */
	struct blk *segment[PLACES]; /* owned */
	struct why note[PLACES]; /* why a map is not used */
	struct boot_identity identity;

	uint8_t *bytes; /* of the fingerprint's blocks */
	uint32_t nleft;
	struct blk_req req[FINGERPRINT_BLOCKS];
	struct iovec iov[FINGERPRINT_BLOCKS];
};

struct load {
	struct loop *loop;
	int res; /* 1 until it has ended */
};

static void load_done(struct blk_req *req, int res)
{
	struct load *load = req->owner;

	load->res = res;
	/* It may be called from a deferred task: the turn would go on to wait
	 * for some timer. */
	loop_stop(load->loop);
}

/* Read all that is at @address, on a loop of our own: this is a worker. */
static int load(cache_store_open *open, const char *address, void **ret,
		size_t *ret_len, struct why *w)
{
	struct loop *loop = NULL;
	struct load at_hand;
	struct blk *blk = NULL;
	char version[BOOT_VERSION_MAX];
	void *bytes = NULL;
	int res;

	res = loop_new(&loop, w);
	if (res < 0)
		return res;
	res = open(loop, address, version, &blk, w);
	if (res < 0)
		goto free_loop;
	if (blk->size > MAP_BYTES_MAX)
		res = why(w, -EFBIG, "%s", address);
	else if (!(bytes = malloc(blk->size + 1)))
		res = why(w, -ENOMEM, "%s", address);
	if (res < 0)
		goto free_blk;

	at_hand = (struct load){.loop = loop, .res = 1};
	blk_submit(blk, &(struct blk_req){
				.op = BLK_READ,
				.len = blk->size,
				.iov = &(struct iovec){bytes, blk->size},
				.niov = 1,
				.done = load_done,
				.owner = &at_hand,
			});
	while (at_hand.res > 0)
		if (loop_run(loop) < 0)
			abort(); /* the ring is gone with our request in it */
	res = at_hand.res;
	if (res < 0) {
		res = why(w, res, "read %s", address);
		goto free_blk;
	}
	*ret_len = blk->size;
	*ret = take_ptr(&bytes);
free_blk:
	free(bytes);
	blk_free(blk);
free_loop:
	loop_free(loop);
	return res;
}

/* "nbd+unix:///a?socket=s" and NAME(a) make "nbd+unix:///NAME(a)?socket=s";
 * @name takes the part before the query. Return: free() it; NULL: no memory. */
static char *sibling(const char *address, uint64_t segment_id)
{
	const char *query =
		strstr(address, "://") ? strchr(address, '?') : NULL;
	CLEANUP(cleanup_free)
	char *path = query ? strndup(address, (size_t)(query - address))
			   : strdup(address);
	CLEANUP(cleanup_free) char *name = NULL;
	char *whole;

	if (!path)
		return NULL;
	name = segment_id ? boot_segment_name(path, segment_id)
			  : boot_map_name(path);
	if (!name || asprintf(&whole, "%s%s", name, query ? query : "") < 0)
		return NULL;
	return whole;
}

static void load_map(struct opener *opener, enum place place, const char *base)
{
	struct image *image = opener->image;
	cache_store_open *open = image->cache->open;
	CLEANUP(cleanup_free) char *address = sibling(base, 0);
	CLEANUP(cleanup_free) char *segment = NULL;
	CLEANUP(cleanup_free) void *bytes = NULL;
	char version[BOOT_VERSION_MAX];
	struct boot_map *map = NULL;
	struct why *w = &opener->note[place];
	size_t len = 0;
	int res;

	if (!address)
		return;
	res = load(open, address, &bytes, &len, w);
	if (res == -ENOENT)
		w->text[0] = 0; /* no news */
	if (res < 0)
		return;
	if (map_fmt_decode(bytes, len, &map, w) < 0) {
		(void)why_in(w, 0, "%s", address);
		return;
	}
	opener->map[place] = map;
	if (image->no_prefetch)
		return;
	segment = sibling(base, map->segment_id);
	if (segment)
		(void)open(image->cache->loop, segment, version,
			   &opener->segment[place], w);
}

static void on_work(struct work *work)
{
	struct opener *opener = container_of(work, struct opener, work);
	struct image *image = opener->image;
	CLEANUP(cleanup_free) char *own = NULL;

	opener->res = image->cache->open(image->cache->loop, image->address,
					 opener->identity.version,
					 &opener->store, &opener->why);
	if (opener->res < 0 || (image->no_record && image->no_prefetch))
		return;
	load_map(opener, BESIDE, image->address);
	if (image->boot_dir &&
	    asprintf(&own, "%s/%s", image->boot_dir, image->name) >= 0)
		load_map(opener, OWN_DIR, own);
}

static void opener_free(struct opener *opener)
{
	for (int i = 0; i < PLACES; i++) {
		boot_map_free(opener->map[i]);
		blk_free(opener->segment[i]);
	}
	blk_free(opener->store);
	free(opener->bytes);
	free(opener);
}

/* A store without versions is known by size and fingerprint alone. */
static bool is_same(const struct boot_identity *a,
		    const struct boot_identity *b)
{
	return a->size == b->size && a->fingerprint == b->fingerprint &&
	       (!*a->version || !*b->version ||
		!strcmp(a->version, b->version));
}

/* Take the newest map that speaks of this image, and tell of the others. */
static struct blk *choose_map(struct opener *opener)
{
	struct image *image = opener->image;
	int best = -1;

	for (int i = 0; i < PLACES; i++) {
		struct boot_map *map = opener->map[i];

		if (map && !is_same(&map->identity, &opener->identity))
			(void)why(
				&opener->note[i], 0,
				"boot map is of another version of the image");
		else if (map && (best < 0 ||
				 map->created_s > opener->map[best]->created_s))
			best = i;
	}
	/* A map whose segment cannot be had is of no use. */
	if (best >= 0 && !opener->segment[best] && !image->no_prefetch)
		best = -1;
	for (int i = 0; i < PLACES; i++)
		if (*opener->note[i].text && best < 0)
			log_warning(image->name,
				    "%s: not used; this boot records it anew",
				    opener->note[i].text);
	boot_map_free(image->map);
	image->map = best < 0 ? NULL : take_ptr(&opener->map[best]);
	return best < 0 ? NULL : take_ptr(&opener->segment[best]);
}

static int make_index(struct image *image)
{
	uint64_t nblocks = div_up(image->store->size, SLOT_BYTES);

	if (image->index)
		return 0;
	/* Pages are numbered in 32 bits. */
	if (nblocks > UINT32_MAX / SLOT_PAGES)
		return -EFBIG;
	/* Large and cleared: the kernel gives the pages that are used. */
	image->index = calloc(nblocks + 1, sizeof(*image->index));
	image->tier_index = calloc(nblocks + 1, sizeof(*image->tier_index));
	if (!image->index || !image->tier_index) {
		image_forget(image);
		return -ENOMEM;
	}
	image->nblocks = (uint32_t)nblocks;
	return 0;
}

/* The identity is known, if @res is 0; without one nothing old is used. */
static void identified(struct opener *opener, int res)
{
	struct image *image = opener->image;
	struct blk *segment = NULL;
	struct why w = {0};

	if (res < 0)
		log_warning(image->name,
			    "cannot read the image to identify it: %s",
			    strerror(-res));
	if (res < 0 || !is_same(&image->identity, &opener->identity))
		image_forget(image);
	image->store = take_ptr(&opener->store);
	if (!res) {
		image->identity = opener->identity;
		segment = choose_map(opener);
	}
	res = make_index(image);
	if (res < 0) {
		(void)why(&w, res, "%s", image->address);
		blk_free(segment);
		image->store = blk_free(image->store);
	} else {
		handle_init(&image->inner, image);
		pace_init(&image->pace, image->is_network);
		if (segment && prefetch_start(image, segment) < 0)
			blk_free(segment);
	}
	opener_free(opener);
	image_ready(image, res, &w);
}

static void fingerprint_done(struct blk_req *req, int res)
{
	struct opener *opener = req->owner;
	struct image *image = opener->image;
	uint64_t len = 0;

	if (res < 0)
		opener->res = res;
	if (--opener->nleft)
		return;
	for (uint32_t i = 0; i < FINGERPRINT_BLOCKS; i++)
		len += opener->req[i].len;
	opener->identity.fingerprint =
		fingerprint(opener->store->size, opener->bytes, len);
	image->stats.demand_bytes += len;
	identified(opener, opener->res);
}

static void identify(struct opener *opener)
{
	uint32_t blocks[FINGERPRINT_BLOCKS];
	uint32_t n = fingerprint_blocks(opener->store->size, blocks);

	opener->identity.size = opener->store->size;
	opener->bytes = malloc(FINGERPRINT_BLOCKS * (size_t)BOOT_BLOCK);
	if (!n || !opener->bytes) {
		opener->identity.fingerprint =
			fingerprint(opener->store->size, "", 0);
		identified(opener, opener->bytes ? 0 : -ENOMEM);
		return;
	}
	opener->nleft = n;
	opener->image->stats.demand_requests += n;
	for (uint32_t i = 0; i < n; i++) {
		opener->iov[i] = (struct iovec){
			.iov_base = opener->bytes + (size_t)i * BOOT_BLOCK,
			.iov_len = BOOT_BLOCK,
		};
		opener->req[i] = (struct blk_req){
			.op = BLK_READ,
			.offset = (uint64_t)blocks[i] * BOOT_BLOCK,
			.len = BOOT_BLOCK,
			.iov = &opener->iov[i],
			.niov = 1,
			.done = fingerprint_done,
			.owner = opener,
		};
	}
	/* The last one to end frees @opener. */
	for (uint32_t i = 0; i < n; i++)
		blk_submit(opener->store, &opener->req[i]);
}

static void on_work_done(struct work *work)
{
	struct opener *opener = container_of(work, struct opener, work);
	struct image *image = opener->image;

	if (!opener->res) {
		identify(opener);
		return;
	}
	image_ready(image, opener->res, &opener->why);
	opener_free(opener);
}

void image_open(struct image *image)
{
	struct opener *opener = calloc(1, sizeof(*opener));

	if (!opener) {
		image_ready(image, -ENOMEM, &(struct why){"out of memory"});
		return;
	}
	opener->image = image;
	opener->work.run = on_work;
	opener->work.done = on_work_done;
	work_start(image->cache->workers, &opener->work);
}
