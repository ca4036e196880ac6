/* SPDX-License-Identifier: Apache-2.0 */
/* why.c - collect the text of an error from the cause outwards */
#include "base/why.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Put @tail behind what vsnprintf() of the words makes, as far as it fits. */
static void put(struct why *w, const char *tail, const char *fmt, va_list ap)
{
	char text[WHY_MAX];
	size_t n;

	(void)vsnprintf(text, sizeof(text), fmt, ap);
	n = strlen(text);
	if (*tail)
		(void)snprintf(text + n, sizeof(text) - n, ": %s", tail);
	memcpy(w->text, text, sizeof(text));
}

int why(struct why *w, int err, const char *fmt, ...)
{
	va_list ap;

	if (!w)
		return err;
	va_start(ap, fmt);
	put(w, err ? strerror(-err) : "", fmt, ap);
	va_end(ap);
	return err;
}

int why_in(struct why *w, int err, const char *fmt, ...)
{
	char was[WHY_MAX];
	va_list ap;

	if (!w)
		return err;
	memcpy(was, w->text, sizeof(was));
	va_start(ap, fmt);
	put(w, *was || !err ? was : strerror(-err), fmt, ap);
	va_end(ap);
	return err;
}
