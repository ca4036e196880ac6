/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vhost_inflight.c - the shared record of requests under way
 *
 * A queue's part: {u64 features, u16 version, u16 size, u16 last_batch_head,
 * u16 used_idx}, then for each head {u8 inflight, 5 bytes, u16 next, u64
 * counter}.
 *
 * The order of the stores is what makes it hold after a kill at any of them;
 * they are atomic so that the compiler keeps it. (The machine need not: what
 * a killed process has stored, the next one sees.)
 */
#include "serve/vhost_inflight.h"

#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "wire/bytes.h"

#define HEAD_LEN	16u
#define ENTRY_LEN	16u
#define VERSION		8u /* offsets in the head */
#define SIZE		10u
#define LAST_BATCH_HEAD 12u
#define USED_IDX	14u
#define ENTRY_NEXT	6u /* and in an entry */
#define ENTRY_COUNTER	8u

uint64_t vhost_inflight_len(uint16_t size)
{
	return round_up(HEAD_LEN + (uint64_t)ENTRY_LEN * size, 64);
}

static uint8_t *entry(const struct vhost_inflight *in, uint16_t head)
{
	return in->at + HEAD_LEN + (size_t)head * ENTRY_LEN;
}

static void barrier(void)
{
	__atomic_signal_fence(__ATOMIC_ACQ_REL);
}

static void set_flag(struct vhost_inflight *in, uint16_t head, uint8_t v)
{
	barrier();
	__atomic_store_n(entry(in, head), v, __ATOMIC_RELEASE);
}

/* The last batch had been published, its flags not cleared: do so now. */
static void finish_batch(struct vhost_inflight *in, uint16_t used_idx)
{
	uint16_t n = (uint16_t)(used_idx - get_le16(in->at + USED_IDX));
	uint16_t head = get_le16(in->at + LAST_BATCH_HEAD);

	for (unsigned i = 0; i < n && i < in->size && head < in->size; i++) {
		set_flag(in, head, 0);
		head = get_le16(entry(in, head) + ENTRY_NEXT);
	}
	barrier();
	put_le16(in->at + USED_IDX, used_idx);
}

struct again {
	uint64_t counter;
	uint16_t head;
};

static int by_counter(const void *a, const void *b)
{
	uint64_t x = ((const struct again *)a)->counter;
	uint64_t y = ((const struct again *)b)->counter;

	return (x > y) - (x < y);
}

unsigned vhost_inflight_open(struct vhost_inflight *in, uint8_t *at,
			     uint16_t size, uint16_t used_idx,
			     uint16_t heads[static VIRTQ_SIZE_MAX])
{
	struct again again[VIRTQ_SIZE_MAX];
	unsigned n = 0;

	in->at = at;
	in->size = size;
	in->nbatch = 0;
	in->counter = 0;
	in->is_old = false;
	if (!at)
		return 0;
	if (get_le16(at + VERSION) != 1 || get_le16(at + SIZE) != size) {
		memset(at, 0, vhost_inflight_len(size));
		put_le16(at + SIZE, size);
		put_le16(at + USED_IDX, used_idx);
		barrier();
		put_le16(at + VERSION, 1);
		return 0;
	}
	in->is_old = true;
	finish_batch(in, used_idx);
	for (uint16_t i = 0; i < size; i++) {
		if (!__atomic_load_n(entry(in, i), __ATOMIC_ACQUIRE))
			continue;
		again[n].head = i;
		again[n].counter = get_le64(entry(in, i) + ENTRY_COUNTER);
		if (again[n].counter >= in->counter)
			in->counter = again[n].counter + 1;
		n++;
	}
	qsort(again, n, sizeof(again[0]), by_counter);
	for (unsigned i = 0; i < n; i++)
		heads[i] = again[i].head;
	return n;
}

void vhost_inflight_take(struct vhost_inflight *in, uint16_t head)
{
	if (!in->at)
		return;
	put_le64(entry(in, head) + ENTRY_COUNTER, in->counter++);
	set_flag(in, head, 1);
}

void vhost_inflight_push(struct vhost_inflight *in, uint16_t head)
{
	if (!in->at)
		return;
	put_le16(entry(in, head) + ENTRY_NEXT,
		 get_le16(in->at + LAST_BATCH_HEAD));
	barrier();
	put_le16(in->at + LAST_BATCH_HEAD, head);
	barrier();
	in->batch[in->nbatch++] = head;
}

void vhost_inflight_publish(struct vhost_inflight *in, uint16_t used_idx)
{
	if (!in->at)
		return;
	for (unsigned i = 0; i < in->nbatch; i++)
		set_flag(in, in->batch[i], 0);
	in->nbatch = 0;
	barrier();
	put_le16(in->at + USED_IDX, used_idx);
}
