/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pool.h - objects of one size, kept for reuse: no malloc per request
 *
 * Grows a slab at a time up to a limit and keeps what it has until the end.
 * Not for use from two threads.
 */
#ifndef BASE_POOL_H
#define BASE_POOL_H

#include <stddef.h>

/**
 * struct pool - hold it by value, pool_init() it
 * @size:	bytes of an object
 * @limit:	most objects there may be
 * @count:	objects there are, taken and free
 * @taken:	objects that are out
 */
struct pool {
	size_t size;
	size_t limit;
	size_t count;
	size_t taken;
	void *free; /* linked through their first word */
	void *slabs; /* linked likewise */
};

/** pool_init() - of objects of @size bytes, at most @limit of them */
void pool_init(struct pool *pool, size_t size, size_t limit);

/** pool_release() - free the memory; asserts that nothing is taken */
void pool_release(struct pool *pool);

/**
 * pool_take() - an object, not cleared
 *
 * Return: NULL when the limit is reached or there is no memory.
 */
void *pool_take(struct pool *pool);

/** pool_give() - give back what pool_take() returned; NULL is fine */
void pool_give(struct pool *pool, void *object);

#endif
