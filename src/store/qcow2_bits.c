/* SPDX-License-Identifier: Apache-2.0 */
/* qcow2_bits.c - bitmaps in memory, and slots for those the file lacks */
#include "store/qcow2_bits.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "wire/qcow2_fmt.h"

#define PAGE_ENTRIES (BITS_PAGE / QCOW2_ENTRY)

static_assert(QCOW2_SIDE_SLOTS < UINT16_MAX, "a slot + 1 fits");
static_assert(QCOW2_CHUNK_CLUSTERS % PAGE_ENTRIES == 0, "whole pages");

int bits_init(struct bits *bits, uint64_t *of, uint64_t nclusters,
	      struct qcow2_side_slot *side)
{
	size_t size = sizeof(uint16_t);

	*bits = (struct bits){
		.of = of,
		.nclusters = nclusters,
		.side = side,
		.slot_of = calloc(nclusters, size),
		.slots = calloc(QCOW2_SIDE_SLOTS, sizeof(*bits->slots)),
		.free = calloc(QCOW2_SIDE_SLOTS, size),
		.dirty = calloc(QCOW2_SIDE_SLOTS, size),
		.writing = calloc(QCOW2_SIDE_SLOTS, size),
	};
	if (bits->slot_of && bits->slots && bits->free && bits->dirty &&
	    bits->writing)
		return 0;
	bits_release(bits);
	return -ENOMEM;
}

void bits_release(struct bits *bits)
{
	free(bits->slot_of);
	free(bits->slots);
	free(bits->free);
	free(bits->dirty);
	free(bits->writing);
	*bits = (struct bits){0};
}

/* The last one freed first, so that few pages of slots are ever touched. */
static bool take_slot(struct bits *bits, uint16_t *ret)
{
	if (bits->nfree)
		*ret = bits->free[--bits->nfree];
	else if (bits->fresh < QCOW2_SIDE_SLOTS)
		*ret = (uint16_t)bits->fresh++;
	else
		return false;
	return true;
}

bool bits_set(struct bits *bits, uint64_t cluster, uint64_t value)
{
	uint16_t slot;

	assert(cluster < bits->nclusters && qcow2_is_bitmap(value));
	if (bits->of[cluster] == value)
		return true;
	if (bits->slot_of[cluster]) {
		slot = (uint16_t)(bits->slot_of[cluster] - 1);
		if (bits->side)
			qcow2_side_update(&bits->side[slot], value);
	} else {
		if (!take_slot(bits, &slot))
			return false;
		bits->slots[slot] = (struct bits_slot){
			.cluster = cluster,
			.in_file = bits->of[cluster],
		};
		bits->slot_of[cluster] = (uint16_t)(slot + 1);
		bits->dirty[bits->ndirty++] = slot;
		if (bits->side)
			qcow2_side_take(&bits->side[slot], cluster, value);
	}
	bits->of[cluster] = value;
	return true;
}

static int by_cluster(const void *a, const void *b, void *arg)
{
	const struct bits_slot *slots = arg;
	uint64_t x = slots[*(const uint16_t *)a].cluster;
	uint64_t y = slots[*(const uint16_t *)b].cluster;

	return (x > y) - (x < y);
}

bool bits_begin(struct bits *bits)
{
	uint16_t *slots = bits->writing;

	assert(!bits->nwriting);
	if (!bits->ndirty)
		return false;
	bits->writing = bits->dirty;
	bits->nwriting = bits->ndirty;
	bits->dirty = slots;
	bits->ndirty = 0;
	for (unsigned i = 0; i < bits->nwriting; i++) {
		struct bits_slot *slot = &bits->slots[bits->writing[i]];

		slot->noted = bits->of[slot->cluster];
		slot->is_writing = true;
	}
	qsort_r(bits->writing, bits->nwriting, sizeof(*bits->writing),
		by_cluster, bits->slots);
	return true;
}

/* What the page has of @cluster: see the header. */
static uint64_t for_file(const struct bits *bits, uint64_t cluster)
{
	const struct bits_slot *slot;

	if (!bits->slot_of[cluster])
		return bits->of[cluster];
	slot = &bits->slots[bits->slot_of[cluster] - 1];
	return slot->is_writing ? slot->noted : slot->in_file;
}

bool bits_page(const struct bits *bits, unsigned *at,
	       uint8_t page[static BITS_PAGE], uint64_t *offset)
{
	uint64_t first;

	if (*at == bits->nwriting)
		return false;
	first = bits->slots[bits->writing[*at]].cluster;
	first = round_down(first, PAGE_ENTRIES);
	for (unsigned i = 0; i < PAGE_ENTRIES; i++)
		qcow2_entry_encode(first + i, for_file(bits, first + i),
				   page + (size_t)i * QCOW2_ENTRY);
	while (*at < bits->nwriting &&
	       bits->slots[bits->writing[*at]].cluster < first + PAGE_ENTRIES)
		++*at;
	*offset = qcow2_entry_at(first);
	return true;
}

void bits_end(struct bits *bits, bool is_data_synced, bool is_done)
{
	for (unsigned i = 0; i < bits->nwriting; i++) {
		uint16_t n = bits->writing[i];
		struct bits_slot *slot = &bits->slots[n];

		slot->is_writing = false;
		/* If it failed, the file has the one or the other; but with
		 * the data on the medium, the new one does no harm. */
		if (is_data_synced)
			slot->in_file = slot->noted;
		if (!is_done || bits->of[slot->cluster] != slot->noted) {
			bits->dirty[bits->ndirty++] = n;
			continue;
		}
		bits->slot_of[slot->cluster] = 0;
		if (bits->side)
			qcow2_side_free(&bits->side[n]);
		bits->free[bits->nfree++] = n;
	}
	bits->nwriting = 0;
}
