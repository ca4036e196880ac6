/* SPDX-License-Identifier: Apache-2.0 */
/* nbd_msg.c - bytes of the NBD protocol to checked structs, and back */
#include "wire/nbd_msg.h"

#include <errno.h>

#include "base/array.h"

#define HELLO_MAGIC	   0x4e42444d41474943ull /* "NBDMAGIC" */
#define OPTION_MAGIC	   0x49484156454f5054ull /* "IHAVEOPT" */
#define OPTION_REPLY_MAGIC 0x0003e889045565a9ull
#define REQUEST_MAGIC	   0x25609513u
#define SIMPLE_MAGIC	   0x67446698u
#define CHUNK_MAGIC	   0x668e33efu

enum nbd_error nbd_error(int err)
{
	switch (-err) {
	case 0:
		return NBD_OK;
	case EROFS:
	case EPERM:
	case EACCES:
		return NBD_EPERM;
	case ENOMEM:
		return NBD_ENOMEM;
	case EINVAL:
	case ERANGE:
		return NBD_EINVAL;
	case ENOSPC:
	case EDQUOT:
	case EFBIG:
		return NBD_ENOSPC;
	case EOVERFLOW:
		return NBD_EOVERFLOW;
	case EOPNOTSUPP:
		return NBD_ENOTSUP;
	case ESHUTDOWN:
		return NBD_ESHUTDOWN;
	default:
		return NBD_EIO;
	}
}

bool nbd_string_is(const struct nbd_string *s, const char *text)
{
	return s->len == strlen(text) && !memcmp(s->at, text, s->len);
}

/* A string of @len bytes; bad if too long, or with a 0 inside. */
static void take_string(struct bytes *b, uint32_t len, struct nbd_string *ret)
{
	const char *at = bytes_take(b, len);

	if (at && (len > NBD_STRING_MAX || memchr(at, 0, len)))
		b->is_bad = true;
	*ret = (struct nbd_string){.at = at, .len = at ? len : 0};
}

int nbd_option_decode(const uint8_t at[static NBD_OPTION_LEN],
		      struct nbd_option *ret)
{
	if (get_be64(at) != OPTION_MAGIC)
		return -EBADMSG;
	ret->type = get_be32(at + 8);
	ret->len = get_be32(at + 12);
	return 0;
}

int nbd_name_decode(const void *data, size_t len, struct nbd_string *ret)
{
	struct bytes b = {.at = data, .left = len};
	struct nbd_string name;

	if (len > NBD_STRING_MAX)
		return -EBADMSG;
	take_string(&b, (uint32_t)len, &name);
	if (b.is_bad)
		return -EBADMSG;
	*ret = name;
	return 0;
}

int nbd_info_decode(const void *data, size_t len, struct nbd_info *ret)
{
	struct bytes b = {.at = data, .left = len};
	struct nbd_info info = {0};
	unsigned n;

	take_string(&b, bytes_be32(&b), &info.name);
	for (n = bytes_be16(&b); n && !b.is_bad; n--) {
		uint16_t type = bytes_be16(&b);

		if (type < 32)
			info.wants |= 1u << type;
	}
	if (b.is_bad || b.left)
		return -EBADMSG;
	*ret = info;
	return 0;
}

int nbd_meta_decode(const void *data, size_t len, struct nbd_meta *ret)
{
	struct bytes b = {.at = data, .left = len};
	struct nbd_meta meta = {0};
	struct nbd_string query;

	take_string(&b, bytes_be32(&b), &meta.name);
	meta.nqueries = bytes_be32(&b);
	meta.queries = b;
	for (uint32_t n = meta.nqueries; n && !b.is_bad; n--)
		take_string(&b, bytes_be32(&b), &query);
	if (b.is_bad || b.left)
		return -EBADMSG;
	*ret = meta;
	return 0;
}

bool nbd_meta_next(struct nbd_meta *meta, struct nbd_string *ret)
{
	if (!meta->queries.left)
		return false;
	take_string(&meta->queries, bytes_be32(&meta->queries), ret);
	return true;
}

int nbd_request_decode(const uint8_t at[static NBD_REQUEST_LEN],
		       struct nbd_request *ret)
{
	if (get_be32(at) != REQUEST_MAGIC)
		return -EBADMSG;
	*ret = (struct nbd_request){
		.flags = get_be16(at + 4),
		.type = get_be16(at + 6),
		.cookie = get_be64(at + 8),
		.offset = get_be64(at + 16),
		.len = get_be32(at + 24),
	};
	return 0;
}

size_t nbd_put_hello(uint8_t at[static NBD_HELLO_LEN], uint16_t flags)
{
	put_be64(at, HELLO_MAGIC);
	put_be64(at + 8, OPTION_MAGIC);
	put_be16(at + 16, flags);
	return NBD_HELLO_LEN;
}

size_t nbd_put_option_reply(uint8_t at[static NBD_OPTION_REPLY_LEN],
			    uint32_t option, uint32_t type, uint32_t len)
{
	put_be64(at, OPTION_REPLY_MAGIC);
	put_be32(at + 8, option);
	put_be32(at + 12, type);
	put_be32(at + 16, len);
	return NBD_OPTION_REPLY_LEN;
}

size_t nbd_put_export(uint8_t at[static NBD_EXPORT_LEN], uint64_t size,
		      uint16_t flags)
{
	put_be64(at, size);
	put_be16(at + 8, flags);
	return NBD_EXPORT_LEN;
}

size_t nbd_put_simple(uint8_t at[static NBD_SIMPLE_LEN], enum nbd_error error,
		      uint64_t cookie)
{
	put_be32(at, SIMPLE_MAGIC);
	put_be32(at + 4, error);
	put_be64(at + 8, cookie);
	return NBD_SIMPLE_LEN;
}

size_t nbd_put_chunk(uint8_t at[static NBD_CHUNK_LEN], uint16_t flags,
		     uint16_t type, uint64_t cookie, uint32_t len)
{
	put_be32(at, CHUNK_MAGIC);
	put_be16(at + 4, flags);
	put_be16(at + 6, type);
	put_be64(at + 8, cookie);
	put_be32(at + 16, len);
	return NBD_CHUNK_LEN;
}

size_t nbd_put_data_chunk(uint8_t at[static NBD_DATA_CHUNK_LEN], uint16_t flags,
			  uint64_t cookie, uint64_t offset, uint32_t len)
{
	nbd_put_chunk(at, flags, NBD_CHUNK_DATA, cookie, len + 8);
	put_be64(at + NBD_CHUNK_LEN, offset);
	return NBD_DATA_CHUNK_LEN;
}

size_t nbd_put_error_chunk(uint8_t at[static NBD_ERROR_CHUNK_LEN],
			   enum nbd_error error, uint64_t cookie)
{
	nbd_put_chunk(at, NBD_CHUNK_DONE, NBD_CHUNK_ERROR, cookie, 6);
	put_be32(at + NBD_CHUNK_LEN, error);
	put_be16(at + NBD_CHUNK_LEN + 4, 0);
	return NBD_ERROR_CHUNK_LEN;
}

size_t nbd_put_descriptor(uint8_t at[static NBD_DESCRIPTOR_LEN], uint32_t len,
			  uint32_t state)
{
	put_be32(at, len);
	put_be32(at + 4, state);
	return NBD_DESCRIPTOR_LEN;
}
