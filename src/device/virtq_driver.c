/* SPDX-License-Identifier: Apache-2.0 */
/* virtq_driver.c - offer chains, take them back */
#include "device/virtq_driver.h"

#include <string.h>

#include "base/array.h"
#include "wire/bytes.h"

#define DESC_LEN       16u
#define USED_NO_NOTIFY 1u

static uint16_t *avail(const struct virtq_driver *d)
{
	return (uint16_t *)(void *)(d->mem + d->layout.avail.a);
}

static uint16_t *used(const struct virtq_driver *d)
{
	return (uint16_t *)(void *)(d->mem + d->layout.used.a);
}

static uint16_t load(const uint16_t *at)
{
	return le16toh(__atomic_load_n(at, __ATOMIC_ACQUIRE));
}

static void store(uint16_t *at, uint16_t v)
{
	__atomic_store_n(at, htole16(v), __ATOMIC_RELEASE);
}

static uint64_t avail_at(uint16_t size)
{
	return (uint64_t)size * DESC_LEN;
}

static uint64_t used_at(uint16_t size)
{
	return round_up(avail_at(size) + 4 + 2ull * size + 2, 16);
}

uint64_t virtq_driver_len(uint16_t size)
{
	return round_up(used_at(size) + 4 + 8ull * size + 2, 16);
}

void virtq_driver_init(struct virtq_driver *d, uint8_t *mem, uint64_t at,
		       uint16_t size, bool has_event_idx)
{
	*d = (struct virtq_driver){
		.mem = mem,
		.layout =
			{
				.size = size,
				.has_event_idx = has_event_idx,
				.has_indirect = true,
				.desc = {at},
				.avail = {at + avail_at(size)},
				.used = {at + used_at(size)},
			},
	};
	memset(mem + at, 0, virtq_driver_len(size));
}

void virtq_desc_write(uint8_t *entry, uint64_t at, uint32_t len, uint16_t flags,
		      uint16_t next)
{
	put_le64(entry, at);
	put_le32(entry + 8, len);
	put_le16(entry + 12, flags);
	put_le16(entry + 14, next);
}

void virtq_driver_desc(struct virtq_driver *d, unsigned i, uint64_t at,
		       uint32_t len, uint16_t flags, uint16_t next)
{
	virtq_desc_write(d->mem + d->layout.desc.a + i * DESC_LEN, at, len,
			 flags, next);
}

void virtq_driver_offer(struct virtq_driver *d, uint16_t head)
{
	uint16_t slot = d->next_avail++ & (d->layout.size - 1);

	store(&avail(d)[2 + slot], head);
}

bool virtq_driver_show(struct virtq_driver *d)
{
	uint16_t old = d->kicked, new = d->next_avail;
	uint16_t event;

	store(&avail(d)[1], new);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	d->kicked = new;
	if (!d->layout.has_event_idx)
		return !(load(&used(d)[0]) & USED_NO_NOTIFY);
	event = load(&used(d)[2 + 4 * d->layout.size]);
	return (uint16_t)(new - event - 1) < (uint16_t)(new - old);
}

bool virtq_driver_take(struct virtq_driver *d, uint16_t *head, uint32_t *len)
{
	uint16_t slot = d->next_used & (d->layout.size - 1);
	const uint8_t *entry = (uint8_t *)(used(d) + 2) + slot * 8u;

	if (load(&used(d)[1]) == d->next_used)
		return false;
	*head = (uint16_t)get_le32(entry);
	*len = get_le32(entry + 4);
	d->next_used++;
	return true;
}

bool virtq_driver_listen(struct virtq_driver *d, uint16_t more)
{
	if (d->layout.has_event_idx)
		store(&avail(d)[2 + d->layout.size],
		      (uint16_t)(d->next_used + more - 1));
	else
		store(&avail(d)[0], 0);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return load(&used(d)[1]) != d->next_used;
}
