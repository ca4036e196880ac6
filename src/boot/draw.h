/* SPDX-License-Identifier: Apache-2.0 */
/*
 * draw.h - show a boot workload map to people: as text, as a drawing, as JSON
 *
 * The image's name is shown as it is given; whoever calls has none of it to
 * escape.
 */
#ifndef BOOT_DRAW_H
#define BOOT_DRAW_H

#include <stdint.h>
#include <stdio.h>

#include <jansson.h>

struct boot_map;

#define DRAW_SIZE_MAX 24u

/** draw_size() - "61.0 MiB". Return: @text. */
char *draw_size(char text[static DRAW_SIZE_MAX], uint64_t bytes);

/**
 * struct draw_sum - what a map adds up to
 * @raw:	bytes of all its blocks
 * @main, @tail: of those in main batches, in the tail
 * @stored:	bytes of the extents in the segment
 * @zstd:	extents that are compressed
 * @history:	boots that are remembered of each block
 * @always:	blocks that all of those read
 */
struct draw_sum {
	uint64_t raw, main, tail, stored;
	uint32_t zstd, history, always;
};

struct draw_sum draw_sum(const struct boot_map *map);

/**
 * draw_text() - a summary, and the batches in some 24 lines at most
 * @image:	the image's name
 * @now_s:	seconds since 1970, for the age
 */
void draw_text(const struct boot_map *map, const char *image, uint64_t now_s,
	       FILE *out);

/**
 * draw_svg() - where on the disk, and when in the boot
 *
 * To the right is the place on the disk, downwards the time; the colour tells
 * how many of the last boots read a block.
 *
 * Return: 0 or -ENOMEM. Errors of @out are the caller's to ask for.
 */
int draw_svg(const struct boot_map *map, const char *image, FILE *out)
	__attribute__((warn_unused_result));

/** draw_json() - all that draw_text() says. Return: NULL without memory. */
json_t *draw_json(const struct boot_map *map, const char *image,
		  uint64_t now_s);

#endif
