/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pace.h - how much prefetch may be in flight, so that nobody waits for it
 *
 * The bytes in flight are capped by a window. It grows with the extents that
 * come while growing raises the throughput, and halves (at most once per
 * window's worth of time) when the 95th percentile of demand reads rises over
 * 1.5 times what it was without prefetch (AIMD, as TCP's), or when it holds
 * more than the store can send in the time that a demand read may be kept
 * waiting. It also keeps what the store is seen to give, latency and bandwidth,
 * so that a demand read of a block whose extent is not on its way yet can
 * choose: wait for its whole extent, or be read alone.
 *
 * Pure arithmetic on the times it is given. Values, no pointers: hold it by
 * value.
 */
#ifndef BOOT_PACE_H
#define BOOT_PACE_H

#include <stdbool.h>
#include <stdint.h>

#define PACE_SAMPLES 64u /* demand latencies that a percentile is taken of */

struct pace {
	uint64_t window; /* bytes that may be in flight */
	uint64_t window_min, window_max;
	uint64_t halved_ns; /* when the window was last halved */
	/* What the store gives. */
	uint64_t latency_ns; /* of a small read, smoothed; 0: not known yet */
	uint64_t bytes_per_s; /* of the stream, smoothed; 0: not known yet */
	uint64_t best_extent_ns; /* the quickest extent; 0: none came yet */
	uint32_t best_us; /* the quickest demand read; 0: none yet */
	/* The throughput being measured. */
	uint64_t span_start_ns, span_bytes;
	uint64_t came_ns; /* when the last extent came */
	uint64_t span_window; /* the window when the span began */
	uint64_t span_rate; /* bytes per second of the span before */
	uint32_t tried; /* spans since a step was made; 0: none is on trial */
	uint32_t rest; /* spans for which the window does not grow */
	bool is_starting; /* it doubles per span, until that brings nothing */
	/* Demand latencies: without prefetch in flight, and with. */
	uint32_t idle[PACE_SAMPLES], busy[PACE_SAMPLES]; /* microseconds */
	uint32_t nidle, nbusy; /* samples ever taken */
	/* Usefulness. */
	uint64_t reads_since_hit; /* demand reads since one hit prefetched */
};

/**
 * pace_init() - @is_network: a store across a network may have more in flight
 *
 * Both start at 4 MiB: a network's width is found within a few round trips,
 * and until then nobody waits behind more than is known to be harmless.
 */
void pace_init(struct pace *pace, bool is_network);

/**
 * pace_may() - may a read of @len bytes go out
 * @in_flight:	bytes of prefetch in flight
 *
 * With nothing in flight, always.
 */
bool pace_may(const struct pace *pace, uint64_t in_flight, uint64_t len);

/**
 * pace_demand() - a demand read of the store ended
 * @latency_ns:	how long it took there
 * @in_flight:	bytes of prefetch in flight when it ended
 */
void pace_demand(struct pace *pace, uint64_t latency_ns, uint64_t in_flight,
		 uint64_t now_ns);

/** pace_prefetched() - an extent of @len bytes came, after @latency_ns */
void pace_prefetched(struct pace *pace, uint64_t len, uint64_t latency_ns,
		     uint64_t now_ns);

/**
 * pace_prefers_extent() - a demand read of a block whose extent waits
 * @demand_len:	bytes that are wanted now
 * @extent_len:	bytes of the whole extent in the segment
 *
 * Return: true: read the extent at once and wait for it, which costs the
 * reader little more than its own read; false: read the wanted bytes alone.
 */
bool pace_prefers_extent(const struct pace *pace, uint64_t demand_len,
			 uint64_t extent_len);

/** pace_used() - a demand read was answered; @is_hit: by a prefetched block */
void pace_used(struct pace *pace, bool is_hit);

/** pace_is_useless() - 10,000 reads and no hit: prefetch should stop */
bool pace_is_useless(const struct pace *pace);

#endif
