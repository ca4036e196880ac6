/* SPDX-License-Identifier: Apache-2.0 */
/* pool.c - slabs of objects, the free ones linked through their first word */
#include "base/pool.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"

#define SLAB_OBJECTS 64u
#define SLAB_HEAD    64u /* the link to the next slab, and alignment */

void pool_init(struct pool *pool, size_t size, size_t limit)
{
	assert(size);
	*pool = (struct pool){
		.size = round_up(size, sizeof(void *) * 2),
		.limit = limit,
	};
}

void pool_release(struct pool *pool)
{
	void *next;

	assert(pool->taken == 0);
	for (void *slab = pool->slabs; slab; slab = next) {
		memcpy(&next, slab, sizeof(next));
		free(slab);
	}
	pool_init(pool, pool->size, pool->limit);
}

static void grow(struct pool *pool)
{
	size_t n = min_u64(SLAB_OBJECTS, pool->limit - pool->count);
	char *slab = n ? malloc(SLAB_HEAD + n * pool->size) : NULL;

	if (!slab)
		return;
	memcpy(slab, &pool->slabs, sizeof(pool->slabs));
	pool->slabs = slab;
	for (size_t i = 0; i < n; i++) {
		char *object = slab + SLAB_HEAD + i * pool->size;

		memcpy(object, &pool->free, sizeof(pool->free));
		pool->free = object;
	}
	pool->count += n;
}

void *pool_take(struct pool *pool)
{
	void *object;

	if (!pool->free)
		grow(pool);
	object = pool->free;
	if (!object)
		return NULL;
	memcpy(&pool->free, object, sizeof(pool->free));
	pool->taken++;
	return object;
}

void pool_give(struct pool *pool, void *object)
{
	if (!object)
		return;
	assert(pool->taken > 0);
	memcpy(object, &pool->free, sizeof(pool->free));
	pool->free = object;
	pool->taken--;
}
