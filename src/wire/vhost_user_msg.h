/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vhost_user_msg.h - messages of vhost-user (QEMU docs/interop/vhost-user.rst)
 *
 * A message is a head of 12 bytes and a payload, numbers in the machine's
 * order (here little endian); descriptors come beside it. The front-end is the
 * one with the guest (QEMU), the back-end the one that serves it (we).
 *
 * Both directions are written and read by the same functions, so that a test's
 * front-end needs no others.
 */
#ifndef WIRE_VHOST_USER_MSG_H
#define WIRE_VHOST_USER_MSG_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

enum vhost_user_request {
	VHOST_USER_NONE = 0,
	VHOST_USER_GET_FEATURES = 1,
	VHOST_USER_SET_FEATURES = 2,
	VHOST_USER_SET_OWNER = 3,
	VHOST_USER_RESET_OWNER = 4,
	VHOST_USER_SET_MEM_TABLE = 5,
	VHOST_USER_SET_LOG_BASE = 6,
	VHOST_USER_SET_LOG_FD = 7,
	VHOST_USER_SET_VRING_NUM = 8,
	VHOST_USER_SET_VRING_ADDR = 9,
	VHOST_USER_SET_VRING_BASE = 10,
	VHOST_USER_GET_VRING_BASE = 11,
	VHOST_USER_SET_VRING_KICK = 12,
	VHOST_USER_SET_VRING_CALL = 13,
	VHOST_USER_SET_VRING_ERR = 14,
	VHOST_USER_GET_PROTOCOL_FEATURES = 15,
	VHOST_USER_SET_PROTOCOL_FEATURES = 16,
	VHOST_USER_GET_QUEUE_NUM = 17,
	VHOST_USER_SET_VRING_ENABLE = 18,
	VHOST_USER_SET_BACKEND_REQ_FD = 21,
	VHOST_USER_GET_CONFIG = 24,
	VHOST_USER_SET_CONFIG = 25,
	VHOST_USER_GET_INFLIGHT_FD = 31,
	VHOST_USER_SET_INFLIGHT_FD = 32,
	VHOST_USER_RESET_DEVICE = 34,
	VHOST_USER_GET_MAX_MEM_SLOTS = 36,
	VHOST_USER_ADD_MEM_REG = 37,
	VHOST_USER_REM_MEM_REG = 38,
	VHOST_USER_SET_STATUS = 39,
	VHOST_USER_GET_STATUS = 40,
	VHOST_USER_REQUEST_MAX
};

/* From the back-end, on the descriptor of SET_BACKEND_REQ_FD */
#define VHOST_USER_BACKEND_CONFIG_CHANGE 2u

/* vhost_user_msg.flags; the low two bits are the version, always 1 */
#define VHOST_USER_VERSION    1u
#define VHOST_USER_REPLY      (1u << 2)
#define VHOST_USER_NEED_REPLY (1u << 3)

/* A feature bit beside those of virtio, and one of the log */
#define VHOST_USER_F_PROTOCOL_FEATURES 30
#define VHOST_USER_F_LOG_ALL	       26

/* Protocol feature bits */
#define VHOST_USER_PROTOCOL_MQ		   0
#define VHOST_USER_PROTOCOL_LOG_SHMFD	   1
#define VHOST_USER_PROTOCOL_REPLY_ACK	   3
#define VHOST_USER_PROTOCOL_BACKEND_REQ	   5
#define VHOST_USER_PROTOCOL_CONFIG	   9
#define VHOST_USER_PROTOCOL_INFLIGHT_SHMFD 12
#define VHOST_USER_PROTOCOL_RESET_DEVICE   13
#define VHOST_USER_PROTOCOL_MEM_SLOTS	   15
#define VHOST_USER_PROTOCOL_STATUS	   16

#define VHOST_USER_HEAD_LEN    12u
#define VHOST_USER_REGIONS_MAX 8u /* in one SET_MEM_TABLE */
#define VHOST_USER_CONFIG_MAX  256u /* bytes of a configuration space */
#define VHOST_USER_CONFIG_LIVE 1u /* config.flags: of a migration */
#define VHOST_USER_VRING_INDEX 0xffu /* u64 of kick, call and err: */
#define VHOST_USER_VRING_NO_FD 0x100u
#define VHOST_USER_ADDR_LOG    1u /* addr.flags: log the used ring */
#define VHOST_USER_PAYLOAD_MAX (12u + VHOST_USER_CONFIG_MAX)
#define VHOST_USER_FDS_MAX     VHOST_USER_REGIONS_MAX
static_assert(VHOST_USER_PAYLOAD_MAX >= 8 + 32 * VHOST_USER_REGIONS_MAX,
	      "all payloads fit");

/** struct vhost_user_region - of the front-end's memory */
struct vhost_user_region {
	uint64_t guest; /* guest-physical address */
	uint64_t len;
	uint64_t user; /* address in the front-end's own space */
	uint64_t offset; /* in the descriptor */
};

/** struct vhost_user_msg - one message; which of the union depends on @request
 */
struct vhost_user_msg {
	uint32_t request;
	uint32_t flags;
	union {
		uint64_t u64;
		struct {
			uint32_t index, num;
		} state;
		struct {
			uint32_t index, flags;
			uint64_t desc, used, avail; /* user addresses */
			uint64_t log;
		} addr;
		struct {
			uint32_t n;
			struct vhost_user_region at[VHOST_USER_REGIONS_MAX];
		} mem;
		struct vhost_user_region region;
		struct {
			uint64_t len, offset;
		} log;
		struct {
			uint32_t offset, len, flags;
			uint8_t bytes[VHOST_USER_CONFIG_MAX];
		} config;
		struct {
			uint64_t len, offset;
			uint16_t nqueues, queue_size;
		} inflight;
	};
};

/** struct vhost_user_head - what says how long the message is */
struct vhost_user_head {
	uint32_t request;
	uint32_t flags;
	uint32_t len; /* of the payload; at most VHOST_USER_PAYLOAD_MAX */
};

/**
 * vhost_user_head_parse() - the first bytes of a message
 *
 * Return: 0; -EBADMSG: wrong version, or longer than any message we know. The
 * request may be one we do not know.
 */
int vhost_user_head_parse(const uint8_t bytes[static VHOST_USER_HEAD_LEN],
			  struct vhost_user_head *ret)
	__attribute__((warn_unused_result));

/**
 * vhost_user_msg_parse() - the rest of it
 * @payload:	@head->len bytes
 *
 * Return: 0; -EBADMSG: the payload is not of the request's shape;
 * -EOPNOTSUPP: a request we do not know, of which ret has request and flags.
 */
int vhost_user_msg_parse(const struct vhost_user_head *head,
			 const uint8_t *payload, struct vhost_user_msg *ret)
	__attribute__((warn_unused_result));

/**
 * vhost_user_msg_write() - a message's bytes, head and payload
 *
 * The payload is the reply's if @msg->flags has VHOST_USER_REPLY, and an
 * acknowledgement (a u64) if the request has no reply of its own.
 *
 * Return: bytes written.
 */
size_t vhost_user_msg_write(
	const struct vhost_user_msg *msg,
	uint8_t bytes[static VHOST_USER_HEAD_LEN + VHOST_USER_PAYLOAD_MAX]);

/** vhost_user_head_write() - a message of no payload, as the back-end's own */
void vhost_user_head_write(uint32_t request,
			   uint8_t bytes[static VHOST_USER_HEAD_LEN]);

#endif
