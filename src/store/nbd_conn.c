/* SPDX-License-Identifier: Apache-2.0 */
/*
 * nbd_conn.c - one connection to an NBD server, made again when it is lost
 *
 * libnbd calls back from within its other functions, and must not be called
 * from there; so its callbacks only sort the op into a list, and after each
 * call of libnbd settle() looks at what came of it.
 */
#include "store/nbd_conn.h"

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

static void wake(struct nbd_conn *conn)
{
	loop_defer(conn->loop, conn->task);
}

/* @op leaves the connection for a list of the owner. */
static void give_back(struct nbd_op *op, struct list *to)
{
	struct nbd_conn *conn = op->conn;

	assert(conn->nsent > 0 && conn->bytes >= op->len);
	conn->nsent--;
	conn->bytes -= op->len;
	op->conn = NULL;
	move(op, to);
	wake(conn);
}

static void go_down(struct nbd_conn *conn, int err)
{
	conn->state = NBD_CONN_DOWN;
	conn->err = err;
	conn->dial_at_ns = clock_ns() + conn->pause_ns;
	conn->pause_ns = conn->pause_ns ? conn->pause_ns * 2 : PAUSE_MIN_NS;
	conn->pause_ns = min_u64(conn->pause_ns, PAUSE_MAX_NS);
	/* A request shall see several dials before it gives up. */
	conn->pause_ns = min_u64(conn->pause_ns,
				 conn->where->patience_ms * NS_PER_MS / 8);
	wake(conn);
}

/* Nothing of what is in flight will touch its buffer after nbd_close(). */
static void lose(struct nbd_conn *conn, int err)
{
	loop_watch_cancel(&conn->watch);
	loop_timer_cancel(&conn->timer);
	nbd_close(conn->h);
	conn->h = NULL;
	list_splice(&conn->sent, &conn->failed);
	while (!list_is_empty(&conn->sent)) {
		struct nbd_op *op =
			list_first(&conn->sent, struct nbd_op, list);

		if (!op->trouble_ns)
			op->trouble_ns = op->sent_ns;
		give_back(op, conn->returned);
	}
	go_down(conn, err);
}

static void set_watch(struct nbd_conn *conn)
{
	unsigned direction = nbd_aio_get_direction(conn->h);
	unsigned events = 0;

	if (direction & LIBNBD_AIO_DIRECTION_READ)
		events |= POLLIN;
	if (direction & LIBNBD_AIO_DIRECTION_WRITE)
		events |= POLLOUT;
	/* Set for more than needed is fine: it is set anew when it fires. */
	if (conn->watch.is_set && !(events & ~conn->watched))
		return;
	conn->watched = events;
	loop_watch_set(&conn->watch, nbd_aio_get_fd(conn->h), events);
}

/* After a call of libnbd: what came of it? Returns false if it was lost. */
static bool settle(struct nbd_conn *conn)
{
	bool is_lost = nbd_aio_is_dead(conn->h) || nbd_aio_is_closed(conn->h);
	struct list *l, *tmp;

	list_for_each(l, tmp, &conn->failed)
	{
		struct nbd_op *op = container_of(l, struct nbd_op, list);

		if (op->res == -ESHUTDOWN) /* the server is about to go */
			is_lost = true;
		else if (!is_lost)
			give_back(op, conn->answered);
	}
	if (is_lost) {
		lose(conn, -ENOTCONN);
		return false;
	}
	set_watch(conn);
	return true;
}

