/* SPDX-License-Identifier: Apache-2.0 */
/*
 * qcow2_fmt.h - QEMU's image format, in the one layout that we write
 *
 * The format leaves open where things lie in the file; we put them in fixed
 * places, written once when the image is made. So where a guest's byte lies is
 * arithmetic, no reference count ever changes, and all that does change later
 * are the two bitmaps of 32 bits of each cluster. Any QEMU from 5.2 on reads
 * and writes such an image.
 *
 * In clusters of 128 KiB:
 *
 *	0		header, extensions, the base's name
 *	1, 2		refcount table, and a second place for it (growing)
 *	3		L1 table: one entry per chunk
 *	4 ...		groups
 *
 *	group:		refcount block and a second place for it, then 127
 *			chunks. Counts have one bit, so a block counts 128 GiB
 *			of file: more than its group has.
 *	chunk:		an L2 table, then the 8192 clusters that it maps: 1 GiB
 *			of the guest's disk. The last chunk is whole too,
 *			however much of it the disk uses: files are sparse.
 *
 * An L2 entry (extended: 16 bytes) is the cluster's place, never changed, and
 * a bitmap: for each of the 32 subclusters of 4 KiB one bit in the low half
 * that says "is here", and one in the high half that says "is zeroes". With
 * neither the base shows through; both is not allowed.
 */
#ifndef WIRE_QCOW2_FMT_H
#define WIRE_QCOW2_FMT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/array.h"

struct why;

#define QCOW2_SUB	     4096ull /* bytes of a subcluster */
#define QCOW2_SUBS	     32u /* subclusters of a cluster */
#define QCOW2_CLUSTER	     (QCOW2_SUBS * QCOW2_SUB)
#define QCOW2_CHUNK_CLUSTERS 8192u /* L2 entries of 16 bytes in a cluster */
#define QCOW2_CHUNK	     (QCOW2_CHUNK_CLUSTERS * QCOW2_CLUSTER)
#define QCOW2_CHUNKS_MAX     16384u /* L1 entries of 8 bytes in a cluster */
#define QCOW2_SIZE_MAX	     (QCOW2_CHUNKS_MAX * QCOW2_CHUNK)
#define QCOW2_ENTRY	     16u /* bytes of an L2 entry */
#define QCOW2_SECTOR	     512u /* a disk's size is a multiple of it */

#define QCOW2_HEADER_SIZE 4096u /* more than we ever write; QEMU adds some */
#define QCOW2_ID_SIZE	  16u
#define QCOW2_BACKING_MAX 1024u /* with the final 0 */

/* Where a header's fields are that change later. */
#define QCOW2_AT_SIZE		24u
#define QCOW2_AT_L1_SIZE	36u
#define QCOW2_AT_REFCOUNT_TABLE 48u
#define QCOW2_AT_AUTOCLEAR	88u

/*
 * Our bit among the autoclear features: "nobody else has written since". QEMU
 * clears all bits there that it does not know before it writes.
 */
#define QCOW2_AUTOCLEAR_OURS (1ull << 47)

#define QCOW2_COPIED (1ull << 63) /* of an L1 or L2 entry: its count is 1 */

/**
 * struct qcow2_header - what differs from one image of ours to another
 * @size:	of the guest's disk, bytes
 * @refcount_table: where it lies; qcow2_refcount_table(0) or (1) unless
 *		somebody else has moved it
 * @is_untouched: nobody else has written to the image since we last did
 * @id:		random; the image's own
 * @backing:	the base's address; empty: none. Its format is raw.
 */
struct qcow2_header {
	uint64_t size;
	uint64_t refcount_table;
	bool is_untouched;
	uint8_t id[QCOW2_ID_SIZE];
	char backing[QCOW2_BACKING_MAX];
};

/**
 * qcow2_header_encode() - the first bytes of a new image
 * @bytes:	all of it is written
 */
