/* SPDX-License-Identifier: Apache-2.0 */
/*
 * nbd_client.h - one connection to an NBD server, made again when it is lost
 *
 * States, and what moves on from them:
 *
 *	DOWN	nbd_client_want() starts to dial, at once or after a pause that
 *		doubles each time in vain
 *	DIALLING a thread connects; then READY, or DOWN
 *	READY	requests can be sent; the connection dies, or an answer takes
 *		longer than the timeout: DOWN
 *
 * An op that was sent comes back exactly once, on one of the two lists of the
 * owner: @answered with its result, or @returned because the connection was
 * lost. The owner's task is set whenever a list grows or the state changes;
 * no function here calls the owner otherwise, so it can call them anywhere.
 */
#ifndef STORE_NBD_CLIENT_H
#define STORE_NBD_CLIENT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "base/loop.h"
#include "store/nbd_dial.h"

struct blk_req;
struct nbd_handle;

enum nbd_client_state {
	NBD_CLIENT_DOWN,
	NBD_CLIENT_DIALLING,
	NBD_CLIENT_READY,
};

/**
 * struct nbd_op - a request, or the part of it that is on its way
 * @list:	in a list of the owner's, or in the connection's
 * @req:	whose it is
 * @buf:	where the part's bytes go to or come from
 * @offset, @len: the part
 * @bounce:	the owner's; NULL if @buf is the request's own memory
 * @did:	bytes of @req before this part
 * @is_flush:	what is sent is a flush that has to follow the part
 * @trouble_ns:	since when it waits for the server to come back; or 0
 * @res:	when answered: 0 or -errno
 * The rest is the connection's.
 */
struct nbd_op {
	struct list list;
	struct blk_req *req;
	void *buf;
	uint64_t offset;
	uint64_t len;
	void *bounce;
	uint64_t did;
	bool is_flush;
	uint64_t trouble_ns;
	int res;
	struct nbd_client *client;
	uint64_t sent_ns;
	int max_extents; /* as @req came */
};

/** struct nbd_client - a member of the owner's struct */
struct nbd_client {
	struct loop *loop;
	const struct nbd_where *where; /* borrowed */
	const struct nbd_export *export; /* borrowed: what must come back */
	struct list *answered, *returned; /* of the owner, of struct nbd_op */
	struct loop_task *task; /* of the owner */

	enum nbd_client_state state;
	struct nbd_handle *h; /* READY */
	struct nbd_dial *dial; /* DIALLING */
	struct loop_watch watch; /* of one of these two */
	unsigned watched; /* events it is set for */
	struct loop_timer timer; /* DOWN: the pause; READY: the oldest op */
	uint64_t pause_ns; /* before the next dial */
	uint64_t dial_at_ns; /* DOWN: not before */
	int err; /* DOWN: why the last dial failed */

	struct list sent; /* of struct nbd_op, the oldest first */
	struct list failed; /* of those: the server or libnbd said no */
	uint64_t bytes; /* of what was sent */
	unsigned nsent; /* ops in both lists */
};

/** nbd_client_init() - DOWN, or READY if there is an @h, owned from here on */
void nbd_client_init(struct nbd_client *client, struct loop *loop,
		     struct nbd_handle *h);

/** nbd_client_want() - see that it gets READY; no effect if it is */
void nbd_client_want(struct nbd_client *client);

/**
 * nbd_client_send() - send what @op says
 *
 * Return: 0: it is @client's until it comes back. -ENOTCONN: the connection was
 * just lost; -ENOMEM, -EINVAL: it cannot be sent; then it is the caller's.
 */
int nbd_client_send(struct nbd_client *client, struct nbd_op *op)
	__attribute__((warn_unused_result));

/**
 * nbd_client_close() - say goodbye; nothing is in flight
 * @released:	called when @client's memory can be freed
 */
void nbd_client_close(struct nbd_client *client,
		      void (*released)(struct loop_watch *watch));

#endif