static int on_answer(void *user_data, int *error)
{
	struct nbd_op *op = user_data;

	op->res = -*error;
	if (*error) {
		/* Whether it is the server's word or the connection's end is
		 * seen in settle(). */
		move(op, &op->conn->failed);
	} else {
		op->conn->pause_ns = 0;
		give_back(op, op->conn->answered);
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

static int64_t send_op(struct nbd_conn *conn, struct nbd_op *op)
{
	struct nbd_handle *h = conn->h;
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
	if ((req->flags & BLK_FUA) && conn->export->can_fua)
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

int nbd_conn_send(struct nbd_conn *conn, struct nbd_op *op)
{
	assert(conn->state == NBD_CONN_READY);
	op->conn = conn;
	op->sent_ns = clock_ns();
	conn->nsent++;
	conn->bytes += op->len;
	move(op, &conn->sent);
	if (send_op(conn, op) < 0) {
		int err = nbd_get_errno();

		/* Not sent, and libnbd has no callback of it. */
		conn->nsent--;
		conn->bytes -= op->len;
		op->conn = NULL;
		list_del(&op->list);
		if (!settle(conn))
			return -ENOTCONN;
		return err > 0 ? -err : -EIO;
	}
	/* If the connection was lost meanwhile, @op is back already. */
	if (settle(conn) && list_is_empty(&conn->timer.list))
		loop_timer_set(conn->loop, &conn->timer,
			       op->sent_ns +
				       conn->where->timeout_ms * NS_PER_MS);
	return 0;
}

static void on_timer(struct loop_timer *timer)
{
	struct nbd_conn *conn = container_of(timer, struct nbd_conn, timer);
	uint64_t due;

	if (conn->state == NBD_CONN_DOWN) {
		wake(conn); /* the pause is over: the owner wants it, or not */
		return;
	}
	if (conn->state != NBD_CONN_READY || list_is_empty(&conn->sent))
		return;
	due = list_first(&conn->sent, struct nbd_op, list)->sent_ns +
	      conn->where->timeout_ms * NS_PER_MS;
	if (due > clock_ns())
		loop_timer_set(conn->loop, &conn->timer, due);
	else
		lose(conn, -ETIMEDOUT);
}

static void dialled(struct nbd_conn *conn)
{
	struct nbd_handle *h = NULL;
	struct nbd_export export;
	int err = nbd_dial_end(conn->dial, &h);

	conn->dial = NULL;
	if (!err)
		err = nbd_export_get(h, &export, NULL);
	if (!err && !nbd_export_is_as_good(&export, conn->export))
		err = -ESTALE;
	if (err < 0) {
		if (h)
			nbd_close(h);
		go_down(conn, err);
		return;
	}
	conn->state = NBD_CONN_READY;
	conn->h = h;
	conn->err = 0;
	set_watch(conn);
	wake(conn);
}

static void on_ready(struct loop_watch *watch, int events)
{
	struct nbd_conn *conn = container_of(watch, struct nbd_conn, watch);
	unsigned direction;

	if (conn->state == NBD_CONN_DIALLING) {
		dialled(conn);
		return;
	}
	if (conn->state != NBD_CONN_READY)
		return;
	if (events < 0) {
		lose(conn, events);
		return;
	}
	/* Of both, only read: an answer can change what is to be written. What
	 * these return is seen in the state that they leave behind. */
	direction = nbd_aio_get_direction(conn->h);
	if ((direction & LIBNBD_AIO_DIRECTION_READ) && (events & ~POLLOUT))
		(void)nbd_aio_notify_read(conn->h);
	else if (direction & LIBNBD_AIO_DIRECTION_WRITE)
		(void)nbd_aio_notify_write(conn->h);
	(void)settle(conn);
}

void nbd_conn_want(struct nbd_conn *conn)
{
	int err;

	if (conn->state == NBD_CONN_READY && !conn->watch.is_set)
		set_watch(conn); /* the one that was made at open */
	if (conn->state != NBD_CONN_DOWN)
		return;
	if (conn->dial_at_ns > clock_ns()) {
		if (list_is_empty(&conn->timer.list))
			loop_timer_set(conn->loop, &conn->timer,
				       conn->dial_at_ns);
		return;
	}
	loop_timer_cancel(&conn->timer);
	err = nbd_dial_start(conn->where, &conn->dial);
	if (err < 0) {
		go_down(conn, err);
		return;
	}
	conn->state = NBD_CONN_DIALLING;
	loop_watch_set(&conn->watch, nbd_dial_fd(conn->dial), POLLIN);
}

void nbd_conn_init(struct nbd_conn *conn, struct loop *loop,
		   struct nbd_handle *h)
{
	conn->loop = loop;
	conn->h = h;
	conn->state = h ? NBD_CONN_READY : NBD_CONN_DOWN;
	list_init(&conn->sent);
	list_init(&conn->failed);
	loop_watch_init(loop, &conn->watch, on_ready);
	loop_timer_init(&conn->timer, on_timer);
}

void nbd_conn_close(struct nbd_conn *conn,
		    void (*released)(struct loop_watch *watch))
{
	assert(!conn->nsent);
	loop_timer_cancel(&conn->timer);
	conn->dial = nbd_dial_drop(conn->dial);
	if (conn->h) {
		/* Goes out at once if there is room in the socket. */
		(void)nbd_aio_disconnect(conn->h, 0);
		nbd_close(conn->h);
		conn->h = NULL;
	}
	conn->state = NBD_CONN_DOWN;
	loop_watch_release(&conn->watch, released);
}
