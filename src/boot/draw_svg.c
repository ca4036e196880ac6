/* SPDX-License-Identifier: Apache-2.0 */
/*
 * draw_svg.c - a drawing of a boot workload map
 *
 * To the right is the place on the disk, downwards the time in the boot; at the
 * right edge bars tell how much was read when. A batch is drawn as columns of
 * half a pixel, each in the colour of the block there that most boots read; so
 * the drawing's size has a bound, however many runs there are.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "boot/draw.h"
#include "boot/map.h"

/* Pixels. */
#define WIDTH	   1000
#define LEFT	   70
#define TOP	   112
#define PLOT_W	   760
#define PLOT_H	   460
#define BAR_LEFT   (LEFT + PLOT_W + 20)
#define BAR_W	   120
#define BARS	   46
#define BAR_H	   ((double)PLOT_H / BARS)
#define HEIGHT	   (TOP + PLOT_H + 64)
#define MARK_MOST  14.0 /* height of a batch's marks */
#define MARK_LEAST 3.0
#define MARK_WIDE  1.5 /* narrower ones would not be seen */

#define COLUMNS (2 * PLOT_W)

/* How many of the remembered boots read a block; the more, the darker. */
enum share { NOWHERE, RARE, SOME, MOST, ALL, SHARES };

static const struct {
	const char *color;
	const char *text;
	int wide; /* pixels in the legend */
} shares[] = {
	[NOWHERE] = {"", "", 0},
	[RARE] = {"#a9b4bf", "fewer than 20 %", 0},
	[SOME] = {"#e08a1e", "20 to 80 %", 110},
	[MOST] = {"#4a90d9", "80 % or more", 125},
	[ALL] = {"#123f7a", "all", 60},
};

struct scale {
	uint32_t last_ms; /* where the time axis ends */
	uint64_t image_blocks;
};

static enum share share_of(uint8_t seen, uint32_t history)
{
	uint32_t times = (uint32_t)__builtin_popcount(seen);

	if (times == history)
		return ALL;
	if (times * 100 >= 80 * history)
		return MOST;
	return times * 100 >= 20 * history ? SOME : RARE;
}

static void put_escaped(const char *text, FILE *out)
{
	for (; *text; text++) {
		unsigned char c = (unsigned char)*text;

		if (c < ' ' || strchr("<>&\"'", c))
			fprintf(out, "&#%u;", c < ' ' ? (unsigned)'?' : c);
		else
			(void)fputc(c, out);
	}
}

static double y_of(const struct scale *scale, double ms)
{
	return TOP + PLOT_H * ms / scale->last_ms;
}

/* A step of @whole / 8 or more, of the form 1, 2 or 5 times a power of 10. */
static double decimal_step(double whole)
{
	static const double factors[] = {2, 2.5, 2};
	double step = 1;

	for (unsigned i = 0; step < whole / 8; i = (i + 1) % 3)
		step *= factors[i];
	return step;
}

static void put_disk_axis(const struct boot_map *map, FILE *out)
{
	uint64_t size = map->identity.size, step = BOOT_BLOCK;

	while (step < size / 8)
		step *= 2;
	for (uint64_t at = 0; at <= size; at += step) {
		double x = LEFT + PLOT_W * (double)at / (double)size;
		char text[DRAW_SIZE_MAX];

		fprintf(out,
			"<path class=\"grid\" d=\"M%.1f %dv%d\"/>"
			"<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%s"
			"</text>\n",
			x, TOP, PLOT_H, x, TOP + PLOT_H + 18,
			at ? draw_size(text, at) : "0");
		if (at > UINT64_MAX - step)
			break;
	}
	fprintf(out,
		"<text x=\"%d\" y=\"%d\" text-anchor=\"middle\" "
		"class=\"name\">place on the disk</text>\n",
		LEFT + PLOT_W / 2, TOP + PLOT_H + 42);
}

static void put_time_axis(const struct scale *scale, FILE *out)
{
	double step = decimal_step(scale->last_ms);
	int nlines = (int)(scale->last_ms / step) + 1;

	for (int i = 0; i < nlines; i++) {
		double ms = i * step;

		fprintf(out,
			"<path class=\"grid\" d=\"M%d %.1fh%d\"/>"
			"<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%g s"
			"</text>\n",
			LEFT, y_of(scale, ms), PLOT_W, LEFT - 8,
			y_of(scale, ms) + 4, ms / 1000);
	}
	fprintf(out,
		"<text transform=\"translate(18 %d) rotate(-90)\" "
		"text-anchor=\"middle\" class=\"name\">time since the first "
		"read</text>\n",
		TOP + PLOT_H / 2);
}

