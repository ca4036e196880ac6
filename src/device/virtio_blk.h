/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio_blk.h - a virtio block device on a struct blk (virtio 1.2, 5.2)
 *
 * What a guest asks (a header, data, a byte for the status) becomes requests
 * to the layer below, on the guest's own buffers. Who took the request out of
 * a queue, and how the guest is told, is the driver's matter: a vhost-user
 * socket or a machine of our own.
 *
 * The driver of this device
 *
 *	pops a chain into a struct virtio_blk_req that it owns,
 *	virtio_blk_submit()s it, and
 *	is called back once, when the status is in the guest's memory, to push
 *	the chain. That may be before the submit returns.
 *
 * A request whose status has no place is refused by virtio_blk_submit(): there
 * is no answering it. All others end with a status, unknown ones with UNSUPP.
 */
#ifndef DEVICE_VIRTIO_BLK_H
#define DEVICE_VIRTIO_BLK_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/blk.h"
#include "device/virtqueue.h"

/* Feature bits, of the device and of any virtio device */
#define VIRTIO_BLK_SIZE_MAX	1
#define VIRTIO_BLK_SEG_MAX	2
#define VIRTIO_BLK_RO		5
#define VIRTIO_BLK_BLK_SIZE	6
#define VIRTIO_BLK_FLUSH	9
#define VIRTIO_BLK_TOPOLOGY	10
#define VIRTIO_BLK_CONFIG_WCE	11
#define VIRTIO_BLK_MQ		12
#define VIRTIO_BLK_DISCARD	13
#define VIRTIO_BLK_WRITE_ZEROES 14
#define VIRTIO_RING_INDIRECT	28
#define VIRTIO_RING_EVENT_IDX	29
#define VIRTIO_VERSION_1	32

#define VIRTIO_BLK_ID_LEN     20 /* bytes of the serial; 0 after a shorter */
#define VIRTIO_BLK_CONFIG_LEN 60 /* bytes of the configuration space */

/*
 * Segments of data in a request. With the header and the status it is 128
 * buffers, which fit an ordinary ring of 128 without indirect descriptors.
 */
#define VIRTIO_BLK_SEGMENTS 126

/* Each buffer may lie in two regions of guest memory; few ever do. */
#define VIRTIO_BLK_IOVS (VIRTIO_BLK_SEGMENTS + 2 + 8)

/* Bytes of one segment, bytes of all data: a guest may not hold us with more */
#define VIRTIO_BLK_SEGMENT_LEN (1u << 20)
#define VIRTIO_BLK_DATA_LEN    (64ull << 20)

/* Ranges in one discard or write-zeroes; bytes of one range. */
#define VIRTIO_BLK_RANGES    16
#define VIRTIO_BLK_RANGE_LEN (1ull << 30)

/**
 * struct virtio_blk - the device; hold it by value, virtio_blk_init() it
 * @is_write_back: writes may stay in caches until a flush; see
 *		virtio_blk_set_features()
 */
struct virtio_blk {
	struct blk *blk; /* borrowed */
	uint64_t features; /* offered */
	uint64_t negotiated;
	uint16_t nqueues;
	bool is_read_only;
	bool is_write_back;
	bool wce; /* what the guest wrote in its configuration space */
	uint8_t serial[VIRTIO_BLK_ID_LEN];
};

struct virtio_blk_req;

/**
 * virtio_blk_done_fn - @req is answered, its status written
 * @written:	bytes written to the guest's buffers, for the used ring
 */
typedef void virtio_blk_done_fn(struct virtio_blk_req *req, uint32_t written);

/**
 * struct virtio_blk_req - one request of the guest
 *
 * The driver sets @done and fills @chain and @iov from virtq_pop(). The rest
 * is the device's.
 */
struct virtio_blk_req {
	struct blk_req req;
	struct virtio_blk *dev;
	virtio_blk_done_fn *done;
	struct virtq_chain chain;
	uint8_t *status; /* in guest memory */
	const struct iovec *in; /* what may be written, without the status */
	uint32_t written;
	int err; /* the first of its ranges */
	uint16_t nranges, next_range;
	bool is_submitting; /* the loop over ranges runs: do not recurse */
	bool is_range_done;
	union {
		struct iovec iov[VIRTIO_BLK_IOVS];
		struct {
			uint64_t offset, len; /* bytes */
			uint32_t flags; /* of the blk_req */
		} ranges[VIRTIO_BLK_RANGES]; /* once @iov is read */
	};
};

/**
 * virtio_blk_init() - a device on @blk
 * @is_read_only: also if @blk can be written
 * @serial:	at most VIRTIO_BLK_ID_LEN bytes of it are shown; may be NULL
 * @nqueues:	at least 1
 */
void virtio_blk_init(struct virtio_blk *dev, struct blk *blk, bool is_read_only,
		     const char *serial, uint16_t nqueues);

/**
 * virtio_blk_set_features() - what the guest has accepted
 *
 * A guest without FLUSH cannot ask for its data to be safe, so each of its
 * writes is: BLK_FUA. So too if it turned the cache off.
 *
 * Return: 0; -EINVAL: not all are offered. VERSION_1 is not asked for: there
 * are firmwares without, which do no harm.
 */
int virtio_blk_set_features(struct virtio_blk *dev, uint64_t features)
	__attribute__((warn_unused_result));

/** virtio_blk_reset() - as if no guest had been there */
void virtio_blk_reset(struct virtio_blk *dev);

/** virtio_blk_config() - the configuration space as it is now */
void virtio_blk_config(const struct virtio_blk *dev,
		       uint8_t config[static VIRTIO_BLK_CONFIG_LEN]);

/**
 * virtio_blk_write_config() - the guest writes to its configuration space
 *
 * Return: 0; -EINVAL: it may not write there.
 */
int virtio_blk_write_config(struct virtio_blk *dev, uint32_t offset,
			    const uint8_t *bytes, uint32_t len)
	__attribute__((warn_unused_result));

/**
 * virtio_blk_submit() - do what the guest asks
 *
 * Return: 0: @req->done is called once, now or later; -EBADMSG: there is no
 * place for a status, and it is not called.
 */
int virtio_blk_submit(struct virtio_blk *dev, struct virtio_blk_req *req)
	__attribute__((warn_unused_result));

#endif
