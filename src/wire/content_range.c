/* SPDX-License-Identifier: Apache-2.0 */
/* content_range.c - the header that says which bytes an HTTP answer brings */
#include "wire/content_range.h"

#include <errno.h>
#include <stdbool.h>
#include <strings.h>

struct text {
	const char *at;
	size_t left;
};

static bool skip(struct text *t, char c)
{
	if (!t->left || *t->at != c)
		return false;
	t->at++;
	t->left--;
	return true;
}

static void skip_blanks(struct text *t)
{
	while (t->left && (*t->at == ' ' || *t->at == '\t' || *t->at == '\r' ||
			   *t->at == '\n')) {
		t->at++;
		t->left--;
	}
}

static bool number(struct text *t, uint64_t *ret)
{
	uint64_t n = 0;
	size_t digits = 0;

	for (; t->left && *t->at >= '0' && *t->at <= '9'; digits++) {
		if (__builtin_mul_overflow(n, 10, &n) ||
		    __builtin_add_overflow(n, (uint64_t)(*t->at - '0'), &n))
			return false;
		t->at++;
		t->left--;
	}
	*ret = n;
	return digits > 0;
}

int content_range_parse(const char *text, size_t len, struct content_range *ret)
{
	static const char unit[] = "bytes";
	struct content_range r = {UINT64_MAX, UINT64_MAX, 0};
	struct text t = {text, len};
	bool is_none;

	skip_blanks(&t);
	if (t.left < sizeof(unit) - 1 ||
	    strncasecmp(t.at, unit, sizeof(unit) - 1) != 0)
		return -EBADMSG;
	t.at += sizeof(unit) - 1;
	t.left -= sizeof(unit) - 1;
	skip_blanks(&t);
	is_none = skip(&t, '*');
	if (!is_none && (!number(&t, &r.first) || !skip(&t, '-') ||
			 !number(&t, &r.last) || r.first > r.last))
		return -EBADMSG;
	if (!skip(&t, '/') || !number(&t, &r.total))
		return -EBADMSG;
	if (!is_none && r.last >= r.total)
		return -EBADMSG;
	skip_blanks(&t);
	if (t.left)
		return -EBADMSG;
	*ret = r;
	return 0;
}
