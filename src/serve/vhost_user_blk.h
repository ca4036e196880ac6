/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vhost_user_blk.h - serve a struct blk to QEMU's vhost-user-blk device
 *
 * A listening unix socket, one disk behind it, one front-end (QEMU, a VMM of
 * ours) at a time; a second one waits in the socket's queue until the first
 * has gone. The front-end shares the guest's memory and its virtqueues; data
 * goes between that memory and the layer below without a copy.
 *
 * States of the server:
 *
 *	waiting		listens for a front-end
 *	serving		one is connected
 *	draining	it hung up, or spoke nonsense; what is in flight ends
 *			before its memory is unmapped. Then waiting again, or
 *			stopped.
 *	stopped		vhost_user_server_free()
 *
 * A front-end that keeps the record of requests in flight for us (QEMU does)
 * reconnects after our restart, and those are done again: nothing is lost.
 *
 * All of it on the loop's thread, all callbacks too.
 */
#ifndef SERVE_VHOST_USER_BLK_H
#define SERVE_VHOST_USER_BLK_H

#include <stdbool.h>
#include <stdint.h>

struct blk;
struct loop;
struct vhost_user_server;

/**
 * struct vhost_user_options - {0} will do
 * @is_read_only: refuse writes, also where the layer could
 * @serial:	what the guest sees in /sys/block/vda/serial, 20 bytes of it
 *		at most; NULL: none. Copied.
 * @nqueues:	virtqueues offered; 0: as many as there may be
 * @on_event:	told of a front-end that comes or goes, for the log; or NULL
 * @owner:	of @on_event
 */
struct vhost_user_options {
	bool is_read_only;
	const char *serial;
	uint16_t nqueues;
	void (*on_event)(void *owner, const char *what);
	void *owner;
};

/** struct vhost_user_stats - counts since the server was made */
struct vhost_user_stats {
	uint64_t clients;
	uint64_t nonsense; /* clients hung up on for what they said */
	uint64_t requests;
	uint64_t again; /* of these, such as an earlier process had taken */
	uint64_t kicks;
	uint64_t calls;
	uint64_t broken; /* rings or chains of the guest that made no sense */
	bool is_connected;
};

/**
 * vhost_user_server_new() - begin to listen
 * @listen_fd:	a listening unix stream socket; the server's from success on
 * @blk:	borrowed until vhost_user_server_free(), on the same loop
 * @ret:	on success the server: vhost_user_server_stop(), then free it
 *
 * Return: 0; -EINVAL: too many queues; -ENOMEM.
 */
int vhost_user_server_new(struct loop *loop, int listen_fd, struct blk *blk,
			  const struct vhost_user_options *options,
			  struct vhost_user_server **ret)
	__attribute__((warn_unused_result));

/**
 * vhost_user_server_stop() - serve nobody any more
 * @on_stopped:	called once, with @owner, when nothing is in flight; never
 *		before this returns. The listening socket is closed then, the
 *		server may be freed in it.
 *
 * What is in flight is answered, what waits in the rings stays there for the
 * next server.
 */
void vhost_user_server_stop(struct vhost_user_server *server,
			    void (*on_stopped)(void *owner), void *owner);

/** vhost_user_server_free() - it is stopped; NULL is fine. Return: NULL. */
struct vhost_user_server *
vhost_user_server_free(struct vhost_user_server *server);

/** vhost_user_server_resized() - the disk's size has changed: tell the guest */
void vhost_user_server_resized(struct vhost_user_server *server);

void vhost_user_server_stats(const struct vhost_user_server *server,
			     struct vhost_user_stats *ret);

#endif
