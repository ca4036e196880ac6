/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtq_driver.h - the guest's side of a split virtqueue
 *
 * For tests, fuzz targets and measurements: what a guest's driver does, and
 * what no driver would do. Guest-physical address 0 is the start of @mem.
 */
#ifndef DEVICE_VIRTQ_DRIVER_H
#define DEVICE_VIRTQ_DRIVER_H

#include <stdbool.h>
#include <stdint.h>

#include "device/virtqueue.h"

#define VIRTQ_DESC_NEXT	    1u
#define VIRTQ_DESC_WRITE    2u
#define VIRTQ_DESC_INDIRECT 4u

/** struct virtq_driver - hold it by value, virtq_driver_init() it */
struct virtq_driver {
	uint8_t *mem; /* borrowed */
	struct virtq_layout layout;
	uint16_t next_avail; /* offered, the last ones maybe not shown */
	uint16_t kicked; /* avail idx of the last look whether to kick */
	uint16_t next_used; /* the next to take back */
};

/** virtq_driver_len() - bytes of the rings of a queue */
uint64_t virtq_driver_len(uint16_t size);

/** virtq_driver_init() - with its rings, cleared, at @at, a multiple of 16 */
void virtq_driver_init(struct virtq_driver *d, uint8_t *mem, uint64_t at,
		       uint16_t size, bool has_event_idx);

/** virtq_driver_desc() - fill entry @i of the descriptor table */
void virtq_driver_desc(struct virtq_driver *d, unsigned i, uint64_t at,
		       uint32_t len, uint16_t flags, uint16_t next);

/** virtq_desc_write() - the same, of a table anywhere (an indirect one) */
void virtq_desc_write(uint8_t *entry, uint64_t at, uint32_t len, uint16_t flags,
		      uint16_t next);

/** virtq_driver_offer() - put @head in the available ring, not shown yet */
void virtq_driver_offer(struct virtq_driver *d, uint16_t head);

/**
 * virtq_driver_show() - show what was offered
 *
 * Return: whether the device wants a kick for it.
 */
bool virtq_driver_show(struct virtq_driver *d);

/** virtq_driver_take() - one chain back; false: there is none */
bool virtq_driver_take(struct virtq_driver *d, uint16_t *head, uint32_t *len);

/**
 * virtq_driver_listen() - ask for a call once @more chains have come back
 *
 * Return: whether one came back meanwhile.
 */
bool virtq_driver_listen(struct virtq_driver *d, uint16_t more);

#endif
