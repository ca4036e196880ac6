/* SPDX-License-Identifier: Apache-2.0 */
/* qcow2_fmt_fuzz.c - a header of anything; then L2 entries of the rest */
#include <stdlib.h>
#include <string.h>

#include "base/why.h"
#include "wire/qcow2_fmt.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t len = min_u64(size, QCOW2_HEADER_SIZE);
	struct qcow2_header header, again;
	uint8_t bytes[QCOW2_HEADER_SIZE];
	struct why why = {0};

	if (qcow2_header_parse(data, len, &header, &why) < 0) {
		if (!why.text[0])
			abort();
	} else {
		if (!header.size || header.size > QCOW2_SIZE_MAX ||
		    !memchr(header.backing, 0, sizeof(header.backing)))
			abort();
		qcow2_header_encode(&header, bytes);
		if (qcow2_header_parse(bytes, sizeof(bytes), &again, NULL) ||
		    again.size != header.size ||
		    again.is_untouched != header.is_untouched ||
		    strcmp(again.backing, header.backing) != 0 ||
		    memcmp(again.id, header.id, sizeof(again.id)) != 0)
			abort();
	}
	for (uint64_t at = 0; at + QCOW2_ENTRY <= size; at += QCOW2_ENTRY) {
		uint64_t cluster = at / QCOW2_ENTRY, bitmap;

		if (qcow2_entry_parse(cluster, data + at, &bitmap) < 0)
			continue;
		qcow2_entry_encode(cluster, bitmap, bytes);
		if (!qcow2_is_bitmap(bitmap) ||
		    memcmp(bytes, data + at, QCOW2_ENTRY) != 0)
			abort();
	}
	return 0;
}
