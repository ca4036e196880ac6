/* SPDX-License-Identifier: Apache-2.0 */
/* pace_test.c - the window finds the store's width, and gives way to demand */
#undef NDEBUG
#include <assert.h>
#include <stdlib.h>

#include "base/array.h"
#include "base/clock.h"
#include "boot/pace.h"

/*
 * A store that answers after @latency_ns, and sends one byte after another at
 * @bytes_per_s; the stream keeps the window full.
 */
struct link {
	uint64_t latency_ns, bytes_per_s;
	uint64_t free_ns; /* when the wire is free */
	uint64_t now_ns;
	uint64_t in_flight;
	uint64_t came; /* extents */
	uint64_t most; /* largest window seen */
	struct {
		uint64_t asked_ns, comes_ns;
	} ring[256]; /* in flight, in the order in which they come */
	unsigned head, tail;
};

static uint64_t send(struct link *link, uint64_t len)
{
	uint64_t from = max_u64(link->free_ns, link->now_ns + link->latency_ns);

	link->free_ns = from + len * NS_PER_S / link->bytes_per_s;
	return link->free_ns;
}

/* Ask for all that may go, take the next extent that comes. */
static void step(struct link *link, struct pace *pace)
{
	uint64_t comes;

	while (pace_may(pace, link->in_flight, MIB)) {
		assert(!link->in_flight ||
		       link->in_flight + MIB <= pace->window);
		link->ring[link->tail % 256].asked_ns = link->now_ns;
		link->ring[link->tail++ % 256].comes_ns = send(link, MIB);
		link->in_flight += MIB;
	}
	assert(link->in_flight); /* else it never ends */
	comes = link->ring[link->head % 256].comes_ns;
	link->now_ns = max_u64(link->now_ns, comes);
	pace_prefetched(pace, MIB,
			comes - link->ring[link->head % 256].asked_ns,
			link->now_ns);
	link->head++;
	link->in_flight -= MIB;
	link->came++;
	assert(pace->window >= pace->window_min);
	assert(pace->window <= pace->window_max);
	link->most = max_u64(link->most, pace->window);
}

/* Run for @n extents. Return: bytes per second over all of them. */
static uint64_t run(struct link *link, struct pace *pace, uint64_t n)
{
	uint64_t start = link->now_ns;

	for (uint64_t i = 0; i < n; i++)
		step(link, pace);
	return n * MIB * NS_PER_S / (link->now_ns - start);
}

static struct link link_of(uint64_t latency_ms, uint64_t mib_per_s)
{
	return (struct link){.latency_ns = latency_ms * NS_PER_MS,
			     .bytes_per_s = mib_per_s * MIB,
			     .now_ns = 5 * NS_PER_S};
}

static void always_lets_one_out(void)
{
	struct pace pace;

	pace_init(&pace, false);
	assert(pace_may(&pace, 0, 1 * GIB));
	assert(pace_may(&pace, 3 * MIB, 1 * MIB));
	assert(!pace_may(&pace, 3 * MIB, 1 * MIB + 1));
	assert(!pace_may(&pace, UINT64_MAX, 1));
	assert(!pace_may(&pace, 1, UINT64_MAX));
}

static void fills_a_long_fat_link(void)
{
	struct link link = link_of(20, 1000);
	struct pace pace;

	/* Needs 20 MiB in flight to be full. */
	pace_init(&pace, true);
	(void)run(&link, &pace, 64);
	assert(run(&link, &pace, 256) > 800 * MIB);
	assert(pace.bytes_per_s > 700 * MIB && pace.bytes_per_s < 1200 * MIB);
}

static void stays_small_where_wider_brings_nothing(void)
{
	struct link link = link_of(1, 1000);
	struct pace pace;

	pace_init(&pace, true);
	assert(run(&link, &pace, 512) > 900 * MIB);
	assert(pace.window <= 17 * MIB); /* a step may be on trial */
}

static void keeps_the_queue_of_a_slow_link_short(void)
{
	struct link link = link_of(5, 25); /* 200 Mbit/s */
	struct pace pace;

	pace_init(&pace, true);
	assert(run(&link, &pace, 100) > 24 * MIB);
	/* An extent takes 40 ms there: a reader waits for a few at most. */
	assert(link.most <= 8 * MIB && pace.window <= 4 * MIB);
	assert(pace.bytes_per_s > 20 * MIB && pace.bytes_per_s < 30 * MIB);
	/* Rather alone, in 5 ms, than with 1 MiB in 45. */
	for (int i = 0; i < 10; i++)
		pace_demand(&pace, 5 * NS_PER_MS, 0, link.now_ns);
	assert(!pace_prefers_extent(&pace, 4096, MIB));
	assert(pace_prefers_extent(&pace, 4096, 64 * KIB));
}

