/* SPDX-License-Identifier: Apache-2.0 */
/*
 * recorder.c - notes which blocks a boot reads first and when, and finds out
 * when the boot is over
 *
 * What was read is a bitmap of two levels: leaves of 32768 blocks (128 MiB of
 * the image) are made when first read from, so a large image costs nothing. A
 * read of blocks noted already looks at a word of bits per 64 blocks.
 *
 * A boot has settled when few new blocks came for long enough. New blocks are
 * counted in a window of settle_ns that slides by an eighth of it. The boot is
 * quiet while the window holds less than settle_percent of the fullest window
 * of this boot. How long it must be quiet grows with how long the boot has been
 * going on, since boots pause: a boot loader reads the kernel for 7 seconds,
 * the kernel unpacks itself and reads nothing for 19; or firmware and kernel
 * look at the disk's first blocks, and nothing comes for 10 (both measured of a
 * Debian guest without virtualization hardware). To wait too long costs nothing
 * but time until the next boot profits; to end too early loses the boot.
 */
#include "boot/recorder.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "base/array.h"
#include "base/clock.h"
#include "boot/map.h"

#define LEAF_BLOCKS 32768u
#define LEAF_WORDS  (LEAF_BLOCKS / 64)
#define SLICES	    8u /* of the window */
/* Quiet needed: this many times as long as the boot took until then... */
#define PAUSE_FACTOR 3u
/* ... but at least and at most so many times settle_ns. */
#define PAUSE_MIN 4u
#define PAUSE_MAX 6u
/* Fewer blocks (256 KiB) are a firmware that looked around, no boot. */
#define LEAST_BLOCKS 64u
/* With fewer (8 MiB) the kernel may not even have found its root: no boot
 * settles, but it may be marked, closed, or run into a cap. */
#define SETTLE_BLOCKS 2048u

struct leaf {
	uint64_t words[LEAF_WORDS];
};

struct recorder {
	struct recorder_limits limits;
	enum boot_end end;
	uint64_t image_size;
	bool has_read;
	uint64_t first_ns; /* the first read */

	struct recorder_touch *touches;
	uint32_t count;
	uint32_t room; /* entries in @touches */

	/* New blocks of late. */
	uint64_t slice_ns; /* length of a slice */
	uint64_t slice_start_ns; /* of the slice being filled */
	uint32_t slices[SLICES]; /* a ring */
	uint32_t slice; /* the one being filled */
	uint64_t in_window; /* sum of @slices */
	uint64_t peak; /* the largest @in_window ever */
	bool is_quiet;
	uint64_t quiet_since_ns;

	uint32_t nleaves;
	struct leaf *leaves[]; /* NULL: nothing read there */
};

const struct recorder_limits recorder_default_limits = {
	.min_ns = 5 * NS_PER_S,
	.max_ns = 120 * NS_PER_S,
	.max_bytes = 1 * GIB,
	.settle_ns = 5 * NS_PER_S,
	.settle_percent = 3,
};

const char *boot_end_name(enum boot_end end)
{
	static const char *const names[] = {
		[BOOT_GOES_ON] = "goes on", [BOOT_MARKED] = "marked",
		[BOOT_SETTLED] = "settled", [BOOT_TOO_LONG] = "too long",
		[BOOT_TOO_BIG] = "too big", [BOOT_CLOSED] = "closed",
		[BOOT_DIED] = "died early",
	};
	static_assert(ARRAY_SIZE(names) == BOOT_END_MAX, "a name for each");

	return (unsigned)end < BOOT_END_MAX ? names[end] : "?";
}

int recorder_new(uint64_t image_size, const struct recorder_limits *limits,
		 uint64_t now_ns, struct recorder **ret)
{
	uint64_t nblocks = div_up(image_size, BOOT_BLOCK);
	uint64_t nleaves = div_up(nblocks, LEAF_BLOCKS);
	struct recorder *recorder;
	size_t leaves;

	if (nblocks > 1ull << 32)
		return -EFBIG;
	/* NOLINTNEXTLINE(bugprone-sizeof-expression): pointers are meant */
	leaves = nleaves * sizeof(recorder->leaves[0]);
	recorder = calloc(1, sizeof(*recorder) + leaves);
	if (!recorder)
		return -ENOMEM;
	recorder->limits = *limits;
	recorder->image_size = image_size;
	recorder->nleaves = (uint32_t)nleaves;
	recorder->first_ns = now_ns;
	recorder->slice_ns = max_u64(1, limits->settle_ns / SLICES);
	*ret = recorder;
	return 0;
}

struct recorder *recorder_free(struct recorder *recorder)
{
	if (!recorder)
		return NULL;
	for (uint32_t i = 0; i < recorder->nleaves; i++)
		free(recorder->leaves[i]);
	free(recorder->touches);
	free(recorder);
	return NULL;
}

/* A slice of time has passed: weigh the window, begin the next slice. */
static void end_slice(struct recorder *r)
{
	uint64_t end_ns = r->slice_start_ns + r->slice_ns;
	uint64_t window_ns = r->slice_ns * SLICES;

	r->peak = max_u64(r->peak, r->in_window);
	if (end_ns - r->first_ns < window_ns ||
	    r->in_window * 100 >= r->peak * r->limits.settle_percent) {
		r->is_quiet = false;
	} else if (!r->is_quiet) {
		r->is_quiet = true;
		r->quiet_since_ns = end_ns - window_ns;
	}
	r->slice = (r->slice + 1) % SLICES;
	r->in_window -= r->slices[r->slice];
	r->slices[r->slice] = 0;
	r->slice_start_ns = end_ns;
}

