/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pace.c - how much prefetch may be in flight, so that nobody waits for it
 *
 * The throughput is measured over spans. At first a span is a window's worth of
 * bytes, and the window doubles per span, until that brings next to nothing.
 * Later it is two windows' worth, since a window comes in a burst per round
 * trip. The window rests for some spans, then a step is tried: the span in
 * which it is made does not count, the one after tells whether it brought more
 * bytes per second. If not, the step is taken back.
 *
 * Two things make it smaller, at most once per the time that its bytes take:
 * demand reads that take longer than without prefetch, and a queue (the window
 * divided by the throughput) so long that the next demand read would wait
 * behind it on a first-come link.
 */
#include "boot/pace.h"

#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/clock.h"

#define WINDOW_START (4 * MIB)
#define LOCAL_MAX    (16 * MIB)
#define NETWORK_MAX  (32 * MIB)
#define WINDOW_MIN   (1 * MIB)
/* No queue is too long below this: one extent comes while one is asked for. */
#define QUEUE_LEAST (2 * MIB)

#define IDLE_LEAST 8u /* samples that make a percentile worth something */
#define BUSY_LEAST 8u
#define QUEUE_NS   (50 * NS_PER_MS) /* beside twice the store's latency */
#define STEP	   (1 * MIB)
#define REST_SPANS 2u
#define USELESS	   10000u /* reads without a hit: BootCache's number */

void pace_init(struct pace *pace, bool is_network)
{
	*pace = (struct pace){
		.window = WINDOW_START,
		.span_window = WINDOW_START,
		.window_min = WINDOW_MIN,
		.window_max = is_network ? NETWORK_MAX : LOCAL_MAX,
		.is_starting = true,
	};
}

bool pace_may(const struct pace *pace, uint64_t in_flight, uint64_t len)
{
	if (!in_flight)
		return true;
	return in_flight < pace->window && len <= pace->window - in_flight;
}

static uint64_t smooth(uint64_t old, uint64_t sample)
{
	return old ? old - old / 4 + sample / 4 : sample;
}

