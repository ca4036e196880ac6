/* SPDX-License-Identifier: Apache-2.0 */
/* nbd_msg_test.c - the bytes are those of the protocol, and bad ones are told
 */
#undef NDEBUG
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "wire/nbd_msg.h"

static void errors_are_those_of_the_protocol(void)
{
	static const struct {
		int err;
		enum nbd_error error;
	} table[] = {
		{0, NBD_OK},
		{-EROFS, NBD_EPERM},
		{-EPERM, NBD_EPERM},
		{-EIO, NBD_EIO},
		{-ENOMEM, NBD_ENOMEM},
		{-EINVAL, NBD_EINVAL},
		{-ERANGE, NBD_EINVAL},
		{-ENOSPC, NBD_ENOSPC},
		{-EDQUOT, NBD_ENOSPC},
		{-EOVERFLOW, NBD_EOVERFLOW},
		{-EOPNOTSUPP, NBD_ENOTSUP},
		{-ESHUTDOWN, NBD_ESHUTDOWN},
		{-ETIMEDOUT, NBD_EIO},
		{-EBADMSG, NBD_EIO},
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		assert(nbd_error(table[i].err) == table[i].error);
}

static void options_need_their_magic(void)
{
	uint8_t at[NBD_OPTION_LEN + 1] = "IHAVEOPT\0\0\0\7\0\0\1\2";
	struct nbd_option option = {.type = 99};

	assert(nbd_option_decode(at, &option) == 0);
	assert(option.type == NBD_OPT_GO && option.len == 0x102);
	at[0] = 'i';
	option.type = 99;
	assert(nbd_option_decode(at, &option) == -EBADMSG);
	assert(option.type == 99);
}

static void info_ends_where_its_data_ends(void)
{
	static const uint8_t good[] = {0, 0, 0, 2, 'a', 'b', 0, 2, 0, 3, 0, 1};
	uint8_t bad[sizeof(good) + 1] = {0};
	struct nbd_info info;

	assert(nbd_info_decode(good, sizeof(good), &info) == 0);
	assert(nbd_string_is(&info.name, "ab"));
	assert(!nbd_string_is(&info.name, "a"));
	assert(!nbd_string_is(&info.name, "abc"));
	assert(info.wants ==
	       ((1u << NBD_INFO_BLOCK_SIZE) | (1u << NBD_INFO_NAME)));
	for (size_t n = 0; n < sizeof(good); n++)
		assert(nbd_info_decode(good, n, &info) == -EBADMSG);
	memcpy(bad, good, sizeof(good));
	assert(nbd_info_decode(bad, sizeof(bad), &info) == -EBADMSG);
	bad[5] = 0; /* a name with an end inside */
	assert(nbd_info_decode(bad, sizeof(good), &info) == -EBADMSG);
	bad[0] = 0xff; /* a length that wraps whatever it is added to */
	assert(nbd_info_decode(bad, sizeof(good), &info) == -EBADMSG);
}

static void queries_come_one_by_one(void)
{
	static const uint8_t good[] = {0, 0, 0, 1, 'a', 0,   0,	  0,  3,
				       0, 0, 0, 2, 'b', ':', 0,	  0,  0,
				       0, 0, 0, 0, 3,	'b', ':', 'c'};
	struct nbd_string query;
	struct nbd_meta meta;

	assert(nbd_meta_decode(good, sizeof(good), &meta) == 0);
	assert(nbd_string_is(&meta.name, "a") && meta.nqueries == 3);
	assert(nbd_meta_next(&meta, &query) && nbd_string_is(&query, "b:"));
	assert(nbd_meta_next(&meta, &query) && nbd_string_is(&query, ""));
	assert(nbd_meta_next(&meta, &query) && nbd_string_is(&query, "b:c"));
	assert(!nbd_meta_next(&meta, &query));
	for (size_t n = 0; n < sizeof(good); n++)
		assert(nbd_meta_decode(good, n, &meta) == -EBADMSG);
}

static void requests_and_replies_have_their_places(void)
{
	static const uint8_t in[NBD_REQUEST_LEN] = {
		0x25, 0x60, 0x95, 0x13, 0, 1, 0, 6, 1, 2, 3, 4, 5, 6,
		7,    8,    0,	  0,	0, 0, 0, 0, 2, 0, 0, 0, 1, 0};
	static const uint8_t chunk[NBD_DATA_CHUNK_LEN] = {
		0x66, 0x8e, 0x33, 0xef, 0, 1, 0, 1, 1, 2, 3, 4, 5, 6,
		7,    8,    0,	  0,	1, 8, 0, 0, 0, 0, 0, 0, 2, 0};
	uint8_t out[NBD_DATA_CHUNK_LEN];
	struct nbd_request request;

	assert(nbd_request_decode(in, &request) == 0);
	assert(request.flags == NBD_FLAG_FUA);
	assert(request.type == NBD_CMD_WRITE_ZEROES);
	assert(request.cookie == 0x102030405060708);
	assert(request.offset == 512 && request.len == 256);
	assert(nbd_put_data_chunk(out, NBD_CHUNK_DONE, request.cookie,
				  request.offset,
				  request.len) == sizeof(chunk));
	assert(!memcmp(out, chunk, sizeof(chunk)));
	assert(nbd_put_simple(out, NBD_EIO, request.cookie) == NBD_SIMPLE_LEN);
	assert(!memcmp(out, "\x67\x44\x66\x98\0\0\0\5\1\2\3\4\5\6\7\x8", 16));
	memset(out, 0, sizeof(out));
	assert(nbd_request_decode(out, &request) == -EBADMSG);
}

int main(void)
{
	errors_are_those_of_the_protocol();
	options_need_their_magic();
	info_ends_where_its_data_ends();
	queries_come_one_by_one();
	requests_and_replies_have_their_places();
	return 0;
}
