/* SPDX-License-Identifier: Apache-2.0 */
/*
 * nbd_msg.h - the messages of the NBD protocol, as a server reads and writes
 *
 * Source: doc/proto.md of the NetworkBlockDevice project. A session is
 *
 *	hello, client flags		nbd_put_hello()
 *	options and their replies	nbd_option_decode(),
 *nbd_put_option_reply() requests and their replies	nbd_request_decode(),
 *nbd_put_simple() ...
 *
 * All numbers are big endian. A decoder is given bytes of the peer and returns
 * 0 with a checked struct, or -EBADMSG; what a struct points to is borrowed
 * from those bytes. An encoder fills bytes that the caller has room for and
 * returns how many.
 */
#ifndef WIRE_NBD_MSG_H
#define WIRE_NBD_MSG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wire/bytes.h"

/* Bytes of each message's fixed part. */
#define NBD_HELLO_LEN	     18u
#define NBD_CLIENT_FLAGS_LEN 4u
#define NBD_OPTION_LEN	     16u
#define NBD_OPTION_REPLY_LEN 20u
#define NBD_EXPORT_LEN	     10u
#define NBD_EXPORT_ZEROES    124u /* after it, for clients of old */
#define NBD_REQUEST_LEN	     28u
#define NBD_SIMPLE_LEN	     16u
#define NBD_CHUNK_LEN	     20u
#define NBD_DATA_CHUNK_LEN   28u /* with the offset, without the data */
#define NBD_ERROR_CHUNK_LEN  26u /* with the error, without a text */
#define NBD_DESCRIPTOR_LEN   8u

#define NBD_STRING_MAX 4096u /* bytes of a name or text, without a final 0 */

/* Flags of the hello, and of the client's answer (the same bits). */
#define NBD_FIXED_NEWSTYLE (1u << 0)
#define NBD_NO_ZEROES	   (1u << 1)

/* Flags of an export. */
#define NBD_HAS_FLAGS	      (1u << 0)
#define NBD_READ_ONLY	      (1u << 1)
#define NBD_SEND_FLUSH	      (1u << 2)
#define NBD_SEND_FUA	      (1u << 3)
#define NBD_SEND_TRIM	      (1u << 5)
#define NBD_SEND_WRITE_ZEROES (1u << 6)
#define NBD_SEND_DF	      (1u << 7)
#define NBD_CAN_MULTI_CONN    (1u << 8)
#define NBD_SEND_CACHE	      (1u << 10)
#define NBD_SEND_FAST_ZERO    (1u << 11)

enum nbd_option_type {
	NBD_OPT_EXPORT_NAME = 1,
	NBD_OPT_ABORT = 2,
	NBD_OPT_LIST = 3,
	NBD_OPT_STARTTLS = 5,
	NBD_OPT_INFO = 6,
	NBD_OPT_GO = 7,
	NBD_OPT_STRUCTURED_REPLY = 8,
	NBD_OPT_LIST_META_CONTEXT = 9,
	NBD_OPT_SET_META_CONTEXT = 10,
};

enum nbd_reply_type {
	NBD_REP_ACK = 1,
	NBD_REP_SERVER = 2,
	NBD_REP_INFO = 3,
	NBD_REP_META_CONTEXT = 4,
};
#define NBD_REP_ERR_UNSUP    0x80000001u
#define NBD_REP_ERR_POLICY   0x80000002u
#define NBD_REP_ERR_INVALID  0x80000003u
#define NBD_REP_ERR_PLATFORM 0x80000004u
#define NBD_REP_ERR_TLS_REQD 0x80000005u
#define NBD_REP_ERR_UNKNOWN  0x80000006u
#define NBD_REP_ERR_SHUTDOWN 0x80000007u
#define NBD_REP_ERR_TOO_BIG  0x80000009u

enum nbd_info_type {
	NBD_INFO_EXPORT = 0,
	NBD_INFO_NAME = 1,
	NBD_INFO_DESCRIPTION = 2,
	NBD_INFO_BLOCK_SIZE = 3,
};

enum nbd_command {
	NBD_CMD_READ = 0,
	NBD_CMD_WRITE = 1,
	NBD_CMD_DISC = 2,
	NBD_CMD_FLUSH = 3,
	NBD_CMD_TRIM = 4,
	NBD_CMD_CACHE = 5,
	NBD_CMD_WRITE_ZEROES = 6,
	NBD_CMD_BLOCK_STATUS = 7,
	NBD_CMD_MAX
};

#define NBD_FLAG_FUA	   (1u << 0)
#define NBD_FLAG_NO_HOLE   (1u << 1)
#define NBD_FLAG_DF	   (1u << 2)
#define NBD_FLAG_REQ_ONE   (1u << 3)
#define NBD_FLAG_FAST_ZERO (1u << 4)

/* Of a chunk of a structured reply. */
#define NBD_CHUNK_DONE	       (1u << 0)
#define NBD_CHUNK_NONE	       0u
#define NBD_CHUNK_DATA	       1u
#define NBD_CHUNK_HOLE	       2u
#define NBD_CHUNK_BLOCK_STATUS 5u
#define NBD_CHUNK_ERROR	       0x8001u

