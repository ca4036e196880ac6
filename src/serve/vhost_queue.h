/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vhost_queue.h - one virtqueue of a vhost-user front-end: kicks in, requests
 * down, calls out
 *
 * States, of the front-end's wish and of ours:
 *
 *	stopped		no rings. vhost_queue_start() -> paused.
 *	paused		rings known, nothing taken, no kick heard. What is in
 *			flight goes on: is_idle() says when all has ended.
 *			vhost_queue_resume() -> running.
 *	running		kicks are heard. vhost_queue_pause() -> paused.
 *
 * Whatever changes the memory table, a descriptor or a ring's place does it
 * while the queue is paused and idle.
 *
 * One kick's requests go down as a batch, since the loop sends what they ask
 * of the kernel in one system call. Answers are collected while completions
 * come, and a deferred task shows them to the driver: one index, one call for
 * many.
 *
 * The kick's descriptor is never read: a poll that stays armed hears each
 * write to an eventfd, whatever its count is. That saves a system call per
 * kick. (The count would overflow after 2^64 kicks.)
 */
#ifndef SERVE_VHOST_QUEUE_H
#define SERVE_VHOST_QUEUE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/loop.h"
#include "base/pool.h"
#include "device/virtio_blk.h"
#include "device/virtqueue.h"
#include "serve/vhost_inflight.h"

/** struct vhost_queue_stats - counts since the server was made */
struct vhost_queue_stats {
	uint64_t requests;
	uint64_t again; /* of these, such as an earlier life had taken */
	uint64_t kicks;
	uint64_t calls;
	uint64_t broken; /* times a driver's ring or chain made no sense */
};

/** struct vhost_queue - a member of its owner's struct; vhost_queue_init() */
struct vhost_queue {
	struct loop *loop;
	struct virtio_blk *dev; /* borrowed, as are these: */
	struct pool *pool; /* of struct vhost_req */
	const struct ram *ram;
	struct vhost_queue_stats *stats;
	void (*on_idle)(struct vhost_queue *q);

	struct virtq vq;
	struct vhost_inflight inflight;
	int kick_fd, call_fd, err_fd; /* owned; -1: none */
	bool is_running;
	bool is_kick_armed; /* the kernel has kick_op */
	bool is_listening; /* the driver will kick for the next chain */
	unsigned nagain; /* heads of an earlier life, to be done first */
	uint16_t again[VIRTQ_SIZE_MAX];
	struct loop_op kick_op;
	struct loop_task task; /* publishes, then looks for more */
	struct loop_timer retry; /* there was no memory for a request */
};

/** struct vhost_req - what the pool has */
struct vhost_req {
	struct virtio_blk_req req; /* first */
	struct vhost_queue *queue;
};

/**
 * vhost_queue_init() - a stopped queue
 * @on_idle:	called when a paused queue becomes idle
 */
void vhost_queue_init(struct vhost_queue *q, struct loop *loop,
		      struct virtio_blk *dev, struct pool *pool,
		      const struct ram *ram, struct vhost_queue_stats *stats,
		      void (*on_idle)(struct vhost_queue *q));

/**
 * vhost_queue_start() - a stopped queue is paused
 * @inflight:	NULL, or where what is in flight is kept
 *
 * What was in flight in an earlier life is done again on resume.
 *
 * Return: as virtq_start().
 */
int vhost_queue_start(struct vhost_queue *q, const struct virtq_layout *layout,
		      uint8_t *inflight) __attribute__((warn_unused_result));

/** vhost_queue_stop() - a paused, idle queue is stopped; fine if it is */
void vhost_queue_stop(struct vhost_queue *q);

/** vhost_queue_is_started() - it is paused or running */
bool vhost_queue_is_started(const struct vhost_queue *q);

void vhost_queue_pause(struct vhost_queue *q);

/** vhost_queue_resume() - a started queue runs, with a look at the ring */
void vhost_queue_resume(struct vhost_queue *q);

/** vhost_queue_is_idle() - nothing is in flight, no kick is listened for */
bool vhost_queue_is_idle(const struct vhost_queue *q);

/**
 * vhost_queue_set_call() - the driver is to be told by another descriptor
 * @fd:	an eventfd, the queue's from now on; -1: none
 *
 * And is told at once: a call may have gone to the old one, or may have been
 * lost in a crash.
 */
void vhost_queue_set_call(struct vhost_queue *q, int fd);

/** vhost_queue_set_err() - likewise, what says that the queue is broken */
void vhost_queue_set_err(struct vhost_queue *q, int fd);

/** vhost_queue_set_kick() - likewise, what the driver kicks; idle */
void vhost_queue_set_kick(struct vhost_queue *q, int fd);

#endif
