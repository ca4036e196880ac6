/* SPDX-License-Identifier: Apache-2.0 */
/* handover.c - describe the slots; check such a description, and take it */
#include "cache/handover.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "base/crc32c.h"
#include "base/why.h"
#include "cache/image.h"
#include "wire/bytes.h"

#define MAGIC	   "ROOSTCA1"
#define HEADER_LEN 40u
#define CRC_AT	   16u
#define IMAGE_LEN  (8u + 8u + BOOT_VERSION_MAX + 2u + 2u)
#define SLOT_LEN   16u
/* Bytes of a name or an address; ours are paths and URLs. */
#define TEXT_MAX 8192u

enum { IS_BOOT = 1, IS_MAIN = 2 };

static bool is_worth_it(const struct image *image)
{
	return image->index && image->identity.size &&
	       strlen(image->name) <= TEXT_MAX &&
	       strlen(image->address) <= TEXT_MAX;
}

/* ---- save ---- */

struct saving {
	struct cache *cache;
	uint8_t *at; /* where the next slot goes; NULL: only count */
	uint32_t nslots;
	/* Slots of one image mostly follow each other. */
	const struct image *last;
	uint32_t last_number;
};

/* Its number among those that are worth it. */
static uint32_t number_of(struct saving *saving, const struct image *image)
{
	struct list *at, *tmp;
	uint32_t number = 0;

	if (saving->last == image)
		return saving->last_number;
	list_for_each(at, tmp, &saving->cache->images)
	{
		struct image *other = container_of(at, struct image, list);

		if (other == image)
			break;
		number += is_worth_it(other);
	}
	saving->last = image;
	saving->last_number = number;
	return number;
}

static void save_slot(void *arg, uint32_t i, const struct slot *slot,
		      bool is_main)
{
	struct saving *saving = arg;
	const struct image *image = slot->owner;
	uint8_t *at = saving->at;

	if (!slot->valid || !is_worth_it(image))
		return;
	saving->nslots++;
	if (!at)
		return;
	put_le32(at, i);
	put_le32(at + 4, number_of(saving, image));
	put_le32(at + 8, slot->block);
	put_le16(at + 12, slot->valid);
	at[14] = (uint8_t)((slot->is_boot ? IS_BOOT : 0) |
			   (is_main ? IS_MAIN : 0));
	at[15] = slot->freq;
	saving->at = at + SLOT_LEN;
}

static uint8_t *save_image(uint8_t *at, const struct image *image)
{
	size_t name = strlen(image->name), address = strlen(image->address);

	put_le64(at, image->identity.size);
	put_le64(at + 8, image->identity.fingerprint);
	memcpy(at + 16, image->identity.version, BOOT_VERSION_MAX);
	at += 16 + BOOT_VERSION_MAX;
	put_le16(at, (uint16_t)name);
	put_le16(at + 2, (uint16_t)address);
	memcpy(at + 4, image->name, name);
	memcpy(at + 4 + name, image->address, address);
	return at + 4 + name + address;
}

static int encode(struct cache *cache, uint8_t **ret, size_t *ret_len)
{
	struct saving saving = {.cache = cache};
	struct list *at, *tmp;
	uint32_t nimages = 0;
	size_t len = HEADER_LEN;
	uint8_t *bytes, *to;

	list_for_each(at, tmp, &cache->images)
	{
		struct image *image = container_of(at, struct image, list);

		if (!is_worth_it(image))
			continue;
		nimages++;
		len += IMAGE_LEN + strlen(image->name) + strlen(image->address);
	}
	slots_each(cache->slots, save_slot, &saving);
	len += (size_t)saving.nslots * SLOT_LEN;
	bytes = calloc(1, len);
	if (!bytes)
		return -ENOMEM;

	memcpy(bytes, MAGIC, 8);
	put_le64(bytes + 8, len);
	put_le32(bytes + 20, SLOT_BYTES);
	put_le32(bytes + 24, PAGE_BYTES);
	put_le32(bytes + 28, slots_counts(cache->slots).total);
	put_le32(bytes + 32, nimages);
	put_le32(bytes + 36, saving.nslots);
	to = bytes + HEADER_LEN;
	list_for_each(at, tmp, &cache->images)
	{
		struct image *image = container_of(at, struct image, list);

		if (is_worth_it(image))
			to = save_image(to, image);
	}
	saving.at = to;
	slots_each(cache->slots, save_slot, &saving);
	put_le32(bytes + CRC_AT, crc32c(0, bytes, len));
	*ret = bytes;
	*ret_len = len;
	return 0;
}

