/* SPDX-License-Identifier: Apache-2.0 */
/* why_test.c - the text reads from the outside in */
#undef NDEBUG
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/why.h"

static void reads_from_the_outside_in(void)
{
	struct why w = {0};

	assert(why(&w, -EACCES, "%s", "/srv/a.img") == -EACCES);
	assert(why_in(&w, -EACCES, "open %s", "disk") == -EACCES);
	assert(!strcmp(w.text, "open disk: /srv/a.img: Permission denied"));
	assert(why(&w, 0, "all is well") == 0);
	assert(!strcmp(w.text, "all is well"));
	assert(why(NULL, -EIO, "nobody asks") == -EIO);
}

static void keeps_the_beginning_of_long_text(void)
{
	char text[2 * WHY_MAX];
	struct why w = {0};

	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = 0;
	assert(why(&w, -EIO, "%s", text) == -EIO);
	assert(why_in(&w, -EIO, "first") == -EIO);
	assert(strlen(w.text) == WHY_MAX - 1);
	assert(!strncmp(w.text, "first: xxx", 10));
}

int main(void)
{
	reads_from_the_outside_in();
	keeps_the_beginning_of_long_text();
	return 0;
}