void qcow2_header_encode(const struct qcow2_header *header,
			 uint8_t bytes[static QCOW2_HEADER_SIZE]);

/**
 * qcow2_header_parse() - check that an image is in our layout
 * @bytes:	its first bytes, which may be anything
 * @len:	how many: up to QCOW2_HEADER_SIZE
 * @ret:	filled on success
 *
 * Return: 0; -EBADMSG: not qcow2, or damaged; -EOPNOTSUPP: an image that we
 * cannot write to, and @why says what to do about it.
 */
int qcow2_header_parse(const uint8_t *bytes, size_t len,
		       struct qcow2_header *ret, struct why *why)
	__attribute__((warn_unused_result));

/** qcow2_chunks() - of a disk of @size bytes */
static inline unsigned qcow2_chunks(uint64_t size)
{
	return (unsigned)div_up(size, QCOW2_CHUNK);
}

/* Everything below says where things lie, in bytes from the file's start. */

#define QCOW2_L1	   (3 * QCOW2_CLUSTER)
#define QCOW2_GROUP_CHUNKS 127u

/** qcow2_refcount_table() - the first (0) or second (1) place for it */
static inline uint64_t qcow2_refcount_table(unsigned which)
{
	return (1 + which) * QCOW2_CLUSTER;
}

/** qcow2_refcount_block() - of group @group, the place @which (0, 1) */
static inline uint64_t qcow2_refcount_block(unsigned group, unsigned which)
{
	uint64_t clusters =
		2 + QCOW2_GROUP_CHUNKS * (1ull + QCOW2_CHUNK_CLUSTERS);

	return (4 + group * clusters + which) * QCOW2_CLUSTER;
}

/** qcow2_l2() - the L2 table of chunk @chunk */
static inline uint64_t qcow2_l2(unsigned chunk)
{
	return qcow2_refcount_block(chunk / QCOW2_GROUP_CHUNKS, 0) +
	       (2 +
		chunk % QCOW2_GROUP_CHUNKS * (1ull + QCOW2_CHUNK_CLUSTERS)) *
		       QCOW2_CLUSTER;
}

/** qcow2_entry_at() - the L2 entry of guest cluster @cluster */
static inline uint64_t qcow2_entry_at(uint64_t cluster)
{
	return qcow2_l2((unsigned)(cluster / QCOW2_CHUNK_CLUSTERS)) +
	       cluster % QCOW2_CHUNK_CLUSTERS * QCOW2_ENTRY;
}

/** qcow2_place() - the guest's byte @offset */
static inline uint64_t qcow2_place(uint64_t offset)
{
	return qcow2_l2((unsigned)(offset / QCOW2_CHUNK)) + QCOW2_CLUSTER +
	       offset % QCOW2_CHUNK;
}

/** qcow2_file_size() - of an image with @chunks chunks */
static inline uint64_t qcow2_file_size(unsigned chunks)
{
	return chunks ? qcow2_place(chunks * QCOW2_CHUNK - 1) + 1 : qcow2_l2(0);
}

/** qcow2_entry_encode() - guest cluster @cluster's L2 entry */
void qcow2_entry_encode(uint64_t cluster, uint64_t bitmap,
			uint8_t entry[static QCOW2_ENTRY]);

/**
 * qcow2_entry_parse() - check guest cluster @cluster's L2 entry
 * @bitmap:	on success its bitmap
 *
 * Return: 0; -EBADMSG: damaged; -EOPNOTSUPP: its data is not in our place.
 */
int qcow2_entry_parse(uint64_t cluster, const uint8_t entry[static QCOW2_ENTRY],
		      uint64_t *bitmap) __attribute__((warn_unused_result));

/** qcow2_is_bitmap() - whether no subcluster is both here and zeroes */
static inline bool qcow2_is_bitmap(uint64_t bitmap)
{
	return !(bitmap & (bitmap >> 32));
}

#endif
