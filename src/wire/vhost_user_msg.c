/* SPDX-License-Identifier: Apache-2.0 */
/* vhost_user_msg.c - the shape of each message's payload, read and written */
#include "wire/vhost_user_msg.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "wire/bytes.h"

enum shape {
	UNKNOWN,
	EMPTY,
	U64,
	STATE,
	ADDR,
	MEM,
	REGION,
	LOG,
	CONFIG,
	INFLIGHT,
};

/* Of the request, of its reply; EMPTY there: it has none of its own. */
static const struct {
	uint8_t request, reply;
} shapes[VHOST_USER_REQUEST_MAX] = {
	[VHOST_USER_GET_FEATURES] = {EMPTY, U64},
	[VHOST_USER_SET_FEATURES] = {U64, EMPTY},
	[VHOST_USER_SET_OWNER] = {EMPTY, EMPTY},
	[VHOST_USER_RESET_OWNER] = {EMPTY, EMPTY},
	[VHOST_USER_SET_MEM_TABLE] = {MEM, EMPTY},
	[VHOST_USER_SET_LOG_BASE] = {LOG, EMPTY},
	[VHOST_USER_SET_LOG_FD] = {EMPTY, EMPTY},
	[VHOST_USER_SET_VRING_NUM] = {STATE, EMPTY},
	[VHOST_USER_SET_VRING_ADDR] = {ADDR, EMPTY},
	[VHOST_USER_SET_VRING_BASE] = {STATE, EMPTY},
	[VHOST_USER_GET_VRING_BASE] = {STATE, STATE},
	[VHOST_USER_SET_VRING_KICK] = {U64, EMPTY},
	[VHOST_USER_SET_VRING_CALL] = {U64, EMPTY},
	[VHOST_USER_SET_VRING_ERR] = {U64, EMPTY},
	[VHOST_USER_GET_PROTOCOL_FEATURES] = {EMPTY, U64},
	[VHOST_USER_SET_PROTOCOL_FEATURES] = {U64, EMPTY},
	[VHOST_USER_GET_QUEUE_NUM] = {EMPTY, U64},
	[VHOST_USER_SET_VRING_ENABLE] = {STATE, EMPTY},
	[VHOST_USER_SET_BACKEND_REQ_FD] = {EMPTY, EMPTY},
	[VHOST_USER_GET_CONFIG] = {CONFIG, CONFIG},
	[VHOST_USER_SET_CONFIG] = {CONFIG, EMPTY},
	[VHOST_USER_GET_INFLIGHT_FD] = {INFLIGHT, INFLIGHT},
	[VHOST_USER_SET_INFLIGHT_FD] = {INFLIGHT, EMPTY},
	[VHOST_USER_RESET_DEVICE] = {EMPTY, EMPTY},
	[VHOST_USER_GET_MAX_MEM_SLOTS] = {EMPTY, U64},
	[VHOST_USER_ADD_MEM_REG] = {REGION, EMPTY},
	[VHOST_USER_REM_MEM_REG] = {REGION, EMPTY},
	[VHOST_USER_SET_STATUS] = {U64, EMPTY},
	[VHOST_USER_GET_STATUS] = {EMPTY, U64},
};

static enum shape shape_of(uint32_t request, uint32_t flags)
{
	if (request >= VHOST_USER_REQUEST_MAX)
		return UNKNOWN;
	if (!(flags & VHOST_USER_REPLY))
		return shapes[request].request;
	if (shapes[request].reply == EMPTY)
		return U64;
	return shapes[request].reply;
}

int vhost_user_head_parse(const uint8_t bytes[static VHOST_USER_HEAD_LEN],
			  struct vhost_user_head *ret)
{
	struct vhost_user_head head = {
		.request = get_le32(bytes),
		.flags = get_le32(bytes + 4),
		.len = get_le32(bytes + 8),
	};

	if ((head.flags & 3) != VHOST_USER_VERSION)
		return -EBADMSG;
	if (head.len > VHOST_USER_PAYLOAD_MAX)
		return -EBADMSG;
	*ret = head;
	return 0;
}

static void read_region(struct bytes *b, struct vhost_user_region *region)
{
	region->guest = bytes_le64(b);
	region->len = bytes_le64(b);
	region->user = bytes_le64(b);
	region->offset = bytes_le64(b);
}

static void read_mem(struct bytes *b, struct vhost_user_msg *msg)
{
	msg->mem.n = bytes_le32(b);
	(void)bytes_le32(b);
	if (msg->mem.n > VHOST_USER_REGIONS_MAX) {
		b->is_bad = true;
		return;
	}
	for (uint32_t i = 0; i < msg->mem.n; i++)
		read_region(b, &msg->mem.at[i]);
	/* Some send the whole array, whatever the number. */
	(void)bytes_take(b, b->left);
}

static void read_config(struct bytes *b, struct vhost_user_msg *msg)
{
	const void *bytes;

	msg->config.offset = bytes_le32(b);
	msg->config.len = bytes_le32(b);
	msg->config.flags = bytes_le32(b);
	/* None of it: the reply to a request that was refused. */
	if (!b->left && (msg->flags & VHOST_USER_REPLY))
		msg->config.len = 0;
	if (msg->config.len > VHOST_USER_CONFIG_MAX) {
		b->is_bad = true;
		return;
	}
	bytes = bytes_take(b, msg->config.len);
	if (bytes)
		memcpy(msg->config.bytes, bytes, msg->config.len);
}

