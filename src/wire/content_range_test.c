/* SPDX-License-Identifier: Apache-2.0 */
/* content_range_test.c - the forms that servers send, and none else */
#undef NDEBUG
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/array.h"
#include "wire/content_range.h"

static void takes_what_servers_send(void)
{
	static const struct {
		const char *text;
		struct content_range want;
	} good[] = {
		{"bytes 0-0/1", {0, 0, 1}},
		{" bytes 5-9/10\r\n", {5, 9, 10}},
		{"BYTES 0-4095/18446744073709551615", {0, 4095, UINT64_MAX}},
		{"bytes */0", {UINT64_MAX, UINT64_MAX, 0}},
	};

	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		struct content_range r;

		assert(content_range_parse(good[i].text, strlen(good[i].text),
					   &r) == 0);
		assert(r.first == good[i].want.first &&
		       r.last == good[i].want.last &&
		       r.total == good[i].want.total);
	}
}

static void refuses_what_makes_no_sense(void)
{
	static const char *const bad[] = {
		"",
		"bytes",
		"bytes ",
		"bytes 0-0/*",
		"bytes 1-0/5",
		"bytes 0-5/5",
		"bytes -5/6",
		"bytes 0-/6",
		"bytes 0-1/2x",
		"bytes 0-1 2",
		"lines 0-1/2",
		"bytes 0-1/",
		"bytes +0-1/2",
		"bytes 0- 1/2",
		"bytes 0-1/2 3",
		"bytes 18446744073709551615-18446744073709551615/5",
		"bytes 18446744073709551616-18446744073709551617/9",
	};
	struct content_range r = {7, 7, 7};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert(content_range_parse(bad[i], strlen(bad[i]), &r) ==
		       -EBADMSG);
	/* The bytes end where they are said to. */
	assert(content_range_parse("bytes 0-1/22", 10, &r) == -EBADMSG);
	assert(r.first == 7 && r.total == 7);
}

int main(void)
{
	takes_what_servers_send();
	refuses_what_makes_no_sense();
	return 0;
}