/* With one boot to remember there is nothing to compare. */
static void put_legend(uint32_t history, FILE *out)
{
	int x = LEFT;

	if (history < 2)
		return;
	fprintf(out,
		"<text x=\"%d\" y=\"86\" class=\"name\">read by, of the last "
		"%" PRIu32 " boots</text>\n",
		x, history);
	x += 205;
	for (int i = ALL; i > NOWHERE; x += shares[i--].wide)
		fprintf(out,
			"<rect x=\"%d\" y=\"76\" width=\"12\" height=\"12\" "
			"fill=\"%s\"/><text x=\"%d\" y=\"86\">%s</text>\n",
			x, shares[i].color, x + 18, shares[i].text);
}

static void put_head(const struct boot_map *map, const char *image, FILE *out)
{
	struct draw_sum sum = draw_sum(map);
	char a[DRAW_SIZE_MAX], b[DRAW_SIZE_MAX], c[DRAW_SIZE_MAX];

	fprintf(out,
		"<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" "
		"height=\"%d\" viewBox=\"0 0 %d %d\">\n"
		"<style>text{font:12px sans-serif;fill:#333}"
		".title{font-size:18px;font-weight:bold}.name{font-weight:bold}"
		".grid{stroke:#e3e7eb;fill:none}</style>\n"
		"<rect width=\"%d\" height=\"%d\" fill=\"#fff\"/>\n"
		"<text x=\"%d\" y=\"32\" class=\"title\">Boot of ",
		WIDTH, HEIGHT, WIDTH, HEIGHT, WIDTH, HEIGHT, LEFT);
	put_escaped(image, out);
	fprintf(out,
		"</text>\n<text x=\"%d\" y=\"56\">%s read of %s, in %" PRIu32
		" batches and %" PRIu32 " runs; %s in the segment; %" PRIu32
		" boot%s</text>\n",
		LEFT, draw_size(a, sum.raw), draw_size(b, map->identity.size),
		map->nbatches, map->nruns, draw_size(c, sum.stored), map->boots,
		map->boots == 1 ? "" : "s");
	put_legend(sum.history, out);
}

/* The columns of a batch: for each the largest share of its blocks. */
static void fill_columns(const struct boot_map *map, uint32_t i,
			 const struct scale *scale, uint8_t *columns)
{
	const struct boot_batch *batch = &map->batches[i];
	uint32_t history = (uint32_t)min_u64(map->boots, BOOT_HISTORY);

	memset(columns, NOWHERE, COLUMNS);
	for (uint32_t r = 0; r < batch->nruns; r++) {
		const struct boot_run *run = &map->runs[batch->first_run + r];

		for (uint32_t k = 0; k < run->count; k++) {
			uint64_t at = (run->first + (uint64_t)k) * COLUMNS /
				      scale->image_blocks;
			enum share share =
				share_of(map->seen[run->rank + k], history);

			if (share > (enum share)columns[at])
				columns[at] = (uint8_t)share;
		}
	}
}

/* One path for all columns of one share; neighbours are one rectangle. */
static void put_share(const uint8_t *columns, enum share share, double y,
		      double height, FILE *out)
{
	bool is_open = false;

	for (unsigned i = 0, end; i < COLUMNS; i = end) {
		double wide;

		for (end = i + 1; end < COLUMNS && columns[end] == columns[i];)
			end++;
		if (columns[i] != share)
			continue;
		if (!is_open)
			fprintf(out, "<path fill=\"%s\" d=\"",
				shares[share].color);
		is_open = true;
		wide = (end - i) / 2.0;
		if (wide < MARK_WIDE)
			wide = MARK_WIDE;
		fprintf(out, "M%.1f %.1fh%.1fv%.1fh-%.1fz", LEFT + i / 2.0, y,
			wide, height, wide);
	}
	if (is_open)
		fprintf(out, "\"/>");
}