static void read_payload(struct bytes *b, enum shape shape,
			 struct vhost_user_msg *msg)
{
	switch (shape) {
	case UNKNOWN:
	case EMPTY:
		break;
	case U64:
		msg->u64 = bytes_le64(b);
		break;
	case STATE:
		msg->state.index = bytes_le32(b);
		msg->state.num = bytes_le32(b);
		break;
	case ADDR:
		msg->addr.index = bytes_le32(b);
		msg->addr.flags = bytes_le32(b);
		msg->addr.desc = bytes_le64(b);
		msg->addr.used = bytes_le64(b);
		msg->addr.avail = bytes_le64(b);
		msg->addr.log = bytes_le64(b);
		break;
	case MEM:
		read_mem(b, msg);
		break;
	case REGION:
		(void)bytes_le64(b);
		read_region(b, &msg->region);
		break;
	case LOG:
		msg->log.len = bytes_le64(b);
		msg->log.offset = bytes_le64(b);
		break;
	case CONFIG:
		read_config(b, msg);
		break;
	case INFLIGHT:
		msg->inflight.len = bytes_le64(b);
		msg->inflight.offset = bytes_le64(b);
		msg->inflight.nqueues = bytes_le16(b);
		msg->inflight.queue_size = bytes_le16(b);
		/* The padding of QEMU's struct, which others leave out. */
		if (b->left == 4)
			(void)bytes_take(b, 4);
		break;
	}
}

int vhost_user_msg_parse(const struct vhost_user_head *head,
			 const uint8_t *payload, struct vhost_user_msg *ret)
{
	struct bytes b = {.at = payload, .left = head->len};
	struct vhost_user_msg msg = {
		.request = head->request,
		.flags = head->flags,
	};
	enum shape shape = shape_of(head->request, head->flags);

	if (shape == UNKNOWN) {
		*ret = msg;
		return -EOPNOTSUPP;
	}
	read_payload(&b, shape, &msg);
	if (b.is_bad || b.left)
		return -EBADMSG;
	*ret = msg;
	return 0;
}

static uint8_t *write_u32(uint8_t *at, uint32_t v)
{
	put_le32(at, v);
	return at + 4;
}

static uint8_t *write_u64(uint8_t *at, uint64_t v)
{
	put_le64(at, v);
	return at + 8;
}

static uint8_t *write_region(uint8_t *at,
			     const struct vhost_user_region *region)
{
	at = write_u64(at, region->guest);
	at = write_u64(at, region->len);
	at = write_u64(at, region->user);
	return write_u64(at, region->offset);
}

static uint8_t *write_payload(uint8_t *at, enum shape shape,
			      const struct vhost_user_msg *msg)
{
	switch (shape) {
	case UNKNOWN:
	case EMPTY:
		break;
	case U64:
		at = write_u64(at, msg->u64);
		break;
	case STATE:
		at = write_u32(at, msg->state.index);
		at = write_u32(at, msg->state.num);
		break;
	case ADDR:
		at = write_u32(at, msg->addr.index);
		at = write_u32(at, msg->addr.flags);
		at = write_u64(at, msg->addr.desc);
		at = write_u64(at, msg->addr.used);
		at = write_u64(at, msg->addr.avail);
		at = write_u64(at, msg->addr.log);
		break;
	case MEM:
		assert(msg->mem.n <= VHOST_USER_REGIONS_MAX);
		at = write_u32(at, msg->mem.n);
		at = write_u32(at, 0);
		for (uint32_t i = 0; i < msg->mem.n; i++)
			at = write_region(at, &msg->mem.at[i]);
		break;
	case REGION:
		at = write_u64(at, 0);
		at = write_region(at, &msg->region);
		break;
	case LOG:
		at = write_u64(at, msg->log.len);
		at = write_u64(at, msg->log.offset);
		break;
	case CONFIG:
		assert(msg->config.len <= VHOST_USER_CONFIG_MAX);
		at = write_u32(at, msg->config.offset);
		at = write_u32(at, msg->config.len);
		at = write_u32(at, msg->config.flags);
		memcpy(at, msg->config.bytes, msg->config.len);
		at += msg->config.len;
		break;
	case INFLIGHT:
		at = write_u64(at, msg->inflight.len);
		at = write_u64(at, msg->inflight.offset);
		put_le16(at, msg->inflight.nqueues);
		put_le16(at + 2, msg->inflight.queue_size);
		put_le32(at + 4, 0); /* QEMU insists on its padding */
		at += 8;
		break;
	}
	return at;
}

size_t vhost_user_msg_write(
	const struct vhost_user_msg *msg,
	uint8_t bytes[static VHOST_USER_HEAD_LEN + VHOST_USER_PAYLOAD_MAX])
{
	enum shape shape = shape_of(msg->request, msg->flags);
	uint8_t *end;

	/* An acknowledgement of what we do not know is a number, too. */
	if (shape == UNKNOWN && (msg->flags & VHOST_USER_REPLY))
		shape = U64;
	end = write_payload(bytes + VHOST_USER_HEAD_LEN, shape, msg);
	put_le32(bytes, msg->request);
	put_le32(bytes + 4, msg->flags | VHOST_USER_VERSION);
	put_le32(bytes + 8, (uint32_t)(end - bytes) - VHOST_USER_HEAD_LEN);
	return (size_t)(end - bytes);
}

void vhost_user_head_write(uint32_t request,
			   uint8_t bytes[static VHOST_USER_HEAD_LEN])
{
	put_le32(bytes, request);
	put_le32(bytes + 4, VHOST_USER_VERSION);
	put_le32(bytes + 8, 0);
}
