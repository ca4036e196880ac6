/* SPDX-License-Identifier: Apache-2.0 */
/* nbd_msg_fuzz.c - the first byte says which decoder; what it yields lies
 * within the input */
#include <stdlib.h>

#include "wire/nbd_msg.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_string(const struct nbd_string *s, const uint8_t *data,
			 size_t size)
{
	const uint8_t *at = (const uint8_t *)s->at;

	if (!s->len)
		return;
	if (s->len > NBD_STRING_MAX || at < data || at >= data + size ||
	    s->len > size - (size_t)(at - data) || memchr(at, 0, s->len))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct nbd_request request;
	struct nbd_option option;
	struct nbd_string s;
	struct nbd_info info;
	struct nbd_meta meta;
	uint8_t what, back[NBD_CHUNK_LEN];
	uint32_t n = 0;

	if (!size)
		return 0;
	what = *data++;
	size--;
	switch (what % 5) {
	case 0:
		if (size >= NBD_OPTION_LEN)
			(void)!nbd_option_decode(data, &option);
		break;
	case 1:
		if (!nbd_name_decode(data, size, &s))
			check_string(&s, data, size);
		break;
	case 2:
		if (!nbd_info_decode(data, size, &info))
			check_string(&info.name, data, size);
		break;
	case 3:
		if (nbd_meta_decode(data, size, &meta))
			break;
		check_string(&meta.name, data, size);
		for (; nbd_meta_next(&meta, &s); n++)
			check_string(&s, data, size);
		if (n != meta.nqueries || meta.queries.is_bad)
			abort();
		break;
	default:
		if (size < NBD_REQUEST_LEN ||
		    nbd_request_decode(data, &request))
			break;
		nbd_put_chunk(back, 0, 0, request.cookie, request.len);
		if (memcmp(back + 8, data + 8, 8) ||
		    memcmp(back + 16, data + 24, 4))
			abort();
	}
	return 0;
}
