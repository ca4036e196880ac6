/* SPDX-License-Identifier: Apache-2.0 */
/*
 * nbd_client.c - one connection to an NBD server, made again when it is lost
 *
 * libnbd calls back from within its other functions, and must not be called
 * from there; so its callbacks only sort the op into a list, and after each
 * call of libnbd settle() looks at what came of it.
 */
#include "store/nbd_client.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>

#include "base/array.h"
#include "base/blk.h"
#include "base/clock.h"

#define PAUSE_MIN_NS (50 * NS_PER_MS)
#define PAUSE_MAX_NS (1 * NS_PER_S)

static void move(struct nbd_op *op, struct list *to)
{
	list_del(&op->list);
	list_add_tail(to, &op->list);
}

static void wake(struct nbd_client *client)
{
	loop_defer(client->loop, client->task);
}

/* @op leaves the connection for a list of the owner. */
static void give_back(struct nbd_op *op, struct list *to)
{
	struct nbd_client *client = op->client;

	assert(client && client->nsent > 0 && client->bytes >= op->len);
	client->nsent--;
	client->bytes -= op->len;
	op->client = NULL;
	move(op, to);
	wake(client);
}

static void go_down(struct nbd_client *client, int err)
{
	client->state = NBD_CLIENT_DOWN;
	client->err = err;
	client->dial_at_ns = clock_ns() + client->pause_ns;
	client->pause_ns =
		client->pause_ns ? client->pause_ns * 2 : PAUSE_MIN_NS;
	client->pause_ns = min_u64(client->pause_ns, PAUSE_MAX_NS);
	/* A request shall see several dials before it gives up. */
	client->pause_ns = min_u64(client->pause_ns,
				   client->where->patience_ms * NS_PER_MS / 8);
	wake(client);
}

/* Nothing of what is in flight will touch its buffer after nbd_close(). */
static void lose(struct nbd_client *client, int err)
{
	loop_watch_cancel(&client->watch);
	loop_timer_cancel(&client->timer);
	nbd_close(client->h);
	client->h = NULL;
	list_splice(&client->sent, &client->failed);
	while (!list_is_empty(&client->sent)) {
		struct nbd_op *op =
			list_first(&client->sent, struct nbd_op, list);

		if (!op->trouble_ns)
			op->trouble_ns = op->sent_ns;
		give_back(op, client->returned);
	}
	go_down(client, err);
}

static void set_watch(struct nbd_client *client)
{
	unsigned direction = nbd_aio_get_direction(client->h);
	unsigned events = 0;

	if (direction & LIBNBD_AIO_DIRECTION_READ)
		events |= POLLIN;
	if (direction & LIBNBD_AIO_DIRECTION_WRITE)
		events |= POLLOUT;
	/* Set for more than needed is fine: it is set anew when it fires. */
	if (client->watch.is_set && !(events & ~client->watched))
		return;
	client->watched = events;
	loop_watch_set(&client->watch, nbd_aio_get_fd(client->h), events);
}

/* After a call of libnbd: what came of it? Returns false if it was lost. */
static bool settle(struct nbd_client *client)
{
	bool is_lost =
		nbd_aio_is_dead(client->h) || nbd_aio_is_closed(client->h);
	struct list *l, *tmp;

	list_for_each(l, tmp, &client->failed)
	{
		struct nbd_op *op = container_of(l, struct nbd_op, list);

		if (op->res == -ESHUTDOWN) /* the server is about to go */
			is_lost = true;
		else if (!is_lost)
			give_back(op, client->answered);
	}
	if (is_lost) {
		lose(client, -ENOTCONN);
		return false;
	}
	set_watch(client);
	return true;
}

static int on_answer(void *user_data, int *error)
{
	struct nbd_op *op = user_data;

	op->res = -*error;
	if (*error) {
		/* Whether it is the server's word or the connection's end is
		 * seen in settle(). */
		move(op, &op->client->failed);
	} else {
		op->client->pause_ns = 0;
		give_back(op, op->client->answered);
	}
	return 1; /* libnbd can forget it */
}

static int on_extents(void *user_data, const char *context, uint64_t offset,
		      uint32_t *entries, size_t nentries, int *error)
{
	struct nbd_op *op = user_data;
	struct blk_req *req = op->req;
	uint64_t at = 0;

	(void)context; /* we asked for one only */
	(void)offset;
	(void)error;
	req->nextents = 0;
	for (size_t i = 0; i + 1 < nentries && at < op->len; i += 2) {
		uint64_t len = min_u64(entries[i], op->len - at);
		uint32_t flags = 0;

		if (!len)
			continue;
		if (req->nextents == op->max_extents)
			break;
		if (entries[i + 1] & LIBNBD_STATE_HOLE)
			flags |= BLK_HOLE;
		if (entries[i + 1] & LIBNBD_STATE_ZERO)
			flags |= BLK_ZEROES;
		req->extents[req->nextents++] =
			(struct blk_extent){.len = len, .flags = flags};
		at += len;
	}
	return 0;
}

