/* SPDX-License-Identifier: Apache-2.0 */
/* slots.c - slots in a memfd, two queues of them, and a memory of the gone */
#include "cache/slots.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/array.h"
#include "base/why.h"

#define SLOTS_MIN     16u
#define SMALL_PERCENT 10u /* of the slots, as the paper has it */

enum {
	FREE, /* linked through next only */
	SMALL,
	MAIN,
	QUEUES
};

struct queue {
	uint32_t first, last; /* the oldest is the first */
	uint32_t count;
};

struct slots {
	struct slot *slot; /* [0] is none */
	uint8_t *bytes;
	uint64_t size;
	int memfd;
	uint32_t total, used;
	uint32_t boot, boot_max; /* protected slots, and the quota */
	uint32_t untouched; /* slots from here on were never used */
	struct queue queue[QUEUES];
	/* Evicted from small a while ago: a tag in the place of its hash. One
	 * that is overwritten is forgotten early, which does no harm. */
	uint32_t *ghost;
	uint32_t ghost_mask;
	uint64_t evictions;
	void (*evicted)(void *owner, uint32_t block, struct slot *slot);
};

static void push(struct slots *slots, uint8_t queue, uint32_t i)
{
	struct queue *q = &slots->queue[queue];
	struct slot *slot = &slots->slot[i];

	slot->queue = queue;
	slot->prev = q->last;
	slot->next = 0;
	if (q->last)
		slots->slot[q->last].next = i;
	else
		q->first = i;
	q->last = i;
	q->count++;
}

static void unlink_slot(struct slots *slots, uint32_t i)
{
	struct slot *slot = &slots->slot[i];
	struct queue *q = &slots->queue[slot->queue];

	if (slot->prev)
		slots->slot[slot->prev].next = slot->next;
	else
		q->first = slot->next;
	if (slot->next)
		slots->slot[slot->next].prev = slot->prev;
	else
		q->last = slot->prev;
	q->count--;
}

static uint64_t hash(const void *owner, uint32_t block)
{
	uint64_t h = ((uintptr_t)owner >> 4) + block * 0x9e3779b97f4a7c15ull;

	h ^= h >> 29;
	h *= 0xbf58476d1ce4e5b9ull;
	return h ^ (h >> 32);
}

/* Remember that @block is gone; a tag is never 0. */
static void ghost_add(struct slots *slots, const struct slot *slot)
{
	uint64_t h = hash(slot->owner, slot->block);

	slots->ghost[h & slots->ghost_mask] = (uint32_t)(h >> 32) | 1;
}

static bool ghost_take(struct slots *slots, const void *owner, uint32_t block)
{
	uint64_t h = hash(owner, block);
	uint32_t *at = &slots->ghost[h & slots->ghost_mask];

	if (*at != ((uint32_t)(h >> 32) | 1))
		return false;
	*at = 0;
	return true;
}

static void clear(struct slots *slots, uint32_t i)
{
	struct slot *slot = &slots->slot[i];

	assert(!slot->pins);
	unlink_slot(slots, i);
	slots->boot -= slot->is_boot;
	*slot = (struct slot){0};
	slots->used--;
}

static void evict(struct slots *slots, uint32_t i)
{
	struct slot *slot = &slots->slot[i];

	if (slot->queue == SMALL)
		ghost_add(slots, slot);
	slots->evicted(slot->owner, slot->block, slot);
	clear(slots, i);
	slots->evictions++;
}

/* A slot that is free now, or 0. Each look at a slot evicts it, lowers its
 * freq, or finds it pinned or protected; so four rounds see all there is. */
static uint32_t make_room(struct slots *slots)
{
	for (uint64_t looks = 4ull * slots->total; looks; looks--) {
		struct queue *small = &slots->queue[SMALL];
		struct queue *main = &slots->queue[MAIN];
		bool from_small =
			small->count > 0 &&
			(!main->count ||
			 small->count >= slots->total * SMALL_PERCENT / 100);
		uint32_t i = from_small ? small->first : main->first;
		struct slot *slot = &slots->slot[i];

		if (!i)
			return 0;
		if (slot->pins || slot->is_boot) {
			unlink_slot(slots, i);
			push(slots, MAIN, i);
			/* A full quota of boot sets gives way to newer ones. */
			if (slot->is_boot && slots->boot > slots->boot_max) {
				slot->is_boot = false;
				slots->boot--;
			}
			continue;
		}
		if (from_small && slot->freq > 1) {
			unlink_slot(slots, i);
			slot->freq = 0;
			push(slots, MAIN, i);
			continue;
		}
		if (!from_small && slot->freq) {
			unlink_slot(slots, i);
			slot->freq--;
			push(slots, MAIN, i);
			continue;
		}
		evict(slots, i);
		return i;
	}
	return 0;
}

uint32_t slots_take(struct slots *slots, void *owner, uint32_t block,
		    bool is_boot)
{
	struct slot *slot;
	uint32_t i = slots->queue[FREE].first;

	if (i) {
		slots->queue[FREE].first = slots->slot[i].next;
		slots->queue[FREE].count--;
	} else if (slots->untouched <= slots->total) {
		i = slots->untouched++;
	} else {
		i = make_room(slots);
		if (!i)
			return 0;
	}
	slot = &slots->slot[i];
	*slot = (struct slot){
		.owner = owner,
		.block = block,
		.is_boot = is_boot,
	};
	slots->used++;
	slots->boot += is_boot;
	push(slots, ghost_take(slots, owner, block) ? MAIN : SMALL, i);
	return i;
}