int cache_save_state(struct cache *cache, int *ret_memory, int *ret_state,
		     struct why *w)
{
	CLEANUP(cleanup_free) uint8_t *bytes = NULL;
	CLEANUP(cleanup_fd) int memory = -1;
	CLEANUP(cleanup_fd) int state = -1;
	size_t len = 0;
	int err = encode(cache, &bytes, &len);

	if (err < 0)
		return why(w, err, "hand the cache over");
	state = memfd_create("roost-cache-state", MFD_CLOEXEC);
	for (size_t done = 0; state >= 0 && done < len;) {
		ssize_t n =
			pwrite(state, bytes + done, len - done, (off_t)done);

		if (n < 0)
			return why(w, -errno, "hand the cache over");
		done += (size_t)n;
	}
	memory = fcntl(slots_memfd(cache->slots), F_DUPFD_CLOEXEC, 0);
	if (state < 0 || memory < 0)
		return why(w, -errno, "hand the cache over");
	*ret_memory = take_fd(&memory);
	*ret_state = take_fd(&state);
	return 0;
}

void cache_drop_records(struct cache *cache)
{
	struct list *at, *tmp;

	list_for_each(at, tmp, &cache->images)
	{
		struct image *image = container_of(at, struct image, list);

		if (!image->recorder)
			continue;
		loop_timer_cancel(&image->recorder_timer);
		image->recorder = recorder_free(image->recorder);
		image->leader = NULL;
	}
}

/* ---- load ---- */

/* Nothing of the cache is touched before all of it has been looked at. */
struct loading {
	struct cache *cache;
	struct bytes b;
	uint32_t total, nimages, nslots;
	struct image **images; /* in the cache's list already */
	uint8_t *is_taken; /* by slot number, of the predecessor's */
};

static int parse_header(struct loading *l, const uint8_t *bytes, size_t len)
{
	const void *magic = bytes_take(&l->b, 8);
	uint64_t said = bytes_le64(&l->b);
	uint32_t crc = bytes_le32(&l->b);
	uint32_t slot_bytes = bytes_le32(&l->b);
	uint32_t page_bytes = bytes_le32(&l->b);
	static const uint8_t none[4];
	uint32_t sum;

	l->total = bytes_le32(&l->b);
	l->nimages = bytes_le32(&l->b);
	l->nslots = bytes_le32(&l->b);
	if (l->b.is_bad || memcmp(magic, MAGIC, 8) || said != len)
		return -EBADMSG;
	sum = crc32c(0, bytes, CRC_AT);
	sum = crc32c(sum, none, sizeof(none));
	sum = crc32c(sum, bytes + CRC_AT + 4, len - CRC_AT - 4);
	if (sum != crc || slot_bytes != SLOT_BYTES || page_bytes != PAGE_BYTES)
		return -EBADMSG;
	/* Both fit into what there is, so the arrays are no larger than it. */
	if (l->nimages > l->b.left / IMAGE_LEN ||
	    l->nslots > l->b.left / SLOT_LEN || l->nslots > l->total)
		return -EBADMSG;
	return 0;
}

/* A text of @len bytes; NULL: it is none, or there is no memory. */
static char *parse_text(struct bytes *b, uint16_t len)
{
	const char *text = bytes_take(b, len);

	if (!text || !len || len > TEXT_MAX || memchr(text, 0, len))
		return NULL;
	return strndup(text, len);
}

static bool is_known(const struct loading *l, uint32_t n, const char *address)
{
	for (uint32_t i = 0; i < n; i++)
		if (!strcmp(l->images[i]->address, address))
			return true;
	return false;
}

static int parse_image(struct loading *l, uint32_t i)
{
	struct boot_identity identity = {.size = bytes_le64(&l->b)};
	CLEANUP(cleanup_free) char *name = NULL;
	CLEANUP(cleanup_free) char *address = NULL;
	uint64_t nblocks = div_up(identity.size, SLOT_BYTES);
	struct cache_image_options options = {0};
	const char *version;
	uint16_t name_len, address_len;
	struct image *image;

	identity.fingerprint = bytes_le64(&l->b);
	version = bytes_take(&l->b, BOOT_VERSION_MAX);
	name_len = bytes_le16(&l->b);
	address_len = bytes_le16(&l->b);
	name = parse_text(&l->b, name_len);
	address = parse_text(&l->b, address_len);
	if (!name || !address || !version || version[BOOT_VERSION_MAX - 1] ||
	    !nblocks || nblocks > UINT32_MAX / SLOT_PAGES ||
	    is_known(l, i, address))
		return -EBADMSG;
	memcpy(identity.version, version, BOOT_VERSION_MAX);
	options.name = name;
	options.address = address;
	if (image_new(l->cache, &options, &image) < 0)
		return -ENOMEM;
	l->images[i] = image;
	image->is_handed_over = true;
	image->identity = identity;
	image->index = calloc(nblocks + 1, sizeof(*image->index));
	image->tier_index = calloc(nblocks + 1, sizeof(*image->tier_index));
	image->nblocks = (uint32_t)nblocks;
	return image->index && image->tier_index ? 0 : -ENOMEM;
}

