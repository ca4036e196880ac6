/* SPDX-License-Identifier: Apache-2.0 */
/* virtqueue.c - take chains of a hostile driver, give them back */
#include "device/virtqueue.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "wire/bytes.h"

/* Of a descriptor: 16 bytes {le64 addr, le32 len, le16 flags, le16 next} */
#define DESC_LEN      16u
#define DESC_NEXT     1u
#define DESC_WRITE    2u
#define DESC_INDIRECT 4u

#define AVAIL_NO_INTERRUPT 1u
#define USED_NO_NOTIFY	   1u

struct desc {
	gpa_t at;
	uint32_t len;
	uint16_t flags;
	uint16_t next;
};

/*
 * Both sides use each 16-bit index as a whole. The acquire of the driver's
 * index pairs with its barrier before it wrote the index: what the index
 * covers is there. The release of ours pairs with its read barrier.
 */
static uint16_t load(const uint16_t *at)
{
	return le16toh(__atomic_load_n(at, __ATOMIC_ACQUIRE));
}

static void store(uint16_t *at, uint16_t v)
{
	__atomic_store_n(at, htole16(v), __ATOMIC_RELEASE);
}

static uint64_t avail_len(const struct virtq *vq)
{
	return 4 + 2ull * vq->layout.size + 2;
}

static uint64_t used_len(const struct virtq *vq)
{
	return 4 + 8ull * vq->layout.size + 2;
}

static const uint16_t *used_event(const struct virtq *vq)
{
	return &vq->avail[2 + vq->layout.size];
}

static uint16_t *avail_event(const struct virtq *vq)
{
	return &vq->used[2 + 4 * vq->layout.size];
}

static void dirty(const struct virtq *vq, const void *at, uint64_t len)
{
	if (vq->ram->log)
		ram_dirty(vq->ram, at, len);
}

/* A ring's place in our memory; it lies in one region. */
static void *at_once(const struct ram *ram, gpa_t at, uint64_t len)
{
	struct iovec iov;

	return ram_iov(ram, at, len, &iov, 1) == 1 ? iov.iov_base : NULL;
}

int virtq_move(struct virtq *vq)
{
	const struct virtq_layout *l = &vq->layout;
	uint8_t *desc = at_once(vq->ram, l->desc, l->size * DESC_LEN);
	uint16_t *avail = at_once(vq->ram, l->avail, avail_len(vq));
	uint16_t *used = at_once(vq->ram, l->used, used_len(vq));

	if (!desc || !avail || !used)
		return -EFAULT;
	/* The regions begin on pages, so these are aligned as checked. */
	if (((uintptr_t)avail | (uintptr_t)used) & 1)
		return -EFAULT;
	vq->desc = desc;
	vq->avail = avail;
	vq->used = used;
	return 0;
}

int virtq_start(struct virtq *vq, const struct ram *ram,
		const struct virtq_layout *layout)
{
	uint16_t size = layout->size;
	int err;

	assert(vq->state == VIRTQ_STOPPED);
	if (!size || size > VIRTQ_SIZE_MAX || (size & (size - 1)))
		return -EINVAL;
	if (layout->desc.a % 16 || layout->avail.a % 2 || layout->used.a % 4)
		return -EINVAL;
	*vq = (struct virtq){.layout = *layout, .ram = ram};
	err = virtq_move(vq);
	if (err < 0)
		return err;
	vq->next_avail = layout->base;
	/* The driver's view is the truth, also after a crash of ours. */
	vq->published = load(&vq->used[1]);
	vq->next_used = vq->published;
	vq->state = VIRTQ_RUNNING;
	return 0;
}

void virtq_stop(struct virtq *vq)
{
	assert(!vq->out);
	vq->state = VIRTQ_STOPPED;
	vq->desc = NULL;
	vq->avail = NULL;
	vq->used = NULL;
}

static int broken(struct virtq *vq)
{
	vq->state = VIRTQ_BROKEN;
	return -EBADMSG;
}

