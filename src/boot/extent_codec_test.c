/* SPDX-License-Identifier: Apache-2.0 */
/* extent_codec_test.c - what is packed comes back; what is not, is refused */
#undef NDEBUG
#include <assert.h>
#include <errno.h>
#include <string.h>
#include <zstd.h>

#include "base/array.h"
#include "base/crc32c.h"
#include "boot/extent_codec.h"
#include "boot/map_sample.h"

static uint8_t raw[BOOT_EXTENT_BYTES], out[BOOT_EXTENT_BYTES],
	back[BOOT_EXTENT_BYTES + 1];

/* @zeroes: how many percent of 64-byte lines are empty */
static void fill(uint64_t seed, uint32_t zeroes)
{
	for (size_t i = 0; i < sizeof(raw); i += 64) {
		bool is_zero = sample_random(&seed, 100) < zeroes;

		for (size_t k = i; k < i + 64; k++)
			raw[k] = is_zero ? 0
					 : (uint8_t)sample_random(&seed, 256);
	}
}

static void gives_back_what_was_packed(void)
{
	static const uint32_t zeroes[] = {0, 5, 11, 30, 90, 100};
	static const size_t lens[] = {BOOT_BLOCK, 3 * BOOT_BLOCK,
				      BOOT_EXTENT_BYTES};

	for (unsigned i = 0; i < ARRAY_SIZE(zeroes); i++) {
		fill(i, zeroes[i]);
		for (int level = 0; level <= EXTENT_LEVEL_MAX; level++)
			for (unsigned k = 0; k < ARRAY_SIZE(lens); k++) {
				struct boot_extent e = {.offset = 4096};

				extent_pack(raw, lens[k], level, out, &e);
				assert(e.offset == 4096);
				assert(e.stored <= lens[k]);
				if (!level || zeroes[i] < 10)
					assert(e.codec == BOOT_PLAIN);
				else if (zeroes[i] >= 30)
					assert(e.codec == BOOT_ZSTD);
				if (e.codec == BOOT_ZSTD)
					assert(e.stored <=
					       lens[k] - lens[k] / 8);
				back[lens[k]] = 0x55;
				assert(!extent_unpack(&e, out, e.stored, back,
						      lens[k]));
				assert(!memcmp(back, raw, lens[k]));
				assert(back[lens[k]] == 0x55);
			}
	}
}

static void refuses_every_flipped_bit(uint32_t zeroes)
{
	struct boot_extent e = {0};

	fill(3, zeroes);
	extent_pack(raw, BOOT_BLOCK, 1, out, &e);
	for (uint32_t i = 0; i < e.stored * 8; i++) {
		out[i / 8] ^= (uint8_t)(1u << i % 8);
		assert(extent_unpack(&e, out, e.stored, back, BOOT_BLOCK) ==
		       -EBADMSG);
		out[i / 8] ^= (uint8_t)(1u << i % 8);
	}
	for (uint32_t len = 0; len < e.stored; len++)
		assert(extent_unpack(&e, out, len, back, BOOT_BLOCK) ==
		       -EBADMSG);
	assert(!extent_unpack(&e, out, e.stored, back, BOOT_BLOCK));
}

/* The sum is right and the content is not: made so, not torn. */
static void refuses_a_wrong_length_inside(void)
{
	struct boot_extent e = {.codec = BOOT_ZSTD};
	size_t n;

	fill(3, 90);
	n = ZSTD_compress(out, sizeof(out), raw, 2 * BOOT_BLOCK, 1);
	e.stored = (uint32_t)n;
	e.crc = crc32c(0, out, n);
	assert(!extent_unpack(&e, out, n, back, 2 * BOOT_BLOCK));
	assert(extent_unpack(&e, out, n, back, BOOT_BLOCK) == -EBADMSG);
	assert(extent_unpack(&e, out, n, back, 3 * BOOT_BLOCK) == -EBADMSG);

	/* Behind it a frame that says nothing: 8 bytes to skip none. */
	memcpy(out + n, "\x50\x2a\x4d\x18\0\0\0\0", 8);
	e.stored = (uint32_t)n + 8;
	e.crc = crc32c(0, out, n + 8);
	assert(extent_unpack(&e, out, n + 8, back, 2 * BOOT_BLOCK) == -EBADMSG);

	/* Two frames, of which the first alone would do. */
	n += ZSTD_compress(out + n, sizeof(out) - n, raw, BOOT_BLOCK, 1);
	e.stored = (uint32_t)n;
	e.crc = crc32c(0, out, n);
	assert(extent_unpack(&e, out, n, back, 2 * BOOT_BLOCK) == -EBADMSG);
	assert(extent_unpack(&e, out, n, back, 3 * BOOT_BLOCK) == -EBADMSG);

	e.codec = BOOT_PLAIN;
	assert(extent_unpack(&e, out, n, back, BOOT_BLOCK) == -EBADMSG);
	e.codec = BOOT_CODEC_MAX;
	assert(extent_unpack(&e, out, n, back, n) == -EBADMSG);
}

int main(void)
{
	gives_back_what_was_packed();
	refuses_every_flipped_bit(0);
	refuses_every_flipped_bit(50);
	refuses_a_wrong_length_inside();
	return 0;
}
