/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cache_handover_fuzz.c - the input is the description of a cache; its length,
 * its checksum and the sizes of images are made right, or hardly any would get
 * past them
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/array.h"
#include "base/crc32c.h"
#include "cache/cache.h"
#include "cache/handover.h"
#include "wire/bytes.h"

#define SLOTS	   64u
#define HEADER_LEN 40u
#define IMAGE_LEN  148u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int open_nothing(struct loop *loop, const char *address,
			char version[static BOOT_VERSION_MAX], struct blk **ret,
			struct why *why)
{
	(void)loop;
	(void)address;
	(void)version;
	(void)ret;
	(void)why;
	return -ENOENT;
}

/* Images of up to 16 MiB: each has an index as large as it says to be. */
static void make_right(uint8_t *bytes, size_t size)
{
	size_t at = HEADER_LEN;
	uint32_t n = get_le32(bytes + 32);

	for (uint32_t i = 0; i < n && i < 8 && at + IMAGE_LEN <= size; i++) {
		put_le64(bytes + at, get_le32(bytes + at) & 0xffffff);
		bytes[at + 16 + 127] = 0;
		at += IMAGE_LEN + get_le16(bytes + at + IMAGE_LEN - 4) +
		      get_le16(bytes + at + IMAGE_LEN - 2);
	}
	if (n > 8)
		put_le32(bytes + 32, 8);
	put_le32(bytes + 28, SLOTS);
	put_le64(bytes + 8, size);
	put_le32(bytes + 16, 0);
	put_le32(bytes + 16, crc32c(0, bytes, size));
}

static void tell(void *arg, const struct cache_image_stats *stats)
{
	assert(*stats->name && *stats->address);
	++*(unsigned *)arg;
}

/* What was taken in describes itself the same way. */
static void hand_on(struct cache *cache, const uint8_t *bytes, size_t size)
{
	uint8_t *again = malloc(size);
	int memory = -1, state = -1;
	unsigned nimages = 0;

	assert(again);
	cache_each(cache, tell, &nimages);
	assert(nimages == get_le32(bytes + 32));
	assert(!cache_save_state(cache, &memory, &state, NULL));
	assert(lseek(state, 0, SEEK_END) == (off_t)size);
	assert(pread(state, again, size, 0) == (ssize_t)size);
	assert(get_le32(again + 36) == get_le32(bytes + 36));
	(void)close(memory);
	(void)close(state);
	free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct cache *cache = NULL;
	uint8_t *bytes = malloc(size ? size : 1);
	int memory = memfd_create("fuzz", MFD_CLOEXEC);

	assert(bytes && memory >= 0);
	memcpy(bytes, data, size);
	if (size >= HEADER_LEN)
		make_right(bytes, size);
	assert(!ftruncate(memory, SLOTS * 65536));
	assert(!cache_new(NULL, NULL, SLOTS / 2 * 65536, open_nothing, &cache,
			  NULL));
	if (cache_load_state(cache, memory, bytes, size, NULL) < 0)
		(void)close(memory);
	else if (cache_totals(cache).used_bytes / 65536 == get_le32(bytes + 36))
		hand_on(cache, bytes, size);
	cache_free(cache);
	free(bytes);
	return 0;
}
