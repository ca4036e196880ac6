/* SPDX-License-Identifier: Apache-2.0 */
/* vhost_user_msg_fuzz.c - a message that is understood survives a round trip */
#include <stdlib.h>
#include <string.h>

#include "wire/vhost_user_msg.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t bytes[VHOST_USER_HEAD_LEN + VHOST_USER_PAYLOAD_MAX];
	uint8_t again[sizeof(bytes)];
	struct vhost_user_head head;
	struct vhost_user_msg msg, back;
	uint8_t *payload;
	size_t n;
	int res;

	if (size < VHOST_USER_HEAD_LEN ||
	    vhost_user_head_parse(data, &head) < 0 ||
	    size - VHOST_USER_HEAD_LEN < head.len)
		return 0;
	/* Of its own, so that a byte read past it is seen. */
	payload = malloc(head.len ? head.len : 1);
	if (!payload)
		return 0;
	memcpy(payload, data + VHOST_USER_HEAD_LEN, head.len);
	res = vhost_user_msg_parse(&head, payload, &msg);
	free(payload);
	if (res < 0)
		return 0;
	n = vhost_user_msg_write(&msg, bytes);
	if (vhost_user_head_parse(bytes, &head) < 0 ||
	    vhost_user_msg_parse(&head, bytes + VHOST_USER_HEAD_LEN, &back) < 0)
		abort();
	if (vhost_user_msg_write(&back, again) != n || memcmp(bytes, again, n))
		abort();
	return 0;
}
