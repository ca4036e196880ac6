/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vhost_inflight_test.c - killed at any moment, the next life does what was
 * not answered, in order, and nothing that was
 */
#undef NDEBUG
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "serve/vhost_inflight.h"
#include "wire/bytes.h"

#define SIZE 8u

static struct vhost_inflight in;
static uint8_t *mem;
static uint16_t heads[VIRTQ_SIZE_MAX];

static unsigned reopen(uint16_t used_idx)
{
	return vhost_inflight_open(&in, mem, SIZE, used_idx, heads);
}

static void starts_empty(void)
{
	memset(mem, 0, vhost_inflight_len(SIZE));
	assert(reopen(7) == 0 && !in.is_old);
	assert(reopen(7) == 0 && in.is_old);
}

static void does_again_what_was_taken_in_that_order(void)
{
	starts_empty();
	vhost_inflight_take(&in, 5);
	vhost_inflight_take(&in, 2);
	vhost_inflight_take(&in, 7);
	vhost_inflight_push(&in, 2);
	vhost_inflight_publish(&in, 8);
	vhost_inflight_take(&in, 0);
	assert(reopen(8) == 3);
	assert(heads[0] == 5 && heads[1] == 7 && heads[2] == 0);

	/* And once more, with what came after. */
	vhost_inflight_take(&in, 2);
	assert(reopen(8) == 4 && heads[3] == 2);
}

static void killed_before_publishing_it_does_them_again(void)
{
	starts_empty();
	vhost_inflight_take(&in, 1);
	vhost_inflight_take(&in, 2);
	vhost_inflight_push(&in, 1); /* the driver has not seen it */
	assert(reopen(7) == 2);
	assert(heads[0] == 1 && heads[1] == 2);
}

static void killed_after_publishing_it_does_not(void)
{
	starts_empty();
	vhost_inflight_take(&in, 1);
	vhost_inflight_take(&in, 2);
	vhost_inflight_take(&in, 3);
	vhost_inflight_push(&in, 3);
	vhost_inflight_push(&in, 1);
	/* The index is out, 9 of the ring; our flags are not cleared. */
	assert(reopen(9) == 1 && heads[0] == 2);
	assert(reopen(9) == 1 && heads[0] == 2);
}

static void believes_no_nonsense(void)
{
	starts_empty();
	for (uint16_t i = 0; i < SIZE; i++)
		vhost_inflight_take(&in, i);
	put_le16(mem + 12, 0xffff); /* the last batch */
	assert(reopen(10) == SIZE);
	put_le16(mem + 12, 3);
	put_le16(mem + 16 + 3 * 16 + 6, 3); /* a list that loops */
	assert(reopen(10 + 5000) == SIZE - 1);
	put_le16(mem + 10, 4); /* of another size: begin anew */
	assert(reopen(0) == 0 && !in.is_old);
}

static void keeps_nothing_if_there_is_no_place(void)
{
	assert(vhost_inflight_open(&in, NULL, SIZE, 3, heads) == 0);
	vhost_inflight_take(&in, 1);
	vhost_inflight_push(&in, 1);
	vhost_inflight_publish(&in, 4);
}

int main(void)
{
	mem = malloc(vhost_inflight_len(SIZE));
	assert(mem);
	starts_empty();
	does_again_what_was_taken_in_that_order();
	killed_before_publishing_it_does_them_again();
	killed_after_publishing_it_does_not();
	believes_no_nonsense();
	keeps_nothing_if_there_is_no_place();
	free(mem);
	return 0;
}
