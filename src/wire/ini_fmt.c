/* SPDX-License-Identifier: Apache-2.0 */
/* ini_fmt.c - take a configuration file apart, a line at a time */
#include "wire/ini_fmt.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

void ini_init(struct ini *ini, const void *text, size_t len)
{
	*ini = (struct ini){.at = text, .left = len};
}

static int bad(struct ini *ini, const char *problem)
{
	ini->problem = problem;
	ini->left = 0;
	return -EBADMSG;
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

static struct ini_text trim(struct ini_text t)
{
	while (t.len && is_blank(t.at[0])) {
		t.at++;
		t.len--;
	}
	while (t.len && is_blank(t.at[t.len - 1]))
		t.len--;
	return t;
}

/* Letters, digits and what names are joined with; so no quoting is needed. */
static bool is_word(struct ini_text t, const char *also)
{
	if (!t.len)
		return false;
	for (size_t i = 0; i < t.len; i++) {
		char c = t.at[i];

		if (!(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') &&
		    !(c >= '0' && c <= '9') && (!c || !strchr(also, c)))
			return false;
	}
	return true;
}

/* Cut the next line off; false at the end of the file. */
static bool next_line(struct ini *ini, struct ini_text *ret)
{
	const char *end;
	size_t len;

	if (!ini->left)
		return false;
	end = memchr(ini->at, '\n', ini->left);
	len = end ? (size_t)(end - ini->at) : ini->left;
	*ret = (struct ini_text){ini->at, len};
	ini->at += len + (end != NULL);
	ini->left -= len + (end != NULL);
	ini->line++;
	if (len && ret->at[len - 1] == '\r')
		ret->len--;
	return true;
}

static int parse_section(struct ini *ini, struct ini_text line,
			 struct ini_item *ret)
{
	struct ini_text kind, name;
	size_t n = 0;

	if (line.at[line.len - 1] != ']')
		return bad(ini, "a section ends in ]");
	kind = trim((struct ini_text){line.at + 1, line.len - 2});
	while (n < kind.len && !is_blank(kind.at[n]))
		n++;
	name = trim((struct ini_text){kind.at + n, kind.len - n});
	kind.len = n;
	if (!is_word(kind, "-_"))
		return bad(ini, "a section is [KIND] or [KIND NAME]");
	if (name.len && !is_word(name, "-_.:+@"))
		return bad(ini, "a name has letters, digits and . _ - : + @");
	ini->kind = kind;
	ini->name = name;
	*ret = (struct ini_item){
		.type = INI_SECTION,
		.line = ini->line,
		.kind = kind,
		.name = name,
	};
	return 1;
}

static int parse_key(struct ini *ini, struct ini_text line,
		     struct ini_item *ret)
{
	const char *eq = memchr(line.at, '=', line.len);
	struct ini_text key, value;

	if (!eq)
		return bad(ini, "neither a [section] nor key = value");
	key = trim((struct ini_text){line.at, (size_t)(eq - line.at)});
	value = trim((struct ini_text){
		eq + 1, (size_t)(line.at + line.len - (eq + 1))});
	if (!is_word(key, "-_"))
		return bad(ini, "a key has letters, digits, - and _");
	if (!ini->kind.len)
		return bad(ini, "a key before the first [section]");
	*ret = (struct ini_item){
		.type = INI_KEY,
		.line = ini->line,
		.kind = ini->kind,
		.name = ini->name,
		.key = key,
		.value = value,
	};
	return 1;
}

int ini_next(struct ini *ini, struct ini_item *ret)
{
	struct ini_text line;

	while (next_line(ini, &line)) {
		if (line.len > INI_LINE_MAX)
			return bad(ini, "the line is too long");
		for (size_t i = 0; i < line.len; i++)
			if ((unsigned char)line.at[i] < ' ' &&
			    line.at[i] != '\t')
				return bad(ini, "a control character");
		line = trim(line);
		if (!line.len || line.at[0] == '#' || line.at[0] == ';')
			continue;
		if (line.at[0] == '[')
			return parse_section(ini, line, ret);
		return parse_key(ini, line, ret);
	}
	return 0;
}