/* Of a descriptor of base:allocation. */
#define NBD_STATE_HOLE (1u << 0)
#define NBD_STATE_ZERO (1u << 1)

/* What the error field may hold. */
enum nbd_error {
	NBD_OK = 0,
	NBD_EPERM = 1,
	NBD_EIO = 5,
	NBD_ENOMEM = 12,
	NBD_EINVAL = 22,
	NBD_ENOSPC = 28,
	NBD_EOVERFLOW = 75,
	NBD_ENOTSUP = 95,
	NBD_ESHUTDOWN = 108,
};

/** nbd_error() - the error field for @err, 0 or a negative errno */
enum nbd_error nbd_error(int err);

/** struct nbd_string - bytes of a name; no 0 in them, none after them */
struct nbd_string {
	const char *at;
	uint32_t len;
};

/** nbd_string_is() - compare with @text, 0 terminated */
bool nbd_string_is(const struct nbd_string *s, const char *text);

/** struct nbd_option - what goes before an option's data of @len bytes */
struct nbd_option {
	uint32_t type; /* enum nbd_option_type, or one we do not know */
	uint32_t len;
};

int nbd_option_decode(const uint8_t at[static NBD_OPTION_LEN],
		      struct nbd_option *ret)
	__attribute__((warn_unused_result));

/** nbd_name_decode() - the data of NBD_OPT_EXPORT_NAME */
int nbd_name_decode(const void *data, size_t len, struct nbd_string *ret)
	__attribute__((warn_unused_result));

/**
 * struct nbd_info - the data of NBD_OPT_INFO and NBD_OPT_GO
 * @wants:	a bit (1 << type) for each enum nbd_info_type asked for
 */
struct nbd_info {
	struct nbd_string name;
	uint32_t wants;
};

int nbd_info_decode(const void *data, size_t len, struct nbd_info *ret)
	__attribute__((warn_unused_result));

/**
 * struct nbd_meta - the data of NBD_OPT_LIST_ and SET_META_CONTEXT
 * @nqueries:	queries there are; nbd_meta_next() yields one after the other
 */
struct nbd_meta {
	struct nbd_string name;
	uint32_t nqueries;
	struct bytes queries; /* those not yet taken; all are well formed */
};

int nbd_meta_decode(const void *data, size_t len, struct nbd_meta *ret)
	__attribute__((warn_unused_result));

/** nbd_meta_next() - take a query. Return: false after the last. */
bool nbd_meta_next(struct nbd_meta *meta, struct nbd_string *ret);

/**
 * struct nbd_request - one request; its payload of @len bytes follows a write
 * @type:	enum nbd_command, or one we do not know
 * @flags:	NBD_FLAG_FUA and so on, not yet held against @type
 */
struct nbd_request {
	uint16_t flags;
	uint16_t type;
	uint64_t cookie;
	uint64_t offset;
	uint32_t len;
};

/** nbd_request_decode() - -EBADMSG: no request begins here, all is lost */
int nbd_request_decode(const uint8_t at[static NBD_REQUEST_LEN],
		       struct nbd_request *ret)
	__attribute__((warn_unused_result));

/** nbd_put_hello() - @flags: NBD_FIXED_NEWSTYLE and so on */
size_t nbd_put_hello(uint8_t at[static NBD_HELLO_LEN], uint16_t flags);

/** nbd_put_option_reply() - @len: bytes that the caller puts after it */
size_t nbd_put_option_reply(uint8_t at[static NBD_OPTION_REPLY_LEN],
			    uint32_t option, uint32_t type, uint32_t len);

/** nbd_put_export() - size and flags, the last answer to NBD_OPT_EXPORT_NAME */
size_t nbd_put_export(uint8_t at[static NBD_EXPORT_LEN], uint64_t size,
		      uint16_t flags);

size_t nbd_put_simple(uint8_t at[static NBD_SIMPLE_LEN], enum nbd_error error,
		      uint64_t cookie);

/** nbd_put_chunk() - @len: bytes that the caller puts after it */
size_t nbd_put_chunk(uint8_t at[static NBD_CHUNK_LEN], uint16_t flags,
		     uint16_t type, uint64_t cookie, uint32_t len);

/** nbd_put_data_chunk() - before @len bytes of data, which are at @offset */
size_t nbd_put_data_chunk(uint8_t at[static NBD_DATA_CHUNK_LEN], uint16_t flags,
			  uint64_t cookie, uint64_t offset, uint32_t len);

/** nbd_put_error_chunk() - the last chunk of a reply, without a text */
size_t nbd_put_error_chunk(uint8_t at[static NBD_ERROR_CHUNK_LEN],
			   enum nbd_error error, uint64_t cookie);

/** nbd_put_descriptor() - @len bytes of block status @state */
size_t nbd_put_descriptor(uint8_t at[static NBD_DESCRIPTOR_LEN], uint32_t len,
			  uint32_t state);

#endif
