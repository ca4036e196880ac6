/* SPDX-License-Identifier: Apache-2.0 */
/*
 * map.h - boot workload map: which blocks of an image a boot reads, in which
 * phase of the boot, and where each of them is in the boot segment
 *
 * The map is a bitmap over the image's 4 KiB blocks for each phase of the boot
 * (a batch), the phases in order. The segment is a file that holds exactly
 * those blocks, batch after batch and inside a batch in bit order. So the
 * place of a block in the segment, its rank, is the number of blocks in the
 * batches before its own plus the number of set bits before it in its own.
 * No list of addresses is kept anywhere.
 *
 * A bitmap is held as runs of set bits, sorted: boot reads are long runs in a
 * large image, and rank and its inverse are a binary search.
 *
 * The segment is cut into extents of BOOT_EXTENT_BLOCKS ranks, the unit that
 * is read, checksummed and perhaps compressed; so block of rank r is in extent
 * r / BOOT_EXTENT_BLOCKS.
 *
 * Invariants, which boot/map_check.c checks of every map that is read:
 *
 * (1) The runs of a batch ascend and do not touch; all lie in the image.
 * (2) No block is in two batches.
 * (3) Extents lie in the segment in order, without overlap.
 */
#ifndef BOOT_MAP_H
#define BOOT_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BOOT_BLOCK	   4096u /* bytes */
#define BOOT_EXTENT_BLOCKS 256u /* 1 MiB: a sequential read's best size */
#define BOOT_EXTENT_BYTES  (BOOT_BLOCK * BOOT_EXTENT_BLOCKS)
#define BOOT_HISTORY	   8u /* boots that a map remembers */
#define BOOT_VERSION_MAX   128u /* as STORE_VERSION_MAX */
/* Most blocks of a map: a boot set of 16 GiB is not a boot set. */
#define BOOT_BLOCKS_MAX	 (4u << 20)
#define BOOT_BATCHES_MAX 1024u

/**
 * struct boot_identity - of which image a map speaks
 * @size:	bytes of the image
 * @fingerprint: of sampled blocks of the image; see boot/fingerprint.h
 * @version:	the store's version of it, or empty; with its final 0
 */
struct boot_identity {
	uint64_t size;
	uint64_t fingerprint;
	char version[BOOT_VERSION_MAX];
};

/** struct boot_run - blocks @first to @first + @count - 1 of the image */
struct boot_run {
	uint32_t first;
	uint32_t count;
	uint32_t rank; /* of @first */
};

/** struct boot_batch - a phase of the boot: runs[first_run] and so on */
struct boot_batch {
	uint32_t first_run;
	uint32_t nruns;
	uint32_t rank; /* of its first block */
	uint32_t nblocks;
	uint32_t start_ms; /* when in the boot it begins, from the opening */
	bool is_tail; /* read by some boots only: prefetched last */
};

enum boot_codec { BOOT_PLAIN, BOOT_ZSTD, BOOT_CODEC_MAX };

/** struct boot_extent - where a stretch of ranks is in the segment file */
struct boot_extent {
	uint64_t offset; /* bytes from the start of the segment file */
	uint32_t stored; /* bytes there */
	uint32_t crc; /* CRC-32C of the stored bytes */
	enum boot_codec codec;
};

/**
 * struct boot_map - all of it; arrays are owned
 * @identity:	the image that it speaks of
 * @segment_id:	names the segment file that belongs to it, and no other; 0 in
 *		a map that has no segment yet
 * @segment_size: bytes of that file
 * @created_s:	seconds since 1970 at which the segment was written
 * @boots:	boots merged into it so far
 * @runs, @batches, @extents: as above; @nextents is @nblocks /
 *		BOOT_EXTENT_BLOCKS rounded up
 * @seen:	a byte per rank: bit i is set if the i-th last boot read it
 */
struct boot_map {
	struct boot_identity identity;
	uint64_t segment_id;
	uint64_t segment_size;
	uint64_t created_s;
	uint32_t boots;
	uint32_t nblocks;
	uint32_t nruns, nbatches, nextents;
	struct boot_run *runs;
	struct boot_batch *batches;
	struct boot_extent *extents;
	uint8_t *seen;
};

/** boot_map_free() - @map may be NULL or half made. Return: NULL. */
struct boot_map *boot_map_free(struct boot_map *map);

/** boot_map_copy() - Return: boot_map_free() it; NULL without memory. */
struct boot_map *boot_map_copy(const struct boot_map *map);

/**
 * boot_map_find() - the rank of a block
 * @block:	number of the block in the image
 * @ret:	its rank; untouched if it is not in the map
 *
 * A binary search in each batch: call it on a miss, not on each read.
 *
 * Return: whether the map has it.
 */
bool boot_map_find(const struct boot_map *map, uint32_t block, uint32_t *ret);

/**
 * boot_map_blocks() - the blocks at a stretch of ranks
 * @rank:	the first; @rank + @n is at most map->nblocks
 * @blocks:	filled with the @n numbers of the blocks in the image
 */
void boot_map_blocks(const struct boot_map *map, uint32_t rank, uint32_t n,
		     uint32_t *blocks);

/** boot_map_extent_blocks() - how many blocks extent @i holds */
uint32_t boot_map_extent_blocks(const struct boot_map *map, uint32_t i);

#endif