static void advance(struct recorder *r, uint64_t now_ns)
{
	uint64_t passed;

	if (now_ns < r->slice_start_ns)
		return;
	passed = (now_ns - r->slice_start_ns) / r->slice_ns;
	/* After two windows of nothing the rest of nothing adds nothing. */
	for (uint64_t i = 0; i < passed && i < 2ull * SLICES; i++)
		end_slice(r);
	if (passed > 2ull * SLICES)
		r->slice_start_ns += (passed - 2ull * SLICES) * r->slice_ns;
}

static bool note(struct recorder *r, uint32_t block, uint64_t now_ns)
{
	uint64_t at_ms = (now_ns - r->first_ns) / NS_PER_MS;

	if (r->count == r->room) {
		uint32_t room = r->room ? 2 * r->room : 1024;
		struct recorder_touch *touches =
			realloc(r->touches, room * sizeof(*touches));

		if (!touches)
			return false;
		r->touches = touches;
		r->room = room;
	}
	r->touches[r->count++] = (struct recorder_touch){
		.block = block,
		.at_ms = (uint32_t)min_u64(at_ms, UINT32_MAX),
	};
	r->slices[r->slice]++;
	r->in_window++;
	return true;
}

/* The first and last caps are looked at with each new block. */
static void check_caps(struct recorder *r, uint64_t now_ns)
{
	if (r->end != BOOT_GOES_ON || !r->has_read)
		return;
	if ((uint64_t)r->count * BOOT_BLOCK >= r->limits.max_bytes)
		r->end = BOOT_TOO_BIG;
	else if (now_ns - r->first_ns >= r->limits.max_ns)
		r->end = r->count < LEAST_BLOCKS ? BOOT_DIED : BOOT_TOO_LONG;
}

/* Note the blocks whose bits are set in @missing, of the word at @first. */
static void note_word(struct recorder *r, uint64_t *word, uint64_t missing,
		      uint64_t first, uint64_t now_ns)
{
	advance(r, now_ns);
	while (missing && r->end == BOOT_GOES_ON) {
		unsigned bit = (unsigned)__builtin_ctzll(missing);

		if (!note(r, (uint32_t)(first + bit), now_ns))
			return;
		*word |= 1ull << bit;
		missing &= missing - 1;
		check_caps(r, now_ns);
	}
}

void recorder_read(struct recorder *r, uint64_t offset, uint64_t len,
		   uint64_t now_ns)
{
	uint64_t block, end;

	if (r->end != BOOT_GOES_ON || !len || offset >= r->image_size)
		return;
	if (!r->has_read) {
		r->has_read = true;
		r->first_ns = now_ns;
		r->slice_start_ns = now_ns;
	}
	len = min_u64(len, r->image_size - offset);
	block = offset / BOOT_BLOCK;
	end = (offset + len - 1) / BOOT_BLOCK + 1;
	while (block < end) {
		uint64_t first = round_down(block, 64);
		uint64_t stop = min_u64(end, first + 64);
		uint64_t want = (~0ull >> (64 - (stop - block)))
				<< (block - first);
		struct leaf **leaf = &r->leaves[block / LEAF_BLOCKS];
		uint64_t *word;

		if (!*leaf)
			*leaf = calloc(1, sizeof(**leaf));
		if (!*leaf)
			return;
		word = &(*leaf)->words[block % LEAF_BLOCKS / 64];
		if (want & ~*word)
			note_word(r, word, want & ~*word, first, now_ns);
		block = stop;
	}
}

static bool is_settled(const struct recorder *r, uint64_t now_ns)
{
	const struct recorder_limits *limits = &r->limits;
	uint64_t took, need;

	if (!r->is_quiet || r->count < SETTLE_BLOCKS ||
	    now_ns - r->first_ns < limits->min_ns)
		return false;
	took = r->quiet_since_ns - r->first_ns;
	need = min_u64(PAUSE_FACTOR * took, PAUSE_MAX * limits->settle_ns);
	need = max_u64(need, PAUSE_MIN * limits->settle_ns);
	return now_ns - r->quiet_since_ns >= need;
}

enum boot_end recorder_check(struct recorder *r, uint64_t now_ns)
{
	if (r->end != BOOT_GOES_ON || !r->has_read)
		return r->end;
	advance(r, now_ns);
	if (is_settled(r, now_ns))
		r->end = BOOT_SETTLED;
	check_caps(r, now_ns);
	return r->end;
}

enum boot_end recorder_end(struct recorder *r, enum boot_end end,
			   uint64_t now_ns)
{
	/* Whoever was told by recorder_check() may say it again. */
	if (recorder_check(r, now_ns) != BOOT_GOES_ON)
		return r->end;
	assert(end == BOOT_MARKED || end == BOOT_CLOSED);
	if (end == BOOT_CLOSED && (r->count < LEAST_BLOCKS ||
				   now_ns - r->first_ns < r->limits.min_ns))
		end = BOOT_DIED;
	r->end = end;
	return end;
}

const struct recorder_touch *recorder_touches(const struct recorder *recorder,
					      uint32_t *ret_count)
{
	*ret_count = recorder->count;
	return recorder->touches;
}