int virtq_avail(struct virtq *vq)
{
	uint16_t n;

	if (vq->state != VIRTQ_RUNNING)
		return vq->state == VIRTQ_BROKEN ? -EBADMSG : 0;
	n = (uint16_t)(load(&vq->avail[1]) - vq->next_avail);
	if (n > vq->layout.size)
		return broken(vq);
	return n;
}

static struct desc desc_of(const uint8_t *bytes)
{
	return (struct desc){
		.at = {get_le64(bytes)},
		.len = get_le32(bytes + 8),
		.flags = get_le16(bytes + 12),
		.next = get_le16(bytes + 14),
	};
}

/* A chain under way: its own table, or an indirect one. */
struct walk {
	struct iovec *iov;
	int max;
	int n;
	uint64_t len[2]; /* read, write */
	int nread;
};

/* One buffer of the chain. 0 or -EBADMSG. */
static int add(const struct virtq *vq, struct walk *w, const struct desc *d)
{
	bool is_write = d->flags & DESC_WRITE;
	int first = w->n, n;

	if (is_write && !w->len[1])
		w->nread = w->n;
	if (!is_write && w->len[1])
		return -EBADMSG; /* to read after to write: 2.7.4.2 */
	n = ram_iov(vq->ram, d->at, d->len, w->iov + w->n, w->max - w->n);
	if (n < 0)
		return -EBADMSG;
	w->len[is_write] += d->len; /* at most 2^16 of 2^32: cannot wrap */
	w->n += n;
	/* Buffers that follow each other are one: less for the kernel to do. */
	if (n == 1 && first > (is_write ? w->nread : 0)) {
		struct iovec *a = &w->iov[first - 1], *b = &w->iov[first];

		if ((uint8_t *)a->iov_base + a->iov_len == b->iov_base) {
			a->iov_len += b->iov_len;
			w->n--;
		}
	}
	return 0;
}

static int walk_indirect(const struct virtq *vq, struct walk *w,
			 const struct desc *table)
{
	uint32_t count = table->len / DESC_LEN;
	uint32_t i = 0;

	if (!count || table->len % DESC_LEN)
		return -EBADMSG;
	/* No chain is longer than a queue may be, so any longer one loops. */
	for (uint32_t left = VIRTQ_SIZE_MAX; left; left--) {
		gpa_t at = {table->at.a + (uint64_t)i * DESC_LEN};
		uint8_t bytes[DESC_LEN];
		struct desc d;

		/* Of a table that wraps, one of the two is out of memory. */
		if (ram_read(vq->ram, at, bytes, sizeof(bytes)) < 0)
			return -EBADMSG;
		d = desc_of(bytes);
		/* It may not lead to another table: 2.7.5.3.1 */
		if ((d.flags & DESC_INDIRECT) || add(vq, w, &d) < 0)
			return -EBADMSG;
		if (!(d.flags & DESC_NEXT))
			return 0;
		i = d.next;
		if (i >= count)
			return -EBADMSG;
	}
	return -EBADMSG; /* it loops */
}

static int walk_chain(const struct virtq *vq, struct walk *w, uint16_t head)
{
	uint16_t i = head;

	for (uint32_t left = vq->layout.size; left; left--) {
		uint8_t bytes[DESC_LEN];
		struct desc d;

		memcpy(bytes, vq->desc + (size_t)i * DESC_LEN, DESC_LEN);
		/* From here on the copy: the guest may change the other. */
		__atomic_signal_fence(__ATOMIC_ACQ_REL);
		d = desc_of(bytes);
		if (d.flags & DESC_INDIRECT) {
			if (!vq->layout.has_indirect || (d.flags & DESC_NEXT))
				return -EBADMSG;
			return walk_indirect(vq, w, &d);
		}
		if (add(vq, w, &d) < 0)
			return -EBADMSG;
		if (!(d.flags & DESC_NEXT))
			return 0;
		i = d.next;
		if (i >= vq->layout.size)
			return -EBADMSG;
	}
	return -EBADMSG; /* it loops */
}

