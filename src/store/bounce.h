/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bounce.h - buffers in one piece, for libraries that know no iovec
 *
 * Two sizes, a fixed number of each; memory is taken when it is first needed.
 */
#ifndef STORE_BOUNCE_H
#define STORE_BOUNCE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/array.h"
#include "base/pool.h"

#define BOUNCE_SMALL (64 * KIB)
#define BOUNCE_LARGE (1 * MIB)

struct bounce {
	struct pool small, large;
};

void bounce_init(struct bounce *bounce);
void bounce_release(struct bounce *bounce);

/**
 * bounce_take() - a buffer for @len bytes, at most BOUNCE_LARGE
 * @is_low:	a quarter of them is not for this one
 *
 * Return: NULL if all are out.
 */
void *bounce_take(struct bounce *bounce, size_t len, bool is_low);

/** bounce_give() - @len as it was taken; @buf may be NULL */
void bounce_give(struct bounce *bounce, void *buf, size_t len);

#endif
