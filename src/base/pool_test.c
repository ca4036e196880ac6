/* SPDX-License-Identifier: Apache-2.0 */
/* pool_test.c - objects come, go, come again, and end at the limit */
#undef NDEBUG
#include <assert.h>
#include <string.h>

#include "base/pool.h"

static void stops_at_the_limit(void)
{
	struct pool pool;
	void *object[100];

	pool_init(&pool, 24, 100);
	for (int i = 0; i < 100; i++) {
		object[i] = pool_take(&pool);
		assert(object[i]);
		memset(object[i], i, 24);
	}
	assert(!pool_take(&pool));
	for (int i = 0; i < 100; i++)
		for (int j = 0; j < 24; j++)
			assert(((char *)object[i])[j] == i);
	pool_give(&pool, object[7]);
	assert(pool_take(&pool) == object[7]);
	for (int i = 0; i < 100; i++)
		pool_give(&pool, object[i]);
	assert(pool.count == 100 && pool.taken == 0);
	pool_release(&pool);
}

int main(void)
{
	stops_at_the_limit();
	return 0;
}
