/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pending.h - which pages are on their way from a store, and with which fetch
 *
 * A hash table (open addressing, linear probing) keyed by owner and page. It
 * is small: only what is in flight is in it.
 */
#ifndef CACHE_PENDING_H
#define CACHE_PENDING_H

#include <stdbool.h>
#include <stdint.h>

struct fetch;

struct pending_entry {
	const void *owner; /* NULL: empty */
	uint32_t page;
	struct fetch *fetch;
};

/** struct pending - hold it by value; start as {0} */
struct pending {
	struct pending_entry *entry;
	uint32_t mask; /* number of entries - 1 */
	uint32_t used;
};

void pending_release(struct pending *pending);

/**
 * pending_reserve() - make sure that @n more pages fit
 *
 * Return: 0 or -ENOMEM; after 0 the next @n pending_add() cannot fail.
 */
int pending_reserve(struct pending *pending, uint32_t n)
	__attribute__((warn_unused_result));

/** pending_find() - the fetch that brings @page, or NULL */
struct fetch *pending_find(const struct pending *pending, const void *owner,
			   uint32_t page);

/** pending_add() - @page, which is not in it, comes with @fetch */
void pending_add(struct pending *pending, const void *owner, uint32_t page,
		 struct fetch *fetch);

/** pending_del() - if @page is in it with @fetch. Return: whether it was. */
bool pending_del(struct pending *pending, const void *owner, uint32_t page,
		 const struct fetch *fetch);

#endif
