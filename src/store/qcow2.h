/* SPDX-License-Identifier: Apache-2.0 */
/*
 * qcow2.h - a VM's own writes over a base: an overlay in QEMU's format
 *
 * wire/qcow2_fmt.h has the layout. What this layer promises:
 *
 * (1) qemu-img check finds nothing at any moment, also after a kill -9 or a
 *     power loss, and without our help.
 * (2) A request that has ended survives a kill -9 of the daemon. For that
 *     there is a file PATH.dirty beside the overlay while it is open; without
 *     it (no space) a write to a place not written before ends only after a
 *     flush of its own.
 * (3) A flush that has ended survives a power loss.
 * (4) Discarded and zeroed ranges read as zeroes; the base does not show
 *     through again.
 *
 * A power loss never shows a place of the file as written whose data is not
 * there: the bits in the file are only set after the data was flushed.
 *
 * While it is open the overlay is locked against QEMU and others.
 *
 * Taken elsewhere (PATH alone, after a clean close) any QEMU can use the disk.
 * Back here it works on, unless clusters have been moved (a QEMU with
 * discard=unmap does that): then qcow2_open() says so.
 */
#ifndef STORE_QCOW2_H
#define STORE_QCOW2_H

#include <stdbool.h>
#include <stdint.h>

#include "wire/qcow2_fmt.h"

struct blk;
struct loop;
struct why;

/**
 * qcow2_create() - make an overlay in which nothing is written yet
 * @path:	where; there is nothing yet
 * @size:	bytes; a multiple of 512, at most QCOW2_SIZE_MAX
 * @backing:	address of the base (store/store.h), put in the header for
 *		others; a relative path is relative to @path's folder there.
 *		NULL or empty: none, the disk is all zeroes.
 *
 * The image appears under @path when it is whole and on the medium. Its file
 * is sparse: about 128 KiB per GiB. Blocks.
 *
 * Return: 0; -EEXIST; -EINVAL: @size or @backing; what the file system says.
 */
int qcow2_create(const char *path, uint64_t size, const char *backing,
		 struct why *why) __attribute__((warn_unused_result));

/**
 * qcow2_grow() - make a disk larger, while it is not open
 * @size:	the new size, as for qcow2_create(); what is added is zeroes
 *
 * A kill or power loss leaves the old size or the new one. Blocks.
 *
 * Return: 0, also if it has that size; -EINVAL: it is larger; -EBUSY: in use;
 * otherwise as qcow2_open().
 */
int qcow2_grow(const char *path, uint64_t size, struct why *why)
	__attribute__((warn_unused_result));

/** qcow2_info() - read an image's header; it may be in use. Blocks. */
int qcow2_info(const char *path, struct qcow2_header *ret, struct why *why)
	__attribute__((warn_unused_result));

/* Flags of qcow2_open(), beside STORE_DIRECT (store/store.h). */
/*
 * Delete it when it is freed. It is not to outlive a power loss, so flushes end
 * at once: do not open it again after one. A kill it outlives as any other.
 */
#define QCOW2_EPHEMERAL (1u << 16)

/**
 * qcow2_open() - the layer over an image
 * @flags:	STORE_DIRECT, QCOW2_EPHEMERAL
 * @backing:	the base, owned by the layer from success on; NULL exactly if
 *		the image has none. It may be shorter than the image (zeroes
 *		behind its end) or longer.
 * @ret:	on success the layer: blk_free() it, also from inside the end
 *		of its last request. Untouched on failure.
 *
 * Blocks: reads 128 KiB per GiB. blk_free() blocks too unless a flush was the
 * last thing done.
 *
 * Return: 0; -EBUSY: in use, also after 3 seconds (one that was just killed
 * keeps it for a moment); -EBADMSG, -EOPNOTSUPP: an image that is damaged
 * or that we cannot write to, and @why says what to do; others.
 */
int qcow2_open(struct loop *loop, const char *path, unsigned flags,
	       struct blk *backing, struct blk **ret, struct why *why)
	__attribute__((warn_unused_result));

/**
 * qcow2_keep() - an ephemeral overlay is not deleted when it is freed
 *
 * It is an ordinary one from now on, and flushes mean what they say.
 */
void qcow2_keep(struct blk *blk);

/**
 * struct qcow2_stats - counts since open
 * @has_dirty_file: PATH.dirty could be made: see (2) above
 * @dirty:	clusters whose bits in the file are to be written
 * @rounds:	flushes of our own bits
 * @cow_reads:	subclusters read from the base for a write of a part
 */
struct qcow2_stats {
	bool has_dirty_file;
	unsigned dirty;
	uint64_t rounds;
	uint64_t cow_reads;
};

/** qcow2_get_stats() - @blk is one of qcow2_open() */
void qcow2_get_stats(const struct blk *blk, struct qcow2_stats *ret);

#endif
