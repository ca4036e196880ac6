/* SPDX-License-Identifier: Apache-2.0 */
/* recorder_test.c - what is noted, and when a boot is over */
#undef NDEBUG
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/clock.h"
#include "boot/map.h"
#include "boot/map_sample.h"
#include "boot/recorder.h"

#define START (1000 * NS_PER_S)

static struct recorder *begin(uint64_t size)
{
	struct recorder *r = NULL;

	assert(recorder_new(size, &recorder_default_limits, START, &r) == 0);
	return r;
}

/* Read @n blocks from block @first on, spread over a second; check after. */
static enum boot_end second(struct recorder *r, uint64_t *now, uint64_t first,
			    uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		recorder_read(r, (first + i) * BOOT_BLOCK, BOOT_BLOCK,
			      *now + i * NS_PER_S / n);
	*now += NS_PER_S;
	return recorder_check(r, *now);
}

static uint32_t count(const struct recorder *r)
{
	uint32_t n = 0;

	(void)recorder_touches(r, &n);
	return n;
}

static void notes_first_reads_in_order(void)
{
	struct recorder *r = begin(10 * MIB - 100);
	const struct recorder_touch *touches;
	uint32_t n = 0;

	/* The clock starts with the first read, 3 s after the opening. */
	recorder_read(r, 4096 + 512, 512, START + 3 * NS_PER_S);
	recorder_read(r, 4096, 8192, START + 4 * NS_PER_S);
	recorder_read(r, 0, 16384, START + 5 * NS_PER_S);
	recorder_read(r, 10 * MIB - 4096, 1 * MIB, START + 6 * NS_PER_S);
	recorder_read(r, 10 * MIB - 100, 4096, START + 6 * NS_PER_S);
	recorder_read(r, UINT64_MAX, UINT64_MAX, START + 6 * NS_PER_S);
	recorder_read(r, 4095, 0, START + 6 * NS_PER_S);
	touches = recorder_touches(r, &n);
	assert(n == 5);
	assert(touches[0].block == 1 && touches[0].at_ms == 0);
	assert(touches[1].block == 2 && touches[1].at_ms == 1000);
	assert(touches[2].block == 0 && touches[2].at_ms == 2000);
	assert(touches[3].block == 3 && touches[3].at_ms == 2000);
	assert(touches[4].block == 2559 && touches[4].at_ms == 3000);
	assert(!recorder_free(r));
}

/* Reads at random, of all lengths, against one byte per block. */
static void agrees_with_a_plain_table(uint64_t seed)
{
	static uint8_t noted[200000];
	const struct recorder_touch *touches;
	struct recorder *r = begin(sizeof(noted) * BOOT_BLOCK);
	uint32_t want = 0, n = 0;

	memset(noted, 0, sizeof(noted));
	for (int i = 0; i < 500; i++) {
		uint64_t offset = sample_random(&seed, sizeof(noted)) * 4096ull;
		uint64_t len = 1 + sample_random(&seed, 1u << 20);

		offset += sample_random(&seed, 4096);
		recorder_read(r, offset, len, START);
		for (uint64_t b = offset / 4096;
		     b <= (offset + len - 1) / 4096 && b < sizeof(noted); b++) {
			want += !noted[b];
			noted[b] = 1;
		}
	}
	touches = recorder_touches(r, &n);
	assert(n == want);
	for (uint32_t i = 0; i < n; i++) {
		assert(noted[touches[i].block] == 1);
		noted[touches[i].block] = 2; /* none twice */
	}
	recorder_free(r);
}

static void a_large_image_costs_nothing(void)
{
	struct recorder *r = NULL;

	r = begin(1ull << 44); /* 2^32 blocks, the most */
	recorder_read(r, (1ull << 44) - 1, 1, START);
	assert(count(r) == 1);
	assert(recorder_touches(r, &(uint32_t){0})[0].block == UINT32_MAX);
	r = recorder_free(r);
	assert(recorder_new((1ull << 44) + 1, &recorder_default_limits, START,
			    &r) == -EFBIG);
	assert(recorder_new(UINT64_MAX, &recorder_default_limits, START, &r) ==
		       -EFBIG &&
	       !r);
}

static void settles_when_little_new_comes(void)
{
	struct recorder *r = begin(1 * GIB);
	uint64_t now = START;
	int s;

	for (s = 0; s < 10; s++)
		assert(second(r, &now, (uint64_t)s * 1000, 1000) ==
		       BOOT_GOES_ON);
	/* A daemon that reads a few blocks a second is no boot. */
	for (s = 0; s < 60; s++)
		if (second(r, &now, 20000 + (uint64_t)s * 10, 10) !=
		    BOOT_GOES_ON)
			break;
	assert(recorder_check(r, now) == BOOT_SETTLED);
	assert(s >= 25 && s <= 35); /* 30 s after a boot of 10 s */
	/* And stays so; nothing more is noted. */
	s = (int)count(r);
	assert(second(r, &now, 100000, 1000) == BOOT_SETTLED);
	assert((int)count(r) == s);
	assert(recorder_end(r, BOOT_CLOSED, now) == BOOT_SETTLED);
	assert(recorder_end(r, BOOT_SETTLED, now) == BOOT_SETTLED);
	recorder_free(r);
}

