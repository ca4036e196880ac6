/* SPDX-License-Identifier: Apache-2.0 */
/* number.c - sizes and switches as people write them */
#include "prog/number.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/array.h"
#include "prog/refuse.h"

static const char units[] = "KMGTPE";

#define FRACTION_MAX 1000000u /* digits after the point, as a power of ten */

int number_size(const char *text, uint64_t *ret, struct why *w)
{
	const char *at = text, *unit;
	uint64_t whole = 0, part = 0, part_of = 1, scale = 1, more;

	for (; *at >= '0' && *at <= '9'; at++)
		if (__builtin_mul_overflow(whole, 10, &whole) ||
		    __builtin_add_overflow(whole, (uint64_t)(*at - '0'),
					   &whole))
			return refuse(w, "'%s' is too large", text);
	if (at == text)
		goto bad;
	if (*at == '.') {
		if (!(at[1] >= '0' && at[1] <= '9'))
			goto bad;
		for (at++; *at >= '0' && *at <= '9'; at++) {
			if (part_of >= FRACTION_MAX)
				goto bad;
			part = part * 10 + (uint64_t)(*at - '0');
			part_of *= 10;
		}
	}
	unit = *at ? strchr(units, *at >= 'a' ? *at - 'a' + 'A' : *at) : NULL;
	if (unit) {
		scale = 1024ull << (10 * (unit - units));
		at++;
		if (*at == 'i')
			at++;
	}
	if (*at == 'B')
		at++;
	if (*at || (part && !unit))
		goto bad;
	if (__builtin_mul_overflow(whole, scale, &whole))
		return refuse(w, "'%s' is too large", text);
	more = scale / part_of * part + scale % part_of * part / part_of;
	if (__builtin_add_overflow(whole, more, &whole))
		return refuse(w, "'%s' is too large", text);
	*ret = whole;
	return 0;
bad:
	return refuse(w, "'%s' is no size: write 4096, 512M or 1.5G", text);
}

int number_switch(const char *text, bool *ret, struct why *w)
{
	static const char *const on[] = {"on", "yes", "true", "1"};
	static const char *const off[] = {"off", "no", "false", "0"};

	for (size_t i = 0; i < ARRAY_SIZE(on); i++) {
		if (!strcasecmp(text, on[i])) {
			*ret = true;
			return 0;
		}
		if (!strcasecmp(text, off[i])) {
			*ret = false;
			return 0;
		}
	}
	return refuse(w, "'%s' is neither on nor off", text);
}

const char *number_print(uint64_t bytes, char text[static NUMBER_TEXT_MAX])
{
	uint64_t tenths;
	int unit = -1;
	double v = (double)bytes;

	while (v >= 1024 && unit < (int)sizeof(units) - 2) {
		v /= 1024;
		unit++;
	}
	tenths = (uint64_t)(v * 10 + 0.5);
	if (unit < 0)
		(void)snprintf(text, NUMBER_TEXT_MAX, "%u B", (unsigned)bytes);
	else if (tenths % 10 == 0 || tenths >= 1000)
		(void)snprintf(text, NUMBER_TEXT_MAX, "%u %ciB",
			       (unsigned)(v + 0.5), units[unit]);
	else
		(void)snprintf(text, NUMBER_TEXT_MAX, "%u.%u %ciB",
			       (unsigned)(tenths / 10), (unsigned)(tenths % 10),
			       units[unit]);
	return text;
}
