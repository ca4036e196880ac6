/* SPDX-License-Identifier: Apache-2.0 */
/*
 * qcow2_side.h - PATH.dirty: the bits that are not in the overlay yet
 *
 * A mapped file of slots, each with a cluster and its newest bitmap. What is
 * stored there outlives a kill of the process (the page cache has it), and is
 * void after a reboot: then the data that it speaks of may not be there
 * either, and none of it was flushed. So it carries the kernel's boot id, and
 * the id of the image; it is never flushed itself.
 *
 * It is also void when another program has written to the image since, which
 * the image's header tells.
 */
#ifndef STORE_QCOW2_SIDE_H
#define STORE_QCOW2_SIDE_H

#include <stdatomic.h>
#include <stdint.h>

struct qcow2_image;
struct why;

#define QCOW2_SIDE_SLOTS 16384u

/** struct qcow2_side_slot - in the byte order of this host */
struct qcow2_side_slot {
	_Atomic uint64_t cluster; /* its number + 1; 0: the slot is free */
	_Atomic uint64_t bits;
};

/**
 * qcow2_side_recover() - apply what a killed process has left, if it holds
 *
 * Afterwards the bits are in the image's file and in @image, on the medium,
 * and PATH.dirty is gone. Blocks.
 *
 * Return: 0, also if there was none or a void one; what reading or writing it
 * said.
 */
int qcow2_side_recover(struct qcow2_image *image, struct why *why)
	__attribute__((warn_unused_result));

/**
 * qcow2_side_create() - make an empty one, and map it
 * @ret:	QCOW2_SIDE_SLOTS slots, until qcow2_side_remove()
 *
 * All of its space is taken at once, so that a store into it cannot fail.
 *
 * Return: 0; -ENOSPC and others.
 */
int qcow2_side_create(const struct qcow2_image *image,
		      struct qcow2_side_slot **ret)
	__attribute__((warn_unused_result));

/** qcow2_side_remove() - unmap @slots, unlink the file; NULL is fine */
void qcow2_side_remove(const struct qcow2_image *image,
		       struct qcow2_side_slot *slots);

/* In this order a kill between the two stores leaves the slot free. */
static inline void qcow2_side_take(struct qcow2_side_slot *slot,
				   uint64_t cluster, uint64_t bits)
{
	atomic_store_explicit(&slot->bits, bits, memory_order_release);
	atomic_store_explicit(&slot->cluster, cluster + 1,
			      memory_order_release);
}

static inline void qcow2_side_update(struct qcow2_side_slot *slot,
				     uint64_t bits)
{
	atomic_store_explicit(&slot->bits, bits, memory_order_release);
}

static inline void qcow2_side_free(struct qcow2_side_slot *slot)
{
	atomic_store_explicit(&slot->cluster, 0, memory_order_release);
}

#endif
