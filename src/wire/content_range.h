/* SPDX-License-Identifier: Apache-2.0 */
/* content_range.h - the header that says which bytes an HTTP answer brings */
#ifndef WIRE_CONTENT_RANGE_H
#define WIRE_CONTENT_RANGE_H

#include <stddef.h>
#include <stdint.h>

/**
 * struct content_range - "bytes FIRST-LAST/TOTAL"
 *
 * FIRST <= LAST < TOTAL. Of "bytes * /TOTAL" (nothing can be brought), which
 * has no blank in it, @first and @last are UINT64_MAX.
 */
struct content_range {
	uint64_t first, last, total;
};

/**
 * content_range_parse() - @text is the header's value, @len bytes of it
 *
 * Return: 0; -EBADMSG: not of that form, or of a total that is not known.
 */
int content_range_parse(const char *text, size_t len, struct content_range *ret)
	__attribute__((warn_unused_result));

#endif
