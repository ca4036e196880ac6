/* SPDX-License-Identifier: Apache-2.0 */
/* address_test.c - schemes, paths, and options among those of others */
#undef NDEBUG
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/array.h"
#include "wire/address.h"

static void knows_a_scheme_from_a_path(void)
{
	static const struct {
		const char *address, *scheme; /* NULL: refused */
	} cases[] = {
		{"/srv/a.img", ""},
		{"a.img", ""},
		{"./a://b", ""},
		{"/a://b", ""},
		{"", ""},
		{"file:///a", "file"},
		{"NBD+unix:///x?socket=s", "nbd+unix"},
		{"https://h/x", "https"},
		{"://x", NULL},
		{"a b://x", NULL},
		{"abcdefghijklmnopqrstuvwxyz://x", NULL},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char scheme[ADDRESS_SCHEME_MAX] = "?";
		int err = address_scheme(cases[i].address, scheme);

		assert(err == (cases[i].scheme ? 0 : -EBADMSG));
		assert(!strcmp(scheme,
			       cases[i].scheme ? cases[i].scheme : "?"));
	}
}

static void decodes_a_path(void)
{
	char path[ADDRESS_MAX] = "?";
	char huge[2 * ADDRESS_MAX];

	assert(address_path("file:///a%20b%2Fc%41", path) == 0);
	assert(!strcmp(path, "/a b/cA"));
	assert(address_path("file://localhost/x", path) == 0);
	assert(!strcmp(path, "/x"));
	assert(address_path("file://elsewhere/x", path) == -EBADMSG);
	assert(address_path("file:///a%0", path) == -EBADMSG);
	assert(address_path("file:///a%", path) == -EBADMSG);
	assert(address_path("file:///a%zz", path) == -EBADMSG);
	assert(address_path("file:///a%00b", path) == -EBADMSG);
	assert(address_path("file://x", path) == -EBADMSG);
	memset(huge, '/', sizeof(huge));
	memcpy(huge, "file:", 5);
	huge[sizeof(huge) - 1] = 0;
	assert(address_path(huge, path) == -EBADMSG);
	assert(!strcmp(path, "/x"));
}

/* Take "key" out of @from; see @left and @value (NULL: there is none). */
static void take(const char *from, char mark, const char *left,
		 const char *value)
{
	char url[256], got[16] = "?";

	(void)snprintf(url, sizeof(url), "%s", from);
	assert(address_take(url, mark, "key", got, sizeof(got)) == !!value);
	assert(!strcmp(url, left));
	assert(!strcmp(got, value ? value : "?"));
}

static void takes_an_option_and_leaves_the_rest(void)
{
	take("s://h/p?key=v", '?', "s://h/p", "v");
	take("s://h/p?key=v&a=b", '?', "s://h/p?a=b", "v");
	take("s://h/p?a=b&key=v", '?', "s://h/p?a=b", "v");
	take("s://h/p?a=b&key=v&c=d#f", '?', "s://h/p?a=b&c=d#f", "v");
	take("s://h/p?key=v#key=w", '?', "s://h/p#key=w", "v");
	take("s://h/p?key=v#key=w", '#', "s://h/p?key=v", "w");
	take("s://h/p?key=", '?', "s://h/p", "");
	take("s://h/p?key=%3F%26", '?', "s://h/p", "?&");
	take("s://h/p?key", '?', "s://h/p?key", NULL);
	take("s://h/p?keys=v", '?', "s://h/p?keys=v", NULL);
	take("s://h/p?monkey=v", '?', "s://h/p?monkey=v", NULL);
	take("s://h/p#?key=v", '?', "s://h/p#?key=v", NULL);
	take("s://h/p", '?', "s://h/p", NULL);
}

static void refuses_what_is_no_number(void)
{
	static const char *const bad[] = {
		"",  "x", "0", "101", "-1", "1x", "+1", "18446744073709551617",
		"%", "5%"};
	char url[64];
	uint64_t n = 7;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		(void)snprintf(url, sizeof(url), "s://h?n=%s", bad[i]);
		assert(address_take_number(url, '?', "n", 1, 100, &n) ==
		       -EBADMSG);
	}
	(void)snprintf(url, sizeof(url), "s://h?m=1");
	assert(address_take_number(url, '?', "n", 1, 100, &n) == 0 && n == 7);
	(void)snprintf(url, sizeof(url), "s://h?n=100");
	assert(address_take_number(url, '?', "n", 1, 100, &n) == 0 && n == 100);
}

static void shows_no_secrets(void)
{
	char text[64];

	address_public("https://me:p@ss@h:1/p?sig=x#y", text, sizeof(text));
	assert(!strcmp(text, "https://h:1/p"));
	address_public("https://h/a@b", text, sizeof(text));
	assert(!strcmp(text, "https://h/a@b"));
	address_public("https://u@h", text, sizeof(text));
	assert(!strcmp(text, "https://h"));
	address_public("https://hhhhhhhhh", text, 12);
	assert(!strcmp(text, "https://hhh"));
	address_public("/a/b", text, sizeof(text));
	assert(!strcmp(text, "/a/b"));
}

int main(void)
{
	knows_a_scheme_from_a_path();
	decodes_a_path();
	takes_an_option_and_leaves_the_rest();
	refuses_what_is_no_number();
	shows_no_secrets();
	return 0;
}
