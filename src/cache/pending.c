/* SPDX-License-Identifier: Apache-2.0 */
/* pending.c - a hash table that closes its gaps when an entry leaves */
#include "cache/pending.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#define ENTRIES_MIN 1024u

static uint32_t home(const struct pending *pending, const void *owner,
		     uint32_t page)
{
	uint64_t h = ((uintptr_t)owner >> 4) * 31 + page;

	h *= 0x9e3779b97f4a7c15ull;
	return (uint32_t)(h >> 32) & pending->mask;
}

void pending_release(struct pending *pending)
{
	assert(!pending->used);
	free(pending->entry);
	*pending = (struct pending){0};
}

int pending_reserve(struct pending *pending, uint32_t n)
{
	struct pending wider = {0};
	uint64_t want = ENTRIES_MIN;

	/* At most half full, so that probing stays short. */
	if (pending->entry &&
	    2ull * (pending->used + n) <= (uint64_t)pending->mask + 1)
		return 0;
	while (want < 2ull * (pending->used + n))
		want *= 2;
	if (want > UINT32_MAX)
		return -ENOMEM;
	wider.entry = calloc(want, sizeof(*wider.entry));
	if (!wider.entry)
		return -ENOMEM;
	wider.mask = (uint32_t)want - 1;
	for (uint64_t i = 0; pending->entry && i <= pending->mask; i++)
		if (pending->entry[i].owner)
			pending_add(&wider, pending->entry[i].owner,
				    pending->entry[i].page,
				    pending->entry[i].fetch);
	free(pending->entry);
	*pending = wider;
	return 0;
}

/* The entry of @page, or the empty one where it would go. */
static uint32_t probe(const struct pending *pending, const void *owner,
		      uint32_t page)
{
	uint32_t i = home(pending, owner, page);

	while (pending->entry[i].owner && (pending->entry[i].owner != owner ||
					   pending->entry[i].page != page))
		i = (i + 1) & pending->mask;
	return i;
}

struct fetch *pending_find(const struct pending *pending, const void *owner,
			   uint32_t page)
{
	if (!pending->used)
		return NULL;
	return pending->entry[probe(pending, owner, page)].fetch;
}

void pending_add(struct pending *pending, const void *owner, uint32_t page,
		 struct fetch *fetch)
{
	uint32_t i = probe(pending, owner, page);

	assert(!pending->entry[i].owner);
	pending->entry[i] = (struct pending_entry){
		.owner = owner,
		.page = page,
		.fetch = fetch,
	};
	pending->used++;
}

bool pending_del(struct pending *pending, const void *owner, uint32_t page,
		 const struct fetch *fetch)
{
	uint32_t gap, i;

	if (!pending->used)
		return false;
	gap = probe(pending, owner, page);
	if (pending->entry[gap].fetch != fetch)
		return false;

	/* Whoever was pushed past the gap by it moves back into it. */
	for (i = (gap + 1) & pending->mask; pending->entry[i].owner;
	     i = (i + 1) & pending->mask) {
		uint32_t h = home(pending, pending->entry[i].owner,
				  pending->entry[i].page);

		if (((i - h) & pending->mask) >= ((i - gap) & pending->mask)) {
			pending->entry[gap] = pending->entry[i];
			gap = i;
		}
	}
	pending->entry[gap] = (struct pending_entry){0};
	pending->used--;
	return true;
}