/* One slot, checked as far as it can be for itself; its owner is known. */
static int parse_slot(const struct loading *l, struct bytes *b, uint32_t *ret_i,
		      struct slot *ret, bool *ret_is_main)
{
	uint32_t i = bytes_le32(b), number = bytes_le32(b);
	struct slot slot = {.block = bytes_le32(b), .valid = bytes_le16(b)};
	uint8_t flags = bytes_u8(b);
	struct image *image;
	uint64_t pages;

	slot.freq = bytes_u8(b);
	if (b->is_bad || !i || i > l->total || number >= l->nimages ||
	    (flags & ~(IS_BOOT | IS_MAIN)) || slot.freq > 3 || !slot.valid)
		return -EBADMSG;
	image = l->images[number];
	if (slot.block >= image->nblocks)
		return -EBADMSG;
	/* The last slot of an image may have fewer pages. */
	pages = div_up(image->identity.size, PAGE_BYTES) -
		(uint64_t)slot.block * SLOT_PAGES;
	if (pages < SLOT_PAGES && slot.valid >> pages)
		return -EBADMSG;
	slot.owner = image;
	slot.is_boot = flags & IS_BOOT;
	*ret_i = i;
	*ret = slot;
	*ret_is_main = flags & IS_MAIN;
	return 0;
}

/* Each slot is named once, and each block of an image. */
static int check_slots(struct loading *l)
{
	struct bytes b = l->b;
	struct slot slot;
	bool is_main;
	uint32_t i;

	if (l->b.left != (size_t)l->nslots * SLOT_LEN)
		return -EBADMSG;
	for (uint32_t n = 0; n < l->nslots; n++) {
		struct image *image;

		if (parse_slot(l, &b, &i, &slot, &is_main) < 0)
			return -EBADMSG;
		image = slot.owner;
		if (image->index[slot.block] ||
		    (l->is_taken[i / 8] >> i % 8 & 1))
			return -EBADMSG;
		l->is_taken[i / 8] |= (uint8_t)(1u << i % 8);
		image->index[slot.block] = i;
	}
	return 0;
}

static void adopt(struct loading *l)
{
	uint32_t total = slots_counts(l->cache->slots).total;
	struct slot slot;
	bool is_main;
	uint32_t i;

	for (uint32_t n = 0; n < l->nslots; n++) {
		struct image *image;

		(void)parse_slot(l, &l->b, &i, &slot, &is_main);
		image = slot.owner;
		if (i <= total)
			slots_adopt(l->cache->slots, i, &slot, is_main);
		else
			image->index[slot.block] = 0;
	}
	slots_adopt_end(l->cache->slots);
}

/* The images have no slots yet, whatever their indices say. */
static void forget(struct loading *l)
{
	for (uint32_t i = 0; l->images && i < l->nimages; i++) {
		if (!l->images[i])
			continue;
		l->images[i]->nblocks = 0;
		image_free(l->images[i]);
	}
}

/* Is the memory as long as the description has it? */
static int check_memory(int memory, uint32_t total)
{
	struct stat st;

	if (fstat(memory, &st) < 0)
		return -errno;
	return S_ISREG(st.st_mode) && (uint64_t)st.st_size ==
					      (uint64_t)total * SLOT_BYTES
		       ? 0
		       : -EBADMSG;
}

int cache_load_state(struct cache *cache, int memory, const void *state,
		     size_t len, struct why *w)
{
	struct loading l = {.cache = cache, .b = {.at = state, .left = len}};
	int err;

	if (!list_is_empty(&cache->images))
		return why(w, -EBUSY, "the cache is in use");
	err = parse_header(&l, state, len);
	if (!err)
		err = check_memory(memory, l.total);
	if (!err) {
		l.images = calloc(l.nimages + 1, sizeof(struct image *));
		l.is_taken = calloc(l.total / 8 + 1, 1);
		if (!l.images || !l.is_taken)
			err = -ENOMEM;
	}
	for (uint32_t i = 0; !err && i < l.nimages; i++)
		err = parse_image(&l, i);
	if (!err)
		err = check_slots(&l);
	if (!err)
		err = slots_adopt_memfd(cache->slots, memory);
	if (!err)
		adopt(&l);
	else
		forget(&l);
	free(l.images);
	free(l.is_taken);
	return err < 0 ? why(w, err, "the cache that was handed over") : 0;
}