static void a_store_far_away_is_not_taken_for_a_queue(void)
{
	struct link link = link_of(200, 1000);
	struct pace pace;

	/* Without a single demand read to tell the latency. */
	pace_init(&pace, true);
	(void)run(&link, &pace, 300);
	assert(pace.window == pace.window_max);
	assert(run(&link, &pace, 300) > 140 * MIB);
}

static void gives_way_when_readers_wait(void)
{
	struct link link = link_of(10, 1000);
	struct pace pace;
	uint64_t now = NS_PER_S, was;

	pace_init(&pace, false);
	for (int i = 0; i < 20; i++)
		pace_demand(&pace, 1 * NS_PER_MS, 0, now += NS_PER_MS);
	assert(pace.latency_ns == 1 * NS_PER_MS);
	was = pace.window;
	/* A little slower is fine. */
	for (int i = 0; i < 100; i++)
		pace_demand(&pace, 14 * NS_PER_MS / 10, was, now += NS_PER_MS);
	assert(pace.window == was);
	/* Slower than 1.5 times is not: halved, not all at once. */
	for (int i = 0; i < 20; i++)
		pace_demand(&pace, 4 * NS_PER_MS, was, now += NS_PER_MS);
	assert(pace.window == was / 2);
	for (int i = 0; i < 500; i++)
		pace_demand(&pace, 4 * NS_PER_MS, was, now += NS_PER_MS);
	assert(pace.window == pace.window_min);
	pace.window = 3 * MIB; /* of which no half of a half is the least */
	for (int i = 0; i < 500; i++)
		pace_demand(&pace, 4 * NS_PER_MS, was, now += NS_PER_MS);
	assert(pace.window == pace.window_min);
	/* Never to nothing; and it comes back where that brings more. */
	link.now_ns = now;
	for (int i = 0; i < 600; i++) {
		pace_demand(&pace, 1 * NS_PER_MS, MIB, link.now_ns);
		step(&link, &pace);
	}
	assert(pace.window >= 8 * MIB);
}

static void gives_way_without_knowing_an_idle_store(void)
{
	struct pace pace;
	uint64_t now = NS_PER_S;

	pace_init(&pace, true);
	pace_demand(&pace, 5 * NS_PER_MS, MIB, now);
	for (int i = 0; i < 100; i++)
		pace_demand(&pace, 60 * NS_PER_MS, 4 * MIB,
			    now += 60 * NS_PER_MS);
	assert(pace.window == pace.window_min);
	assert(pace.latency_ns == 5 * NS_PER_MS);
}

static void prefers_the_extent_of_a_quick_store(void)
{
	struct link link = link_of(5, 1000);
	struct pace pace;

	pace_init(&pace, true);
	assert(pace_prefers_extent(&pace, 4096, MIB)); /* nothing is known */
	(void)run(&link, &pace, 30);
	for (int i = 0; i < 10; i++)
		pace_demand(&pace, 5 * NS_PER_MS, 0, link.now_ns);
	assert(pace_prefers_extent(&pace, 4096, MIB));
	assert(pace_prefers_extent(&pace, 2 * MIB, MIB));
}

static void is_useless_after_10000_reads_without_a_hit(void)
{
	struct pace pace;

	pace_init(&pace, true);
	for (int i = 0; i < 9999; i++)
		pace_used(&pace, false);
	assert(!pace_is_useless(&pace));
	pace_used(&pace, true);
	for (int i = 0; i < 9999; i++)
		pace_used(&pace, false);
	assert(!pace_is_useless(&pace));
	pace_used(&pace, false);
	assert(pace_is_useless(&pace));
}

int main(void)
{
	always_lets_one_out();
	fills_a_long_fat_link();
	stays_small_where_wider_brings_nothing();
	keeps_the_queue_of_a_slow_link_short();
	a_store_far_away_is_not_taken_for_a_queue();
	gives_way_when_readers_wait();
	gives_way_without_knowing_an_idle_store();
	prefers_the_extent_of_a_quick_store();
	is_useless_after_10000_reads_without_a_hit();
	return 0;
}
