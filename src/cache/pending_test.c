/* SPDX-License-Identifier: Apache-2.0 */
/* pending_test.c - the table holds what a plain array holds, as it grows */
#undef NDEBUG
#include <assert.h>
#include <stddef.h>
#include <stdlib.h>

#include "cache/pending.h"

#define OWNERS 3
#define PAGES  3000

static char owner[OWNERS * 16], some_fetch[64];
static struct fetch *model[OWNERS][PAGES];

static struct fetch *any_fetch(void)
{
	return (struct fetch *)(void *)&some_fetch[rand() % 64];
}

static void holds_what_an_array_holds(void)
{
	struct pending pending = {0};

	srand(3);
	for (int step = 0; step < 300000; step++) {
		int o = rand() % OWNERS, page = rand() % PAGES;
		struct fetch **want = &model[o][page];
		const void *who = &owner[o * 16];

		assert(pending_find(&pending, who, (uint32_t)page) == *want);
		if (*want) {
			assert(!pending_del(&pending, who, (uint32_t)page,
					    (struct fetch *)(void *)owner));
			assert(pending_del(&pending, who, (uint32_t)page,
					   *want));
			*want = NULL;
		} else if (rand() % 3) {
			*want = any_fetch();
			assert(pending_reserve(&pending, 1) == 0);
			pending_add(&pending, who, (uint32_t)page, *want);
		}
	}
	for (int o = 0; o < OWNERS; o++)
		for (int page = 0; page < PAGES; page++)
			if (model[o][page])
				assert(pending_del(&pending, &owner[o * 16],
						   (uint32_t)page,
						   model[o][page]));
	pending_release(&pending); /* asserts that nothing is left */
}

int main(void)
{
	holds_what_an_array_holds();
	return 0;
}
