/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vhost_device.h - what a vhost-user front-end says to a block device of ours
 *
 * Everything behind the socket: features, the front-end's memory, the queues.
 * A message that changes what queues stand on waits until they are idle; the
 * socket is not read meanwhile, so messages keep their order:
 *
 *	if (vhost_device_must_wait(dev, msg))	all queues pause;
 *		on_idle() is called when they are idle
 *	vhost_device_message(dev, msg, ...)	handle it; queues go on
 */
#ifndef SERVE_VHOST_DEVICE_H
#define SERVE_VHOST_DEVICE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/pool.h"
#include "device/virtio_blk.h"
#include "serve/vhost_memory.h"
#include "serve/vhost_queue.h"
#include "wire/vhost_user_msg.h"

#define VHOST_QUEUES_MAX 16u /* per disk; a guest has one per virtual CPU */

/** struct vhost_device - a member of its owner's struct; vhost_device_init() */
struct vhost_device {
	struct virtio_blk blk;
	struct vhost_memory mem;
	struct pool pool; /* of struct vhost_req, for all queues */
	struct vhost_queue_stats stats;
	void (*on_idle)(struct vhost_device *dev);
	bool is_paused;
	uint16_t nqueues;
	uint64_t protocol_features;
	uint8_t status; /* of virtio, as the front-end last said */
	bool has_protocol_features; /* rings start disabled then */

	struct vhost_shared inflight; /* of all queues, or none */
	uint16_t inflight_queue_size;
	uint16_t inflight_nqueues;
	int backend_fd; /* socket for messages of ours; -1: none */

	struct vhost_ring {
		uint16_t index; /* of itself */
		uint16_t size, base;
		bool has_addr, is_enabled;
		uint64_t desc, avail, used; /* user addresses */
		struct vhost_queue queue;
	} rings[VHOST_QUEUES_MAX];
};

/**
 * vhost_device_init() - with no front-end yet
 * @blk, @is_read_only, @serial, @nqueues: as virtio_blk_init();
 *		@nqueues at most VHOST_QUEUES_MAX
 */
void vhost_device_init(struct vhost_device *dev, struct loop *loop,
		       struct blk *blk, bool is_read_only, const char *serial,
		       uint16_t nqueues,
		       void (*on_idle)(struct vhost_device *dev));

/** vhost_device_pause() - all queues; see vhost_device_is_idle() */
void vhost_device_pause(struct vhost_device *dev);

/** vhost_device_is_idle() - paused, and nothing is in flight */
bool vhost_device_is_idle(const struct vhost_device *dev);

/** vhost_device_reset() - idle: forget the front-end and all it gave */
void vhost_device_reset(struct vhost_device *dev);

/** vhost_device_release() - it was reset; frees the rest */
void vhost_device_release(struct vhost_device *dev);

/** vhost_device_must_wait() - whether @msg is for an idle device only */
bool vhost_device_must_wait(const struct vhost_device *dev,
			    const struct vhost_user_msg *msg);

/**
 * vhost_device_message() - do what @msg says, resume the queues
 * @fds, @nfds:	what came with it; one that is taken becomes -1
 * @reply:	filled if there is one
 * @reply_fd:	-1, or set to what goes with it, the caller's to close
 *
 * Return: 1: @reply is to be sent; 0: nothing is; negative errno: the
 * front-end asks for nonsense, hang up.
 */
int vhost_device_message(struct vhost_device *dev,
			 const struct vhost_user_msg *msg, int *fds,
			 unsigned nfds, struct vhost_user_msg *reply,
			 int *reply_fd) __attribute__((warn_unused_result));

/** vhost_device_tell_config() - the size has changed; tell the guest */
void vhost_device_tell_config(struct vhost_device *dev);

#endif
