/* SPDX-License-Identifier: Apache-2.0 */
/* tier.c - entries that a hand goes round, and writes behind */
#include "cache/tier.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/blk.h"
#include "base/crc32c.h"

#define WRITES_MAX 32u /* on their way at once; a buffer of 64 KiB each */

struct entry {
	uint32_t *word; /* the owner's; NULL: free */
	uint16_t valid; /* 0 while it is written */
	uint16_t pins;
	uint32_t crc[SLOT_PAGES];
};

struct write {
	struct blk_req req;
	struct iovec iov;
	struct tier *tier;
	struct write *next; /* of tier.idle */
	uint32_t entry;
	uint16_t valid;
	uint8_t *buf;
};

struct tier {
	struct blk *file;
	struct entry *entry; /* [0] is none */
	uint32_t hand; /* the entry to overwrite next */
	uint32_t pinned; /* entries with pins */
	struct write *idle;
	void (*on_idle)(void *arg); /* or NULL */
	void *on_idle_arg;
	struct tier_counts counts;
	struct write writes[WRITES_MAX];
};

int tier_new(struct blk *file, struct tier **ret)
{
	uint64_t total = file->size / SLOT_BYTES;
	struct tier *tier;
	uint8_t *bufs;

	if (!total || total > UINT32_MAX / 2)
		return -EINVAL;
	tier = calloc(1, sizeof(*tier));
	if (!tier)
		return -ENOMEM;
	tier->entry = calloc(total + 1, sizeof(*tier->entry));
	bufs = aligned_alloc(PAGE_BYTES, (size_t)WRITES_MAX * SLOT_BYTES);
	if (!tier->entry || !bufs) {
		free(bufs);
		free(tier->entry);
		free(tier);
		return -ENOMEM;
	}
	tier->file = file;
	tier->hand = 1;
	tier->counts.total = (uint32_t)total;
	for (uint32_t i = 0; i < WRITES_MAX; i++) {
		tier->writes[i].tier = tier;
		tier->writes[i].buf = bufs + (size_t)i * SLOT_BYTES;
		tier->writes[i].next = tier->idle;
		tier->idle = &tier->writes[i];
	}
	*ret = tier;
	return 0;
}

struct tier *tier_free(struct tier *tier)
{
	if (!tier)
		return NULL;
	assert(!tier_is_busy(tier));
	blk_free(tier->file);
	free(tier->writes[0].buf);
	free(tier->entry);
	free(tier);
	return NULL;
}

void tier_on_idle(struct tier *tier, void (*idle)(void *), void *arg)
{
	tier->on_idle = idle;
	tier->on_idle_arg = arg;
}

bool tier_is_busy(const struct tier *tier)
{
	return tier->pinned > 0;
}

static void pin(struct tier *tier, uint32_t i)
{
	tier->pinned += tier->entry[i].pins++ == 0;
}

static void unpin(struct tier *tier, uint32_t i)
{
	assert(tier->entry[i].pins);
	tier->pinned -= --tier->entry[i].pins == 0;
	if (!tier->pinned && tier->on_idle)
		tier->on_idle(tier->on_idle_arg);
}

void tier_drop(struct tier *tier, uint32_t i)
{
	struct entry *entry = &tier->entry[i];

	if (!i || !entry->word)
		return;
	*entry->word = 0;
	entry->word = NULL;
	entry->valid = 0;
	tier->counts.used--;
}

/* The next entry under the hand that may be overwritten, emptied; or 0. */
static uint32_t next_entry(struct tier *tier)
{
	for (uint32_t looks = 0; looks < tier->counts.total; looks++) {
		uint32_t i = tier->hand;

		tier->hand = i < tier->counts.total ? i + 1 : 1;
		if (tier->entry[i].pins)
			continue;
		tier_drop(tier, i);
		return i;
	}
	return 0;
}

static void write_done(struct blk_req *req, int res)
{
	struct write *write = container_of(req, struct write, req);
	struct tier *tier = write->tier;
	struct entry *entry = &tier->entry[write->entry];

	if (res < 0)
		tier_drop(tier, write->entry);
	else if (entry->word) /* not dropped meanwhile */
		entry->valid = write->valid;
	write->next = tier->idle;
	tier->idle = write;
	unpin(tier, write->entry);
}

void tier_put(struct tier *tier, uint32_t *word, const void *bytes,
	      uint16_t valid)
{
	struct write *write = tier->idle;
	struct entry *entry;
	uint32_t i;

	if (!valid || (*word && (valid & ~tier->entry[*word].valid) == 0))
		return; /* it is here already */
	if (*word && tier->entry[*word].pins)
		return; /* being written, or read: let it be */
	tier_drop(tier, *word);
	i = write ? next_entry(tier) : 0;
	if (!i) {
		tier->counts.dropped++;
		return;
	}
	tier->idle = write->next;
	entry = &tier->entry[i];
	entry->word = word;
	entry->valid = 0;
	*word = i;
	tier->counts.used++;
	tier->counts.writes++;
	memcpy(write->buf, bytes, SLOT_BYTES);
	for (uint32_t k = 0; k < SLOT_PAGES; k++)
		entry->crc[k] = crc32c(0, write->buf + (size_t)k * PAGE_BYTES,
				       PAGE_BYTES);
	pin(tier, i);
	write->entry = i;
	write->valid = valid;
	write->iov = (struct iovec){write->buf, SLOT_BYTES};
	write->req = (struct blk_req){
		.op = BLK_WRITE,
		.flags = BLK_LOW,
		.offset = (uint64_t)(i - 1) * SLOT_BYTES,
		.len = SLOT_BYTES,
		.iov = &write->iov,
		.niov = 1,
		.done = write_done,
	};
	blk_submit(tier->file, &write->req);
}

uint16_t tier_valid(const struct tier *tier, uint32_t i)
{
	return tier->entry[i].valid;
}

uint64_t tier_get(struct tier *tier, uint32_t i)
{
	pin(tier, i);
	return (uint64_t)(i - 1) * SLOT_BYTES;
}

void tier_put_back(struct tier *tier, uint32_t i)
{
	unpin(tier, i);
}

bool tier_is_whole(struct tier *tier, uint32_t i, uint32_t first, uint32_t n,
		   const void *bytes)
{
	const uint8_t *at = bytes;

	for (uint32_t k = first; k < first + n; k++, at += PAGE_BYTES)
		if (crc32c(0, at, PAGE_BYTES) != tier->entry[i].crc[k]) {
			tier->counts.damaged++;
			return false;
		}
	return true;
}

struct blk *tier_file(struct tier *tier)
{
	return tier->file;
}

struct tier_counts tier_counts(const struct tier *tier)
{
	return tier->counts;
}
