/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ini_fmt.h - the lines of a configuration file
 *
 *	# a comment, as is a line that begins with ;
 *	[daemon]
 *	cache-size = 4G
 *	[disk vm7]
 *	file = /srv/images/a.raw
 *
 * A section is [KIND] or [KIND NAME]. A value is the rest of its line without
 * the blanks around it: nothing in it is quoted, continued or a comment. The
 * parser is strict, so that a slip is found and not ignored. What kinds and
 * keys there are is the reader's business.
 */
#ifndef WIRE_INI_FMT_H
#define WIRE_INI_FMT_H

#include <stddef.h>

#define INI_FILE_MAX (1u << 20) /* bytes: it is written by hand */
#define INI_LINE_MAX 4096u /* bytes without the end of line */

/** struct ini_text - a stretch of the file's bytes, without a final 0 */
struct ini_text {
	const char *at;
	size_t len;
};

/**
 * struct ini - where a walk through a file is; start it with ini_init()
 * @line:	number of the line that ini_next() looked at last, from 1
 * @problem:	after -EBADMSG what is wrong with that line
 */
struct ini {
	const char *at;
	size_t left;
	unsigned line;
	const char *problem;
	struct ini_text kind, name;
};

enum ini_item_type { INI_SECTION, INI_KEY };

/**
 * struct ini_item - a section's head, or a key with its value
 * @kind, @name: of the section that it begins or is in; @name may be empty
 * @key, @value: of an INI_KEY; @value may be empty
 *
 * All are lent from the bytes of the file.
 */
struct ini_item {
	enum ini_item_type type;
	unsigned line;
	struct ini_text kind, name;
	struct ini_text key, value;
};

/** ini_init() - walk through the @len bytes at @text, which are borrowed */
void ini_init(struct ini *ini, const void *text, size_t len);

/**
 * ini_next() - the next section or key
 *
 * Return: 1: @ret is filled; 0: the end; -EBADMSG: @ini has the line and the
 * problem, and the walk is over.
 */
int ini_next(struct ini *ini, struct ini_item *ret)
	__attribute__((warn_unused_result));

#endif
