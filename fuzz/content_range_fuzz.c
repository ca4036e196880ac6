/* SPDX-License-Identifier: Apache-2.0 */
/* content_range_fuzz.c - any bytes as the value of a Content-Range header */
#include <stdlib.h>

#include "wire/content_range.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct content_range r;

	if (content_range_parse((const char *)data, size, &r) == 0 &&
	    r.first != UINT64_MAX && (r.first > r.last || r.last >= r.total))
		abort();
	return 0;
}
