/* SPDX-License-Identifier: Apache-2.0 */
/* ini_fmt_test.c - what a configuration file may say, and what not */
#undef NDEBUG
#include "wire/ini_fmt.h"

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static bool is(struct ini_text t, const char *text)
{
	return t.len == strlen(text) && !memcmp(t.at, text, t.len);
}

static void walks_through_sections_and_keys(void)
{
	static const char text[] = "# a comment\n"
				   "\n"
				   "[daemon]\r\n"
				   "cache-size=4G\n"
				   "  ; another\n"
				   "[ disk  vm7 ]\n"
				   "\tfile =  /srv/a b.img#1 \n"
				   "ro=";
	struct ini_item item;
	struct ini ini;

	ini_init(&ini, text, strlen(text));
	assert(ini_next(&ini, &item) == 1);
	assert(item.type == INI_SECTION && item.line == 3);
	assert(is(item.kind, "daemon") && is(item.name, ""));
	assert(ini_next(&ini, &item) == 1);
	assert(item.type == INI_KEY && is(item.kind, "daemon"));
	assert(is(item.key, "cache-size") && is(item.value, "4G"));
	assert(ini_next(&ini, &item) == 1);
	assert(item.type == INI_SECTION && item.line == 6);
	assert(is(item.kind, "disk") && is(item.name, "vm7"));
	assert(ini_next(&ini, &item) == 1);
	assert(is(item.key, "file") && is(item.value, "/srv/a b.img#1"));
	assert(ini_next(&ini, &item) == 1);
	assert(is(item.key, "ro") && is(item.value, ""));
	assert(is(item.name, "vm7") && item.line == 8);
	assert(ini_next(&ini, &item) == 0);
	assert(ini_next(&ini, &item) == 0);
}

/* The line that @text is refused at. */
static unsigned refused_at(const char *text, size_t len)
{
	struct ini_item item;
	struct ini ini;
	int err;

	ini_init(&ini, text, len);
	while ((err = ini_next(&ini, &item)) == 1)
		;
	assert(err == -EBADMSG && ini.problem && *ini.problem);
	assert(ini_next(&ini, &item) == 0);
	return ini.line;
}

static void says_which_line_is_wrong(void)
{
	char *line = malloc(INI_LINE_MAX + 2);

	assert(refused_at("[a]\nno sign\n", 12) == 2);
	assert(refused_at("[a\n", 3) == 1);
	assert(refused_at("[]\n", 3) == 1);
	assert(refused_at("[", 1) == 1);
	assert(refused_at("[a \"b\"]\n", 8) == 1);
	assert(refused_at("[a]\n\n\n= b\n", 10) == 4);
	assert(refused_at("[a]\nb c = d\n", 12) == 2);
	assert(refused_at("a = b\n", 6) == 1);
	assert(refused_at("[a]\nb = \0\n", 10) == 2);
	assert(line);
	memset(line, '#', INI_LINE_MAX + 2);
	assert(refused_at(line, INI_LINE_MAX + 2) == 1);
	free(line);
}

int main(void)
{
	walks_through_sections_and_keys();
	says_which_line_is_wrong();
	return 0;
}