static void a_short_boot_settles_sooner(void)
{
	struct recorder *r = begin(1 * GIB);
	uint64_t now = START;
	int s = 1;

	assert(second(r, &now, 0, 3000) == BOOT_GOES_ON);
	while (recorder_check(r, now) == BOOT_GOES_ON) {
		now += NS_PER_S;
		s++;
	}
	assert(recorder_check(r, now) == BOOT_SETTLED);
	assert(s >= 20 && s <= 25);
	recorder_free(r);
}

/* Firmware and kernel look at a disk, and then take their time. */
static void a_probe_of_the_disk_does_not_settle(void)
{
	struct recorder *r = begin(1 * GIB);
	uint64_t now = START;

	assert(second(r, &now, 0, 300) == BOOT_GOES_ON);
	for (int s = 0; s < 60; s++)
		assert(second(r, &now, 0, 1) == BOOT_GOES_ON);
	assert(second(r, &now, 1000, 3000) == BOOT_GOES_ON);
	assert(count(r) >= 3000);
	recorder_free(r);
}

static void nothing_settles_too_early(void)
{
	struct recorder_limits limits = recorder_default_limits;
	struct recorder *r = NULL;
	uint64_t now = START;

	limits.settle_ns = NS_PER_S / 4;
	assert(recorder_new(1 * GIB, &limits, START, &r) == 0);
	recorder_read(r, 0, 10 * MIB, now);
	for (int s = 0; s < 4; s++)
		assert(!recorder_check(r, now += NS_PER_S));
	assert(recorder_check(r, now += NS_PER_S) == BOOT_SETTLED);
	recorder_free(r);
}

/*
 * As the trace of a Debian guest without virtualization hardware: firmware and
 * boot loader read for 7 s, the kernel unpacks itself for 18 s, then the boot
 * proper, with a dip.
 */
static void waits_out_a_pause(void)
{
	struct recorder *r = begin(1 * GIB);
	uint64_t now = START;
	int s;

	for (s = 0; s < 7; s++)
		assert(!second(r, &now, (uint64_t)s * 1100, 1100));
	for (; s < 25; s++)
		assert(!second(r, &now, 0, 1));
	for (; s < 60; s++)
		assert(!second(r, &now, (uint64_t)s * 1100,
			       s > 33 && s < 39 ? 60 : 250));
	recorder_free(r);
}

static void firmware_alone_is_no_boot(void)
{
	struct recorder *r = begin(1 * GIB);
	uint64_t now = START;

	assert(!second(r, &now, 0, 2));
	for (int s = 0; s < 118; s++)
		assert(!second(r, &now, 0, 0));
	assert(second(r, &now, 0, 0) == BOOT_DIED);
	recorder_free(r);

	r = begin(1 * GIB);
	assert(recorder_check(r, START + 3600 * NS_PER_S) == BOOT_GOES_ON);
	assert(recorder_end(r, BOOT_CLOSED, START + 3600 * NS_PER_S) ==
	       BOOT_DIED);
	recorder_free(r);
}

static void ends_at_the_caps(void)
{
	struct recorder_limits limits = recorder_default_limits;
	struct recorder *r = begin(10 * GIB);
	uint64_t now = START;
	int s = 0;

	while (!second(r, &now, (uint64_t)s * 500, 500))
		s++;
	assert(recorder_check(r, now) == BOOT_TOO_LONG && s == 119);
	r = recorder_free(r);

	limits.max_bytes = 1 * MIB;
	assert(recorder_new(10 * GIB, &limits, START, &r) == 0);
	recorder_read(r, 0, 64 * MIB, START);
	assert(count(r) == 256);
	assert(recorder_check(r, START) == BOOT_TOO_BIG);
	recorder_free(r);
}

static void ends_when_told(void)
{
	struct recorder *r = begin(1 * GIB);
	uint64_t now = START;

	assert(!second(r, &now, 0, 3));
	assert(recorder_end(r, BOOT_MARKED, now) == BOOT_MARKED);
	assert(recorder_check(r, now + 3600 * NS_PER_S) == BOOT_MARKED);
	recorder_free(r);

	/* Closed after 3 s: dead. After 6 s: a boot. */
	for (int secs = 3; secs <= 6; secs += 3) {
		r = begin(1 * GIB);
		now = START;
		for (int s = 0; s < secs; s++)
			assert(!second(r, &now, (uint64_t)s * 1000, 1000));
		assert(recorder_end(r, BOOT_CLOSED, now) ==
		       (secs == 3 ? BOOT_DIED : BOOT_CLOSED));
		assert(count(r) == (uint32_t)secs * 1000);
		recorder_free(r);
	}
	assert(!strcmp(boot_end_name(BOOT_SETTLED), "settled"));
	for (int end = 0; end < BOOT_END_MAX; end++)
		assert(strlen(boot_end_name((enum boot_end)end)) > 3);
	assert(!strcmp(boot_end_name(BOOT_END_MAX), "?"));
	assert(!recorder_free(NULL));
}

int main(void)
{
	notes_first_reads_in_order();
	for (uint64_t seed = 1; seed < 5; seed++)
		agrees_with_a_plain_table(seed);
	a_large_image_costs_nothing();
	settles_when_little_new_comes();
	a_short_boot_settles_sooner();
	a_probe_of_the_disk_does_not_settle();
	nothing_settles_too_early();
	waits_out_a_pause();
	firmware_alone_is_no_boot();
	ends_at_the_caps();
	ends_when_told();
	return 0;
}
