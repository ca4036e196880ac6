/* SPDX-License-Identifier: Apache-2.0 */
/* ini_fuzz.c - whatever the file holds, items lie in it and the walk ends */
#include <stdlib.h>
#include <stdint.h>

#include "wire/ini_fmt.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_within(const uint8_t *data, size_t size, struct ini_text t)
{
	if (t.len && (t.at < (const char *)data ||
		      t.at + t.len > (const char *)data + size))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct ini_item item;
	struct ini ini;
	size_t items = 0;

	ini_init(&ini, data, size);
	while (ini_next(&ini, &item) == 1) {
		check_within(data, size, item.kind);
		check_within(data, size, item.name);
		if (!item.kind.len || ++items > size)
			abort();
		if (item.type == INI_SECTION)
			continue;
		check_within(data, size, item.key);
		check_within(data, size, item.value);
		if (!item.key.len)
			abort();
	}
	return 0;
}
