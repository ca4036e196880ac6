/* SPDX-License-Identifier: Apache-2.0 */
/* address.c - take apart the address of a store */
#include "wire/address.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

static const char sep[] = "://";

int address_scheme(const char *address, char ret[static ADDRESS_SCHEME_MAX])
{
	const char *end = strstr(address, sep);
	size_t n = end ? (size_t)(end - address) : 0;
	char scheme[ADDRESS_SCHEME_MAX] = "";

	/* A file may be called "a://b", if it is addressed as "./a://b". */
	if (!end || *address == '/' || *address == '.') {
		ret[0] = 0;
		return 0;
	}
	if (!n || n >= sizeof(scheme))
		return -EBADMSG;
	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)address[i];

		if (!isalnum(c) && !strchr("+-.", c))
			return -EBADMSG;
		scheme[i] = (char)tolower(c);
	}
	memcpy(ret, scheme, sizeof(scheme));
	return 0;
}

static int hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Decode @n bytes; a 0 among them is refused, as it would end the text. */
static int decode(const char *from, size_t n, char *to, size_t size)
{
	size_t out = 0;

	for (size_t i = 0; i < n; i++) {
		int c = (unsigned char)from[i];

		if (c == '%') {
			int high = n - i > 2 ? hex(from[i + 1]) : -1;
			int low = high >= 0 ? hex(from[i + 2]) : -1;

			if (low < 0)
				return -EBADMSG;
			c = high * 16 + low;
			i += 2;
		}
		if (!c || out + 1 >= size)
			return -EBADMSG;
		to[out++] = (char)c;
	}
	to[out] = 0;
	return 0;
}

int address_path(const char *address, char ret[static ADDRESS_MAX])
{
	static const char here[] = "localhost/";
	char path[ADDRESS_MAX];
	const char *at = strstr(address, sep);

	if (!at)
		return -EBADMSG;
	at += strlen(sep);
	if (!strncasecmp(at, here, strlen(here)))
		at += strlen(here) - 1;
	if (*at != '/' || decode(at, strlen(at), path, sizeof(path)) < 0)
		return -EBADMSG;
	memcpy(ret, path, sizeof(path));
	return 0;
}

int address_take(char *address, char mark, const char *key, char *ret,
		 size_t size)
{
	char *list = address + strcspn(address, mark == '#' ? "#" : "?#");
	size_t nkey = strlen(key);

	if (*list != mark)
		return 0;
	for (char *at = list + 1;;) {
		size_t n = strcspn(at, mark == '#' ? "&" : "&#");
		char *end = at + n;

		if (n > nkey && at[nkey] == '=' && !memcmp(at, key, nkey)) {
			if (decode(at + nkey + 1, n - nkey - 1, ret, size) < 0)
				return -EBADMSG;
			/* With the '&' behind it; the last one with the mark
			 * or the '&' before it. */
			if (*end == '&')
				end++;
			else
				at--;
			memmove(at, end, strlen(end) + 1);
			return 1;
		}
		if (*end != '&')
			return 0;
		at = end + 1;
	}
}

int address_take_number(char *address, char mark, const char *key, uint64_t min,
			uint64_t max, uint64_t *ret)
{
	char text[24];
	uint64_t n = 0;
	int found = address_take(address, mark, key, text, sizeof(text));

	if (found <= 0)
		return found;
	if (!*text)
		return -EBADMSG;
	for (const char *c = text; *c; c++) {
		if (*c < '0' || *c > '9' || __builtin_mul_overflow(n, 10, &n) ||
		    __builtin_add_overflow(n, (uint64_t)(*c - '0'), &n))
			return -EBADMSG;
	}
	if (n < min || n > max)
		return -EBADMSG;
	*ret = n;
	return 0;
}

void address_public(const char *address, char *ret, size_t size)
{
	const char *at = strstr(address, sep);
	const char *host = at ? at + strlen(sep) : address;
	size_t n = strcspn(host, at ? "?#" : "");
	/* The last '@' before the path: a password may have one, too. */
	size_t nauthority = strcspn(host, "/?#");

	if (at)
		for (size_t i = nauthority; i; i--)
			if (host[i - 1] == '@') {
				host += i;
				n -= i;
				break;
			}
	(void)snprintf(ret, size, "%.*s%.*s",
		       at ? (int)(at - address + (long)strlen(sep)) : 0,
		       address, (int)n, host);
}
