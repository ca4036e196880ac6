/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtqueue.h - a split virtqueue seen from the device (virtio 1.2, 2.7)
 *
 * The driver puts chains of buffers in the available ring, the device gives
 * them back in the used ring, in any order. All of it is in guest memory and
 * can change at any time, so a descriptor is copied once, the copy is checked,
 * and only the copy is used.
 *
 * States:
 *
 *	stopped		virtq_start() -> running. The rings are not touched.
 *	running		virtq_stop() -> stopped; a ring or a chain that makes
 *			no sense -> broken.
 *	broken		Nothing more is taken, what is out may be given back.
 *			Only virtq_stop() helps. A chain that cannot be
 *			understood cannot be answered either (where is its
 *			status?), and one given back unanswered could be taken
 *			for done.
 *
 * Promises:
 *
 * (1) virtq_pop() yields a head that is not out already; so there are never
 *     more chains out than the queue has entries, and all heads are below its
 *     size.
 * (2) The iovecs of a chain are within guest memory, those to be read first,
 *     then those to be written.
 */
#ifndef DEVICE_VIRTQUEUE_H
#define DEVICE_VIRTQUEUE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/ram.h"

#define VIRTQ_SIZE_MAX 1024u /* entries; QEMU's own limit */

/**
 * struct virtq_layout - what a driver has agreed on
 * @size:	entries; a power of two
 * @base:	index of the next chain to take from the available ring
 * @has_event_idx, @has_indirect: the features negotiated
 */
struct virtq_layout {
	uint16_t size;
	uint16_t base;
	bool has_event_idx;
	bool has_indirect;
	gpa_t desc, avail, used;
};

enum virtq_state { VIRTQ_STOPPED, VIRTQ_RUNNING, VIRTQ_BROKEN };

/** struct virtq - hold it by value; {0} is a stopped one */
struct virtq {
	enum virtq_state state;
	struct virtq_layout layout;
	const struct ram *ram; /* borrowed */
	const uint8_t *desc; /* in guest memory, as are these: */
	uint16_t *avail; /* flags, idx, ring[size], used_event */
	uint16_t *used; /* flags, idx, {id, len}[size], avail_event */
	uint16_t next_avail; /* the next entry to take */
	uint16_t next_used; /* the next entry to give, published or not */
	uint16_t published; /* used idx as the driver sees it */
	uint16_t signalled; /* used idx of the last check for a signal */
	bool is_signalled_valid; /* false: the next check says yes */
	uint16_t out; /* chains popped and not pushed */
	uint64_t is_out[VIRTQ_SIZE_MAX / 64]; /* bit per head: promise (1) */
};

/**
 * struct virtq_chain - one request of the driver
 * @head:	names it to virtq_push()
 * @nread:	entries of the iovec array that the device reads
 * @nwrite:	entries after these that it writes
 * @read_len, @write_len: their sums, bytes
 */
struct virtq_chain {
	uint16_t head;
	int nread;
	int nwrite;
	uint64_t read_len;
	uint64_t write_len;
};

/**
 * virtq_start() - a stopped queue runs
 * @ram:	borrowed until virtq_stop()
 *
 * Also after the memory table changed: see virtq_move().
 *
 * Return: 0; -EINVAL: size or alignment; -EFAULT: not in @ram, each ring in
 * one region.
 */
int virtq_start(struct virtq *vq, const struct ram *ram,
		const struct virtq_layout *layout)
	__attribute__((warn_unused_result));

/** virtq_stop() - let go of guest memory; nothing is out */
void virtq_stop(struct virtq *vq);

/** virtq_move() - find the rings anew after @ram has changed; 0 or -EFAULT */
int virtq_move(struct virtq *vq) __attribute__((warn_unused_result));

/**
 * virtq_avail() - how many chains wait to be popped
 *
 * Return: 0 to the size; -EBADMSG: the driver's index is absurd and the queue
 * is broken now.
 */
int virtq_avail(struct virtq *vq);

/**
 * virtq_pop() - take the next chain; virtq_avail() was more than 0
 * @iov:	filled with its buffers, neighbours joined
 * @max:	entries that fit; a chain of more is refused
 *
 * Return: 0; -EBADMSG: the queue is broken now.
 */
int virtq_pop(struct virtq *vq, struct virtq_chain *chain, struct iovec *iov,
	      int max) __attribute__((warn_unused_result));

/** virtq_pop_head() - likewise of a head that was out in an earlier life */
int virtq_pop_head(struct virtq *vq, uint16_t head, struct virtq_chain *chain,
		   struct iovec *iov, int max)
	__attribute__((warn_unused_result));

/**
 * virtq_push() - give a chain back; the driver sees it with virtq_publish()
 * @written:	bytes written to its buffers
 */
void virtq_push(struct virtq *vq, uint16_t head, uint32_t written);

/** virtq_drop() - a chain that cannot be answered: the queue is broken now */
void virtq_drop(struct virtq *vq, uint16_t head);

/** virtq_publish() - show the driver all that was pushed */
void virtq_publish(struct virtq *vq);

/** virtq_needs_signal() - whether the driver wants to hear of it; ask once */
bool virtq_needs_signal(struct virtq *vq);

/** virtq_quiet() - the driver need not notify us for now */
void virtq_quiet(struct virtq *vq);

/**
 * virtq_listen() - the driver is to notify us of the next chain
 *
 * Return: whether chains came meanwhile, of which it may not notify.
 */
bool virtq_listen(struct virtq *vq);

#endif