void slots_drop(struct slots *slots, uint32_t i)
{
	clear(slots, i);
	slots->slot[i].next = slots->queue[FREE].first;
	slots->queue[FREE].first = i;
	slots->queue[FREE].count++;
}

struct slot *slots_at(struct slots *slots, uint32_t i)
{
	return &slots->slot[i];
}

void *slots_bytes(struct slots *slots, uint32_t i)
{
	return slots->bytes + (uint64_t)(i - 1) * SLOT_BYTES;
}

struct slots_counts slots_counts(const struct slots *slots)
{
	return (struct slots_counts){
		.total = slots->total,
		.used = slots->used,
		.boot = slots->boot,
		.evictions = slots->evictions,
	};
}

void slots_each(struct slots *slots,
		void (*tell)(void *, uint32_t, const struct slot *, bool),
		void *arg)
{
	for (int queue = SMALL; queue <= MAIN; queue++)
		for (uint32_t i = slots->queue[queue].first; i;
		     i = slots->slot[i].next)
			tell(arg, i, &slots->slot[i], queue == MAIN);
}

int slots_memfd(const struct slots *slots)
{
	return slots->memfd;
}

int slots_adopt_memfd(struct slots *slots, int memfd)
{
	void *bytes;

	assert(!slots->used);
	if (ftruncate(memfd, (off_t)slots->size) < 0)
		return -errno;
	bytes = mmap(NULL, slots->size, PROT_READ | PROT_WRITE,
		     MAP_SHARED | MAP_NORESERVE, memfd, 0);
	if (bytes == MAP_FAILED)
		return -errno;
	(void)munmap(slots->bytes, slots->size);
	(void)close(slots->memfd);
	slots->bytes = bytes;
	slots->memfd = memfd;
	slots->queue[FREE] = (struct queue){0};
	slots->untouched = 1;
	return 0;
}

void slots_adopt(struct slots *slots, uint32_t i, const struct slot *from,
		 bool is_main)
{
	assert(i && i <= slots->total && !slots->slot[i].owner);
	slots->slot[i] = (struct slot){
		.owner = from->owner,
		.block = from->block,
		.valid = from->valid,
		.freq = from->freq,
		.is_boot = from->is_boot,
	};
	slots->used++;
	slots->boot += from->is_boot;
	push(slots, is_main ? MAIN : SMALL, i);
	if (slots->untouched <= i)
		slots->untouched = i + 1;
}

void slots_adopt_end(struct slots *slots)
{
	for (uint32_t i = slots->untouched - 1; i; i--) {
		if (slots->slot[i].owner)
			continue;
		slots->slot[i].next = slots->queue[FREE].first;
		slots->queue[FREE].first = i;
		slots->queue[FREE].count++;
	}
}

int slots_new(uint64_t bytes, unsigned boot_percent,
	      void (*evicted)(void *, uint32_t, struct slot *),
	      struct slots **ret, struct why *w)
{
	uint64_t total = bytes / SLOT_BYTES;
	struct slots *slots;
	uint32_t nghost = 1;
	int err;

	if (total < SLOTS_MIN || total > UINT32_MAX / 8)
		return why(w, -EINVAL, "cache size %llu: at least %llu bytes",
			   (unsigned long long)bytes,
			   (unsigned long long)SLOTS_MIN * SLOT_BYTES);
	slots = calloc(1, sizeof(*slots));
	if (!slots)
		return why(w, -ENOMEM, "cache");
	slots->size = total * SLOT_BYTES;
	slots->total = (uint32_t)total;
	slots->untouched = 1;
	slots->boot_max = (uint32_t)(total * boot_percent / 100);
	slots->evicted = evicted;
	while (nghost < slots->total)
		nghost *= 2;
	slots->ghost_mask = nghost - 1;
	slots->ghost = calloc(nghost, sizeof(*slots->ghost));
	slots->slot = calloc(total + 1, sizeof(*slots->slot));
	slots->bytes = MAP_FAILED;
	slots->memfd = memfd_create("roost-cache", MFD_CLOEXEC);
	if (slots->memfd >= 0 &&
	    ftruncate(slots->memfd, (off_t)slots->size) == 0)
		slots->bytes =
			mmap(NULL, slots->size, PROT_READ | PROT_WRITE,
			     MAP_SHARED | MAP_NORESERVE, slots->memfd, 0);
	if (slots->bytes == MAP_FAILED) {
		err = -errno;
		slots->bytes = NULL;
		slots_free(slots);
		return why(w, err, "cache of %llu bytes",
			   (unsigned long long)bytes);
	}
	if (!slots->ghost || !slots->slot) {
		slots_free(slots);
		return why(w, -ENOMEM, "cache");
	}
	*ret = slots;
	return 0;
}

struct slots *slots_free(struct slots *slots)
{
	if (!slots)
		return NULL;
	if (slots->bytes)
		(void)munmap(slots->bytes, slots->size);
	if (slots->memfd >= 0)
		(void)close(slots->memfd);
	free(slots->ghost);
	free(slots->slot);
	free(slots);
	return NULL;
}
