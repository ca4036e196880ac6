/* SPDX-License-Identifier: Apache-2.0 */
/* bytes_fuzz.c - the input says which numbers to take of the rest of it */
#include <stdlib.h>

#include "wire/bytes.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes b = {.at = data, .left = size};

	while (b.left && !b.is_bad) {
		uint8_t what = bytes_u8(&b);

		switch (what % 8) {
		case 0:
			(void)bytes_le16(&b);
			break;
		case 1:
			(void)bytes_be32(&b);
			break;
		case 2:
			(void)bytes_le64(&b);
			break;
		default:
			(void)bytes_take(&b, what);
		}
		if (b.left > size || (b.is_bad && b.left))
			abort();
	}
	return 0;
}
