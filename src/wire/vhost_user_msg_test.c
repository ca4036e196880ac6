/* SPDX-License-Identifier: Apache-2.0 */
/* vhost_user_msg_test.c - each message comes back as it was written */
#undef NDEBUG
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "wire/bytes.h"
#include "wire/vhost_user_msg.h"

static uint8_t bytes[VHOST_USER_HEAD_LEN + VHOST_USER_PAYLOAD_MAX];
static struct vhost_user_head head;
static struct vhost_user_msg back;

static size_t there_and_back(const struct vhost_user_msg *msg)
{
	size_t n = vhost_user_msg_write(msg, bytes);

	memset(&back, 0, sizeof(back));
	assert(vhost_user_head_parse(bytes, &head) == 0);
	assert(head.len + VHOST_USER_HEAD_LEN == n);
	assert(vhost_user_msg_parse(&head, bytes + VHOST_USER_HEAD_LEN,
				    &back) == 0);
	assert(back.request == msg->request);
	return head.len;
}

static void come_back_as_they_were(void)
{
	struct vhost_user_msg m = {
		.request = VHOST_USER_SET_MEM_TABLE,
		.mem = {.n = 2, .at = {{1, 2, 3, 4}, {5, 6, 7, 8}}},
	};

	assert(there_and_back(&m) == 8 + 2 * 32);
	assert(back.mem.n == 2 && back.mem.at[1].offset == 8);

	m = (struct vhost_user_msg){
		.request = VHOST_USER_SET_VRING_ADDR,
		.addr = {1, 2, 3, 4, 5, 6},
	};
	assert(there_and_back(&m) == 40);
	assert(back.addr.desc == 3 && back.addr.used == 4);
	assert(back.addr.avail == 5 && back.addr.log == 6);

	m = (struct vhost_user_msg){
		.request = VHOST_USER_GET_CONFIG,
		.config = {.offset = 1, .len = 3, .bytes = "abc"},
	};
	assert(there_and_back(&m) == 15 &&
	       !memcmp(back.config.bytes, "abc", 3));

	m = (struct vhost_user_msg){
		.request = VHOST_USER_GET_INFLIGHT_FD,
		.flags = VHOST_USER_REPLY,
		.inflight = {1, 2, 3, 4},
	};
	assert(there_and_back(&m) == 24); /* QEMU wants the padding */
	assert(back.inflight.nqueues == 3 && back.inflight.queue_size == 4);

	m = (struct vhost_user_msg){
		.request = VHOST_USER_ADD_MEM_REG,
		.region = {1, 2, 3, 4},
	};
	assert(there_and_back(&m) == 40 && back.region.user == 3);

	m = (struct vhost_user_msg){
		.request = VHOST_USER_SET_LOG_BASE,
		.log = {5, 6},
	};
	assert(there_and_back(&m) == 16 && back.log.offset == 6);

	m = (struct vhost_user_msg){.request = VHOST_USER_SET_OWNER};
	assert(there_and_back(&m) == 0);

	/* An acknowledgement, of what has no reply of its own. */
	m = (struct vhost_user_msg){
		.request = VHOST_USER_SET_OWNER,
		.flags = VHOST_USER_REPLY,
		.u64 = 1,
	};
	assert(there_and_back(&m) == 8 && back.u64 == 1);
}

static int parse(uint32_t request, uint32_t flags, uint32_t len)
{
	put_le32(bytes, request);
	put_le32(bytes + 4, flags);
	put_le32(bytes + 8, len);
	if (vhost_user_head_parse(bytes, &head) < 0)
		return -EPROTO;
	return vhost_user_msg_parse(&head, bytes + VHOST_USER_HEAD_LEN, &back);
}

static void of_the_wrong_shape_are_refused(void)
{
	memset(bytes, 0, sizeof(bytes));
	assert(parse(VHOST_USER_GET_FEATURES, 0, 0) == -EPROTO);
	assert(parse(VHOST_USER_GET_FEATURES, 2, 0) == -EPROTO);
	assert(parse(VHOST_USER_GET_FEATURES, 1, 100000) == -EPROTO);
	assert(parse(VHOST_USER_GET_FEATURES, 1, 0) == 0);
	assert(parse(VHOST_USER_GET_FEATURES, 1, 1) == -EBADMSG);
	assert(parse(VHOST_USER_SET_FEATURES, 1, 7) == -EBADMSG);
	assert(parse(VHOST_USER_SET_VRING_NUM, 1, 4) == -EBADMSG);
	assert(parse(0, 1, 0) == -EOPNOTSUPP);
	assert(parse(19, 1, 8) == -EOPNOTSUPP);
	assert(parse(UINT32_MAX, 1, 0) == -EOPNOTSUPP);

	put_le32(bytes + 12, 9); /* regions */
	assert(parse(VHOST_USER_SET_MEM_TABLE, 1, 264) == -EBADMSG);
	put_le32(bytes + 12, 2);
	assert(parse(VHOST_USER_SET_MEM_TABLE, 1, 71) == -EBADMSG);
	assert(parse(VHOST_USER_SET_MEM_TABLE, 1, 72) == 0);
	assert(parse(VHOST_USER_SET_MEM_TABLE, 1, 264) == 0);

	memset(bytes, 0, sizeof(bytes));
	put_le32(bytes + 16, 257); /* length of a configuration */
	assert(parse(VHOST_USER_GET_CONFIG, 1, 268) == -EBADMSG);
	put_le32(bytes + 16, UINT32_MAX);
	assert(parse(VHOST_USER_GET_CONFIG, 1, 268) == -EBADMSG);
	put_le32(bytes + 16, 10);
	assert(parse(VHOST_USER_GET_CONFIG, 1, 21) == -EBADMSG);
	assert(parse(VHOST_USER_GET_CONFIG, 1, 23) == -EBADMSG);
	assert(parse(VHOST_USER_GET_CONFIG, 1, 22) == 0);
	assert(parse(VHOST_USER_GET_INFLIGHT_FD, 1, 20) == 0);
	assert(parse(VHOST_USER_GET_INFLIGHT_FD, 1, 22) == -EBADMSG);
}

int main(void)
{
	come_back_as_they_were();
	of_the_wrong_shape_are_refused();
	return 0;
}
