/* SPDX-License-Identifier: Apache-2.0 */
/* array.h - sizes, the struct around a member, rounding */
#ifndef BASE_ARRAY_H
#define BASE_ARRAY_H

#include <stddef.h>
#include <stdint.h>

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

/* The struct of @type whose @member is at @ptr. */
#define container_of(ptr, type, member)                                        \
	((type *)(void *)((char *)(ptr)-offsetof(type, member)))

#define KIB (1024ull)
#define MIB (1024ull * KIB)
#define GIB (1024ull * MIB)

static inline uint64_t min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static inline uint64_t max_u64(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

/** div_up() - @a / @b rounded up; cannot wrap */
static inline uint64_t div_up(uint64_t a, uint64_t b)
{
	return a / b + (a % b != 0);
}

/** round_down() - to a multiple of @b, a power of two */
static inline uint64_t round_down(uint64_t a, uint64_t b)
{
	return a & ~(b - 1);
}

/** round_up() - likewise; the caller knows that it does not wrap */
static inline uint64_t round_up(uint64_t a, uint64_t b)
{
	return (a + b - 1) & ~(b - 1);
}

#endif