static bool is_out(const struct virtq *vq, uint16_t head)
{
	return vq->is_out[head / 64] >> head % 64 & 1;
}

int virtq_pop_head(struct virtq *vq, uint16_t head, struct virtq_chain *chain,
		   struct iovec *iov, int max)
{
	struct walk w = {.iov = iov, .max = max};

	if (vq->state != VIRTQ_RUNNING)
		return -EBADMSG;
	if (head >= vq->layout.size)
		return broken(vq);
	if (is_out(vq, head))
		return broken(vq);
	if (walk_chain(vq, &w, head) < 0)
		return broken(vq);
	if (!w.len[1])
		w.nread = w.n;
	vq->is_out[head / 64] |= 1ull << head % 64;
	vq->out++;
	*chain = (struct virtq_chain){
		.head = head,
		.nread = w.nread,
		.nwrite = w.n - w.nread,
		.read_len = w.len[0],
		.write_len = w.len[1],
	};
	return 0;
}

int virtq_pop(struct virtq *vq, struct virtq_chain *chain, struct iovec *iov,
	      int max)
{
	uint16_t slot = vq->next_avail & (vq->layout.size - 1);
	uint16_t head;
	int err;

	if (vq->state != VIRTQ_RUNNING)
		return -EBADMSG;
	head = load(&vq->avail[2 + slot]);
	err = virtq_pop_head(vq, head, chain, iov, max);
	if (!err)
		vq->next_avail++;
	return err;
}

static void come_back(struct virtq *vq, uint16_t head)
{
	assert(head < vq->layout.size && is_out(vq, head));
	vq->is_out[head / 64] &= ~(1ull << head % 64);
	vq->out--;
}

void virtq_drop(struct virtq *vq, uint16_t head)
{
	come_back(vq, head);
	vq->state = VIRTQ_BROKEN;
}

void virtq_push(struct virtq *vq, uint16_t head, uint32_t written)
{
	uint16_t slot = vq->next_used & (vq->layout.size - 1);
	uint8_t *at = (uint8_t *)(vq->used + 2) + slot * 8u;

	come_back(vq, head);
	put_le32(at, head);
	put_le32(at + 4, written);
	dirty(vq, at, 8);
	vq->next_used++;
}

void virtq_publish(struct virtq *vq)
{
	if (vq->published == vq->next_used)
		return;
	vq->published = vq->next_used;
	store(&vq->used[1], vq->published);
	dirty(vq, &vq->used[1], 2);
}

bool virtq_needs_signal(struct virtq *vq)
{
	uint16_t old = vq->signalled, new = vq->published;
	bool was_valid = vq->is_signalled_valid;

	/* Our index is out before the driver's wish is read; the driver does
	 * it the other way round, so one of us sees the other. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	vq->signalled = new;
	vq->is_signalled_valid = true;
	if (!vq->layout.has_event_idx)
		return !(load(&vq->avail[0]) & AVAIL_NO_INTERRUPT);
	if (!was_valid)
		return true;
	/* Whether the entry it waits for is one of old .. new - 1. */
	return (uint16_t)(new - load(used_event(vq)) - 1) <
	       (uint16_t)(new - old);
}

void virtq_quiet(struct virtq *vq)
{
	if (vq->state != VIRTQ_RUNNING || vq->layout.has_event_idx)
		return; /* an event index left where it is says the same */
	store(&vq->used[0], USED_NO_NOTIFY);
	dirty(vq, &vq->used[0], 2);
}

bool virtq_listen(struct virtq *vq)
{
	if (vq->state != VIRTQ_RUNNING)
		return false;
	if (vq->layout.has_event_idx) {
		store(avail_event(vq), vq->next_avail);
		dirty(vq, avail_event(vq), 2);
	} else {
		store(&vq->used[0], 0);
		dirty(vq, &vq->used[0], 2);
	}
	/* As above, with the parts exchanged. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return load(&vq->avail[1]) != vq->next_avail;
}
