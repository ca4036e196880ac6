/* SPDX-License-Identifier: Apache-2.0 */
/*
 * prefetch.h - streams an image's boot segment into the cache
 *
 * One stream per golden image, however many clones read it. It has a count in
 * image->users, and frees itself when all of the segment has come or been
 * given up; image->prefetch is NULL from then on.
 */
#ifndef CACHE_PREFETCH_H
#define CACHE_PREFETCH_H

#include <stdbool.h>
#include <stdint.h>

struct blk;
struct image;
struct prefetch;

/**
 * prefetch_start() - begin; image->prefetch is set, unless it is over at once
 * @image:	READY or about to be; image->map has a segment
 * @segment:	the segment file; owned from success on
 *
 * Return: 0 or -ENOMEM.
 */
int prefetch_start(struct image *image, struct blk *segment)
	__attribute__((warn_unused_result));

/** prefetch_stop() - nothing new is read; what is in flight still comes */
void prefetch_stop(struct prefetch *prefetch);

/**
 * prefetch_take() - a demand read finds @n pages from @page on absent
 *
 * If the segment has @page and its extent has not been read yet, the stream
 * jumps there; and if that costs the reader little, the extent is read now.
 *
 * Return: true: look again, @page is present or in flight now. False: read it
 * from the image.
 */
bool prefetch_take(struct prefetch *prefetch, uint32_t page, uint32_t n);

/** prefetch_in_flight() - bytes */
uint64_t prefetch_in_flight(const struct prefetch *prefetch);

#endif
