/* SPDX-License-Identifier: Apache-2.0 */
/*
 * qcow2_bits.h - the bitmaps of an overlay, and which of them the file lacks
 *
 * A cluster's bitmap is changed here when the data that it speaks of is in the
 * file. A changed cluster takes a slot, until its bitmap is on the medium:
 *
 *	clean	-- bits_set() -->	dirty
 *	dirty	-- bits_begin() -->	writing		(its bitmap is noted)
 *	writing -- bits_end() -->	clean, or dirty if changed meanwhile
 *
 * Between bits_begin() and bits_end() the data is flushed, then the pages of
 * the L2 tables that bits_page() gives are written, then they are flushed. A
 * page holds the bitmaps noted at bits_begin(), and of the clusters that
 * changed later what the file had before: so never a bit ahead of its data.
 *
 * Slots are mirrored in PATH.dirty (qcow2_side.h), if there is one.
 */
#ifndef STORE_QCOW2_BITS_H
#define STORE_QCOW2_BITS_H

#include <stdbool.h>
#include <stdint.h>

#include "store/qcow2_side.h"

#define BITS_PAGE 4096u /* of an L2 table: what is written at a time */

struct bits_slot {
	uint64_t cluster;
	uint64_t in_file; /* bitmap that the file has, or had for sure */
	uint64_t noted; /* writing: the bitmap at bits_begin() */
	bool is_writing;
};

/**
 * struct bits - hold it by value
 * @of:		each cluster's bitmap, as all who read see it; borrowed
 * @slot_of:	each cluster's slot + 1, or 0
 * @fresh:	slots from here on were never used
 * @dirty:	slots that the next bits_begin() takes
 * @writing:	slots that it has taken, in order of their clusters
 */
struct bits {
	uint64_t *of;
	uint64_t nclusters;
	uint16_t *slot_of;
	struct bits_slot *slots;
	struct qcow2_side_slot *side; /* NULL: there is none; borrowed */
	uint16_t *free, *dirty, *writing;
	unsigned nfree, fresh, ndirty, nwriting;
};

/** bits_init() - all clean. Return: 0; -ENOMEM. */
int bits_init(struct bits *bits, uint64_t *of, uint64_t nclusters,
	      struct qcow2_side_slot *side) __attribute__((warn_unused_result));

/** bits_release() - fine on a {0}; what is dirty is forgotten */
void bits_release(struct bits *bits);

/**
 * bits_set() - change a cluster's bitmap
 *
 * Return: false if it needs a slot and none is free: nothing has changed.
 */
bool bits_set(struct bits *bits, uint64_t cluster, uint64_t value);

/** bits_is_dirty() - whether the file lacks @cluster's newest bitmap */
static inline bool bits_is_dirty(const struct bits *bits, uint64_t cluster)
{
	return bits->slot_of[cluster];
}

/** bits_slots_left() - how many more clusters can become dirty */
static inline unsigned bits_slots_left(const struct bits *bits)
{
	return bits->nfree + QCOW2_SIDE_SLOTS - bits->fresh;
}

/** bits_begin() - take all that is dirty; false if nothing is */
bool bits_begin(struct bits *bits);

/**
 * bits_page() - the next page to write
 * @at:		start it with 0; moves on
 * @page:	filled
 * @offset:	where in the file
 *
 * Return: false: no more.
 */
bool bits_page(const struct bits *bits, unsigned *at,
	       uint8_t page[static BITS_PAGE], uint64_t *offset);

/**
 * bits_end() - the end of what bits_begin() began
 * @is_data_synced: the data was flushed, so the pages may be in the file
 * @is_done:	all pages are on the medium; otherwise all stays dirty
 */
void bits_end(struct bits *bits, bool is_data_synced, bool is_done);

#endif
