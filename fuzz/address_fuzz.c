/* SPDX-License-Identifier: Apache-2.0 */
/* address_fuzz.c - any text as an address: take all out of it that we know */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "wire/address.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1);
	char scheme[ADDRESS_SCHEME_MAX], path[ADDRESS_MAX], value[64];
	uint64_t n = 5;

	if (!text)
		return 0;
	memcpy(text, data, size);
	text[size] = 0;
	if (address_scheme(text, scheme) == 0 && strlen(scheme) > 15)
		abort();
	if (address_path(text, path) == 0 && path[0] != '/')
		abort();
	address_public(text, value, sizeof(value));
	address_public(text, path, sizeof(path));
	if (strlen(path) > strlen(text))
		abort();
	for (int i = 0; i < 2; i++) {
		char mark = i ? '#' : '?';
		size_t before = strlen(text);

		while (address_take(text, mark, "key", value, sizeof(value)) >
		       0) {
			if (strlen(text) + 4 > before)
				abort();
			before = strlen(text);
		}
		if (address_take_number(text, mark, "n", 1, 9, &n) == 0 &&
		    (n < 1 || n > 9))
			abort();
	}
	free(text);
	return 0;
}
