/* SPDX-License-Identifier: Apache-2.0 */
/* bounce.c - buffers in one piece, for libraries that know no iovec */
#include "store/bounce.h"

#define SMALL_MAX 64u
#define LARGE_MAX 16u

void bounce_init(struct bounce *bounce)
{
	pool_init(&bounce->small, BOUNCE_SMALL, SMALL_MAX);
	pool_init(&bounce->large, BOUNCE_LARGE, LARGE_MAX);
}

void bounce_release(struct bounce *bounce)
{
	pool_release(&bounce->small);
	pool_release(&bounce->large);
}

static struct pool *pool_for(struct bounce *bounce, size_t len)
{
	return len <= BOUNCE_SMALL ? &bounce->small : &bounce->large;
}

void *bounce_take(struct bounce *bounce, size_t len, bool is_low)
{
	struct pool *pool = pool_for(bounce, len);

	if (is_low && pool->taken >= pool->limit - pool->limit / 4)
		return NULL;
	return pool_take(pool);
}

void bounce_give(struct bounce *bounce, void *buf, size_t len)
{
	pool_give(pool_for(bounce, len), buf);
}