/* How high the marks of batch @i may be until the next of its kind begins. */
static double mark_height(const struct boot_map *map, uint32_t i,
			  const struct scale *scale)
{
	double height = MARK_MOST;

	if (i + 1 < map->nbatches &&
	    map->batches[i + 1].is_tail == map->batches[i].is_tail &&
	    map->batches[i + 1].start_ms >= map->batches[i].start_ms)
		height = y_of(scale, map->batches[i + 1].start_ms) -
			 y_of(scale, map->batches[i].start_ms) - 0.5;
	if (height > MARK_MOST)
		height = MARK_MOST;
	return height < MARK_LEAST ? MARK_LEAST : height;
}

static void put_batch(const struct boot_map *map, uint32_t i,
		      const struct scale *scale, uint8_t *columns, FILE *out)
{
	const struct boot_batch *batch = &map->batches[i];
	double y = y_of(scale, batch->start_ms);
	double height = mark_height(map, i, scale);
	char size[DRAW_SIZE_MAX];

	draw_size(size, (uint64_t)batch->nblocks * BOOT_BLOCK);
	fprintf(out,
		"<g><title>batch %" PRIu32 "%s: %s in %" PRIu32
		" runs, from %.1f s on</title>",
		i + 1, batch->is_tail ? " (tail)" : "", size, batch->nruns,
		batch->start_ms / 1000.0);
	fill_columns(map, i, scale, columns);
	for (enum share s = RARE; s < SHARES; s++)
		put_share(columns, s, y, height, out);
	fprintf(out, "</g>\n");
}

/* A bar for each stretch of time: what was read first in it. */
static void put_bars(const struct boot_map *map, const struct scale *scale,
		     FILE *out)
{
	uint64_t bars[BARS] = {0}, most = 1;
	char size[DRAW_SIZE_MAX];

	for (uint32_t i = 0; i < map->nbatches; i++) {
		const struct boot_batch *batch = &map->batches[i];
		uint64_t at = (uint64_t)batch->start_ms * BARS / scale->last_ms;

		at = min_u64(at, BARS - 1);
		bars[at] += batch->nblocks;
		most = max_u64(most, bars[at]);
	}
	for (unsigned i = 0; i < BARS; i++) {
		if (!bars[i])
			continue;
		draw_size(size, bars[i] * BOOT_BLOCK);
		fprintf(out,
			"<g><title>%s</title><rect x=\"%d\" y=\"%.1f\" "
			"width=\"%.1f\" height=\"%.1f\" fill=\"#8aa4bd\"/>"
			"</g>\n",
			size, BAR_LEFT, TOP + i * BAR_H + 0.5,
			(double)BAR_W * (double)bars[i] / (double)most,
			BAR_H - 1);
	}
	fprintf(out,
		"<text x=\"%d\" y=\"%d\" text-anchor=\"end\">%s</text>"
		"<text x=\"%d\" y=\"%d\" text-anchor=\"middle\" "
		"class=\"name\">read per %.2g s</text>\n",
		BAR_LEFT + BAR_W, TOP + PLOT_H + 18,
		draw_size(size, most * BOOT_BLOCK), BAR_LEFT + BAR_W / 2,
		TOP + PLOT_H + 42, scale->last_ms / 1000.0 / BARS);
}

int draw_svg(const struct boot_map *map, const char *image, FILE *out)
{
	struct scale scale = {
		.last_ms = 0,
		.image_blocks = div_up(map->identity.size, BOOT_BLOCK),
	};
	uint8_t *columns = malloc(COLUMNS);

	if (!columns)
		return -ENOMEM;
	for (uint32_t i = 0; i < map->nbatches; i++)
		scale.last_ms = (uint32_t)max_u64(scale.last_ms,
						  map->batches[i].start_ms);
	/* Room below the last batch, whose end nobody knows. */
	scale.last_ms = (uint32_t)min_u64(
		scale.last_ms + scale.last_ms / 20 + 100ull, UINT32_MAX);

	put_head(map, image, out);
	put_disk_axis(map, out);
	put_time_axis(&scale, out);
	for (uint32_t i = 0; i < map->nbatches; i++)
		put_batch(map, i, &scale, columns, out);
	put_bars(map, &scale, out);
	fprintf(out,
		"<rect x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" "
		"fill=\"none\" stroke=\"#9aa5b1\"/>\n</svg>\n",
		LEFT, TOP, PLOT_W, PLOT_H);
	free(columns);
	return 0;
}