static int compare_us(const void *a, const void *b)
{
	const uint32_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

/* The 95th percentile, in microseconds, of the last samples of @taken. */
static uint32_t p95(const uint32_t samples[static PACE_SAMPLES], uint32_t taken)
{
	uint32_t sorted[PACE_SAMPLES];
	uint32_t n = taken < PACE_SAMPLES ? taken : PACE_SAMPLES;

	memcpy(sorted, samples, n * sizeof(sorted[0]));
	qsort(sorted, n, sizeof(sorted[0]), compare_us);
	return sorted[(n - 1) * 95 / 100];
}

/*
 * What a demand read may take with prefetch beside it, in microseconds; 0: no
 * telling yet. Where the stream ran from the first moment on there is nothing
 * to compare with but the best read seen.
 */
static uint64_t tolerable_us(const struct pace *pace)
{
	if (pace->nidle >= IDLE_LEAST)
		return 3ull * p95(pace->idle, pace->nidle) / 2;
	return 2ull * pace->best_us;
}

static void halve(struct pace *pace, uint64_t now_ns)
{
	pace->window = max_u64(pace->window / 2, pace->window_min);
	pace->span_window = pace->window;
	pace->halved_ns = now_ns;
	pace->is_starting = false;
	pace->tried = 0;
	pace->rest = REST_SPANS;
	pace->nbusy = 0; /* those were of the wider window */
}

/* Has the last halving had the time to be felt? */
static bool may_halve(const struct pace *pace, uint64_t now_ns)
{
	uint64_t span_ns = QUEUE_NS;

	if (pace->bytes_per_s)
		span_ns = max_u64(span_ns,
				  pace->window * NS_PER_S / pace->bytes_per_s);
	return pace->window > pace->window_min &&
	       (!pace->halved_ns || now_ns - pace->halved_ns >= span_ns);
}

void pace_demand(struct pace *pace, uint64_t latency_ns, uint64_t in_flight,
		 uint64_t now_ns)
{
	uint64_t us = min_u64(latency_ns / NS_PER_US, UINT32_MAX);
	uint64_t limit_us;

	us = max_u64(us, 1);
	if (!pace->best_us || us < pace->best_us)
		pace->best_us = (uint32_t)us;
	if (!in_flight) {
		pace->idle[pace->nidle++ % PACE_SAMPLES] = (uint32_t)us;
		pace->latency_ns = smooth(pace->latency_ns, latency_ns);
		return;
	}
	pace->busy[pace->nbusy++ % PACE_SAMPLES] = (uint32_t)us;
	/* A guess until the first read without company: the best so far. */
	if (!pace->nidle)
		pace->latency_ns = pace->best_us * NS_PER_US;
	limit_us = tolerable_us(pace);
	if (pace->nbusy >= BUSY_LEAST && may_halve(pace, now_ns) &&
	    p95(pace->busy, pace->nbusy) > limit_us)
		halve(pace, now_ns);
}

/*
 * Did the rate rise by at least a quarter of what the window rose by? Less is
 * the noise of the measure, and a longer queue for nothing.
 */
static bool was_worth_it(const struct pace *pace, uint64_t rate)
{
	double wider = (double)pace->window / (double)pace->span_window - 1;

	return (double)rate >= (double)pace->span_rate * (1 + wider / 4);
}

/* A span has ended, at @rate bytes per second. */
static void end_span(struct pace *pace, uint64_t rate)
{
	pace->bytes_per_s =
		pace->bytes_per_s ? (pace->bytes_per_s + rate) / 2 : rate;
	if (pace->rest) {
		pace->rest--;
	} else if (pace->is_starting) {
		if (pace->window > pace->span_window && pace->span_rate &&
		    !was_worth_it(pace, rate)) {
			pace->window = pace->span_window;
			pace->is_starting = false;
			pace->rest = REST_SPANS;
		}
	} else if (!pace->tried) {
		pace->tried = 1;
		pace->span_rate = rate;
		pace->span_window = pace->window;
		pace->window = min_u64(pace->window + STEP, pace->window_max);
		return; /* what it was before the step stays in span_ */
	} else if (pace->tried++ == 1) {
		return;
	} else {
		if (!was_worth_it(pace, rate))
			pace->window = pace->span_window;
		pace->tried = 0;
		pace->rest = REST_SPANS;
	}
	pace->span_window = pace->window;
	pace->span_rate = rate;
}

/* Is the window more than the store can send in the time that one may wait? */
static bool is_queue_long(const struct pace *pace)
{
	/* One slow span is a hiccup of the store; the smoothed lags behind. */
	uint64_t rate = max_u64(pace->span_rate, pace->bytes_per_s);
	uint64_t latency_ns =
		pace->latency_ns ? pace->latency_ns : pace->best_extent_ns;

	return rate && pace->window > QUEUE_LEAST &&
	       pace->window * NS_PER_S / rate > QUEUE_NS + 2 * latency_ns;
}

void pace_prefetched(struct pace *pace, uint64_t len, uint64_t latency_ns,
		     uint64_t now_ns)
{
	uint64_t asked_ns = now_ns - min_u64(latency_ns, now_ns);
	uint64_t span_ns, enough;

	/* Nothing was on its way before this one: the pause does not count. */
	if (asked_ns > pace->came_ns) {
		pace->span_start_ns = asked_ns;
		pace->span_bytes = 0;
	}
	pace->came_ns = now_ns;
	pace->span_bytes += len;
	if (!pace->best_extent_ns || latency_ns < pace->best_extent_ns)
		pace->best_extent_ns = latency_ns;
	if (pace->is_starting)
		pace->window = min_u64(pace->window + len, pace->window_max);
	span_ns = now_ns - pace->span_start_ns;
	enough = pace->is_starting ? pace->span_window : 2 * pace->window;
	if (pace->span_bytes < enough || !span_ns)
		return;
	end_span(pace, (uint64_t)((double)pace->span_bytes * (double)NS_PER_S /
				  (double)span_ns));
	pace->span_start_ns = now_ns;
	pace->span_bytes = 0;
	if (is_queue_long(pace) && may_halve(pace, now_ns))
		halve(pace, now_ns);
}

bool pace_prefers_extent(const struct pace *pace, uint64_t demand_len,
			 uint64_t extent_len)
{
	uint64_t more = extent_len > demand_len ? extent_len - demand_len : 0;

	if (!pace->latency_ns || !pace->bytes_per_s)
		return true;
	return more * NS_PER_S / pace->bytes_per_s <= pace->latency_ns;
}

void pace_used(struct pace *pace, bool is_hit)
{
	pace->reads_since_hit = is_hit ? 0 : pace->reads_since_hit + 1;
}

bool pace_is_useless(const struct pace *pace)
{
	return pace->reads_since_hit >= USELESS;
}
