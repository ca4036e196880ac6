/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vhost_inflight.h - which requests a queue has taken and not answered, kept
 * where a crash of ours does not reach
 *
 * The memory is a descriptor that the front-end keeps for us (vhost-user.rst,
 * "Inflight I/O tracking"). After a kill -9 it hands it to the next process,
 * which then knows what to do again: requests are answered in any order, so
 * the rings alone do not tell.
 *
 * The front-end can write there. So it is believed only as far as it does no
 * harm to us: heads are below the queue's size, counts at most the size.
 */
#ifndef SERVE_VHOST_INFLIGHT_H
#define SERVE_VHOST_INFLIGHT_H

#include <stdbool.h>
#include <stdint.h>

#include "device/virtqueue.h"

/** struct vhost_inflight - of one queue; at NULL: nobody keeps it for us */
struct vhost_inflight {
	uint8_t *at; /* vhost_inflight_len() bytes, shared */
	bool is_old; /* it was in use before, by another life of ours */
	uint16_t size;
	uint16_t nbatch; /* answered and not published */
	uint64_t counter; /* orders the requests taken */
	uint16_t batch[VIRTQ_SIZE_MAX];
};

/** vhost_inflight_len() - bytes that a queue of @size entries needs */
uint64_t vhost_inflight_len(uint16_t size);

/**
 * vhost_inflight_open() - begin, or go on after a crash
 * @at:		NULL or vhost_inflight_len(@size) bytes, aligned to 8
 * @used_idx:	the used ring's index
 * @heads:	filled with what is to be done again, in the order of old
 *
 * Return: how many heads; 0 for new memory.
 */
unsigned vhost_inflight_open(struct vhost_inflight *in, uint8_t *at,
			     uint16_t size, uint16_t used_idx,
			     uint16_t heads[static VIRTQ_SIZE_MAX]);

/** vhost_inflight_take() - @head was popped */
void vhost_inflight_take(struct vhost_inflight *in, uint16_t head);

/** vhost_inflight_push() - @head was pushed; the driver does not see it yet */
void vhost_inflight_push(struct vhost_inflight *in, uint16_t head);

/** vhost_inflight_publish() - all that was pushed has been published */
void vhost_inflight_publish(struct vhost_inflight *in, uint16_t used_idx);

#endif
