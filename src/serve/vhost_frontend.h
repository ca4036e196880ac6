/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vhost_frontend.h - the other end of a vhost-user socket, with no guest
 *
 * For tests and measurements: shares a piece of memory, sets up queues and
 * fills them. Blocks, and says whatever it is told to say, nonsense too. It
 * works with any back-end (qemu-storage-daemon's).
 *
 * The memory: guest-physical address 0 is @mem; the rings lie at its end, the
 * rest is the caller's.
 */
#ifndef SERVE_VHOST_FRONTEND_H
#define SERVE_VHOST_FRONTEND_H

#include <stdbool.h>
#include <stdint.h>

#include "device/virtq_driver.h"
#include "wire/vhost_user_msg.h"

#define VHOST_FRONTEND_QUEUES 4

struct vhost_frontend {
	int fd;
	int mem_fd;
	uint8_t *mem;
	uint64_t mem_len;
	struct vhost_user_region region; /* as we share it */
	uint64_t features; /* what the back-end offers */
	uint64_t protocol_features;
	int inflight_fd; /* kept as QEMU keeps it, or -1 */
	struct vhost_user_msg inflight;
	struct {
		int kick, call; /* eventfds */
		struct virtq_driver driver;
	} q[VHOST_FRONTEND_QUEUES];
	unsigned nqueues;
};

/** vhost_frontend_init() - with @mem_len bytes to share; 0 or -errno */
int vhost_frontend_init(struct vhost_frontend *f, uint64_t mem_len)
	__attribute__((warn_unused_result));

/** vhost_frontend_connect() - to the socket @path; 0 or -errno */
int vhost_frontend_connect(struct vhost_frontend *f, const char *path)
	__attribute__((warn_unused_result));

/** vhost_frontend_hang_up() - the memory and the rings stay */
void vhost_frontend_hang_up(struct vhost_frontend *f);

void vhost_frontend_release(struct vhost_frontend *f);

/** vhost_frontend_send() - @msg, with descriptors; 0 or -errno */
int vhost_frontend_send(struct vhost_frontend *f,
			const struct vhost_user_msg *msg, const int *fds,
			unsigned nfds) __attribute__((warn_unused_result));

/**
 * vhost_frontend_receive() - the answer
 * @fd:	NULL, or set to a descriptor that came with it, or -1
 *
 * Return: 0; -ECONNRESET: hung up; -EBADMSG.
 */
int vhost_frontend_receive(struct vhost_frontend *f, struct vhost_user_msg *ret,
			   int *fd) __attribute__((warn_unused_result));

/**
 * vhost_frontend_ask() - send @msg, receive its reply, or acknowledgement
 *
 * Return: 0, and @msg is the reply; negative errno.
 */
int vhost_frontend_ask(struct vhost_frontend *f, struct vhost_user_msg *msg,
		       const int *fds, unsigned nfds)
	__attribute__((warn_unused_result));

/**
 * vhost_frontend_start() - negotiate, share the memory, start @nqueues queues
 * @features:	of those offered, which to take
 *
 * After a reconnect the rings go on where they are, as QEMU has it.
 */
int vhost_frontend_start(struct vhost_frontend *f, unsigned nqueues,
			 uint16_t size, uint64_t features)
	__attribute__((warn_unused_result));

/** vhost_frontend_stop_queue() - GET_VRING_BASE; the base or -errno */
int vhost_frontend_stop_queue(struct vhost_frontend *f, unsigned i)
	__attribute__((warn_unused_result));

/** vhost_frontend_kick() - also if the device did not ask for it */
void vhost_frontend_kick(struct vhost_frontend *f, unsigned i);

/** vhost_frontend_wait() - for a call of queue @i; 0 or -ETIMEDOUT */
int vhost_frontend_wait(struct vhost_frontend *f, unsigned i, int timeout_ms)
	__attribute__((warn_unused_result));

#endif