static int64_t send_op(struct nbd_client *client, struct nbd_op *op)
{
	struct nbd_handle *h = client->h;
	const struct blk_req *req = op->req;
	nbd_completion_callback done = {
		.callback = on_answer,
		.user_data = op,
	};
	nbd_extent_callback extents = {
		.callback = on_extents,
		.user_data = op,
	};
	uint32_t flags = 0;

	if (op->is_flush)
		return nbd_aio_flush(h, done, 0);
	if ((req->flags & BLK_FUA) && client->export->can_fua)
		flags |= LIBNBD_CMD_FLAG_FUA;
	switch (req->op) {
	case BLK_READ:
		return nbd_aio_pread(h, op->buf, op->len, op->offset, done, 0);
	case BLK_WRITE:
		return nbd_aio_pwrite(h, op->buf, op->len, op->offset, done,
				      flags);
	case BLK_DISCARD:
		return nbd_aio_trim(h, op->len, op->offset, done, flags);
	case BLK_ZERO:
		if (req->flags & BLK_NO_HOLE)
			flags |= LIBNBD_CMD_FLAG_NO_HOLE;
		if (req->flags & BLK_FAST)
			flags |= LIBNBD_CMD_FLAG_FAST_ZERO;
		return nbd_aio_zero(h, op->len, op->offset, done, flags);
	case BLK_CACHE:
		return nbd_aio_cache(h, op->len, op->offset, done, 0);
	case BLK_STATUS:
		op->req->nextents = 0;
		return nbd_aio_block_status(h, op->len, op->offset, extents,
					    done, 0);
	case BLK_FLUSH:
	case BLK_OP_MAX:
		break;
	}
	return nbd_aio_flush(h, done, 0);
}

int nbd_client_send(struct nbd_client *client, struct nbd_op *op)
{
	assert(client->state == NBD_CLIENT_READY);
	op->client = client;
	op->sent_ns = clock_ns();
	client->nsent++;
	client->bytes += op->len;
	move(op, &client->sent);
	if (send_op(client, op) < 0) {
		int err = nbd_get_errno();

		/* Not sent, and libnbd has no callback of it. */
		client->nsent--;
		client->bytes -= op->len;
		op->client = NULL;
		list_del(&op->list);
		if (!settle(client))
			return -ENOTCONN;
		return err > 0 ? -err : -EIO;
	}
	/* If the connection was lost meanwhile, @op is back already. */
	if (settle(client) && list_is_empty(&client->timer.list))
		loop_timer_set(client->loop, &client->timer,
			       op->sent_ns +
				       client->where->timeout_ms * NS_PER_MS);
	return 0;
}

static void on_timer(struct loop_timer *timer)
{
	struct nbd_client *client =
		container_of(timer, struct nbd_client, timer);
	uint64_t due;

	if (client->state == NBD_CLIENT_DOWN) {
		wake(client); /* the pause is over: the owner wants it, or not
			       */
		return;
	}
	if (client->state != NBD_CLIENT_READY || list_is_empty(&client->sent))
		return;
	due = list_first(&client->sent, struct nbd_op, list)->sent_ns +
	      client->where->timeout_ms * NS_PER_MS;
	if (due > clock_ns())
		loop_timer_set(client->loop, &client->timer, due);
	else
		lose(client, -ETIMEDOUT);
}

static void dialled(struct nbd_client *client)
{
	struct nbd_handle *h = NULL;
	struct nbd_export export;
	int err = nbd_dial_end(client->dial, &h);

	client->dial = NULL;
	if (!err)
		err = nbd_export_get(h, &export, NULL);
	if (!err && !nbd_export_is_as_good(&export, client->export))
		err = -ESTALE;
	if (err < 0) {
		if (h)
			nbd_close(h);
		go_down(client, err);
		return;
	}
	client->state = NBD_CLIENT_READY;
	client->h = h;
	client->err = 0;
	set_watch(client);
	wake(client);
}

static void on_ready(struct loop_watch *watch, int events)
{
	struct nbd_client *client =
		container_of(watch, struct nbd_client, watch);
	unsigned direction;

	if (client->state == NBD_CLIENT_DIALLING) {
		dialled(client);
		return;
	}
	if (client->state != NBD_CLIENT_READY)
		return;
	if (events < 0) {
		lose(client, events);
		return;
	}
	/* Of both, only read: an answer can change what is to be written. What
	 * these return is seen in the state that they leave behind. */
	direction = nbd_aio_get_direction(client->h);
	if ((direction & LIBNBD_AIO_DIRECTION_READ) && (events & ~POLLOUT))
		(void)nbd_aio_notify_read(client->h);
	else if (direction & LIBNBD_AIO_DIRECTION_WRITE)
		(void)nbd_aio_notify_write(client->h);
	(void)settle(client);
}

void nbd_client_want(struct nbd_client *client)
{
	int err;

	if (client->state == NBD_CLIENT_READY && !client->watch.is_set)
		set_watch(client); /* the one that was made at open */
	if (client->state != NBD_CLIENT_DOWN)
		return;
	if (client->dial_at_ns > clock_ns()) {
		if (list_is_empty(&client->timer.list))
			loop_timer_set(client->loop, &client->timer,
				       client->dial_at_ns);
		return;
	}
	loop_timer_cancel(&client->timer);
	err = nbd_dial_start(client->where, &client->dial);
	if (err < 0) {
		go_down(client, err);
		return;
	}
	client->state = NBD_CLIENT_DIALLING;
	loop_watch_set(&client->watch, nbd_dial_fd(client->dial), POLLIN);
}

void nbd_client_init(struct nbd_client *client, struct loop *loop,
		     struct nbd_handle *h)
{
	client->loop = loop;
	client->h = h;
	client->state = h ? NBD_CLIENT_READY : NBD_CLIENT_DOWN;
	list_init(&client->sent);
	list_init(&client->failed);
	loop_watch_init(loop, &client->watch, on_ready);
	loop_timer_init(&client->timer, on_timer);
}

void nbd_client_close(struct nbd_client *client,
		      void (*released)(struct loop_watch *watch))
{
	assert(!client->nsent);
	loop_timer_cancel(&client->timer);
	client->dial = nbd_dial_drop(client->dial);
	if (client->h) {
		/* Goes out at once if there is room in the socket. */
		(void)nbd_aio_disconnect(client->h, 0);
		nbd_close(client->h);
		client->h = NULL;
	}
	client->state = NBD_CLIENT_DOWN;
	loop_watch_release(&client->watch, released);
}
