/* SPDX-License-Identifier: Apache-2.0 */
/*
 * nbd_conn.c - one client: its bytes in, and its life; nbd_conn.h has the
 * states
 *
 * Many requests come with one receive, and are parsed where they lie. The
 * payload of a write is copied from there as far as it came with its header;
 * the rest is received straight to where it belongs, together with what
 * follows it.
 *
 * Back-pressure: where there is no slot or no memory for the next request,
 * parsing pauses, and while it is paused nothing is received.
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/array.h"
#include "base/clock.h"
#include "serve/nbd_conn.h"

/* Bytes on their way to the peer; the kernel gives as much as it may. */
#define SEND_BUFFER (1 << 20)

void nbd_conn_wake(struct nbd_conn *conn)
{
	loop_defer(conn->server->loop, &conn->task);
}

void nbd_conn_kill(struct nbd_conn *conn)
{
	if (conn->life == NBD_DEAD)
		return;
	conn->life = NBD_DEAD;
	nbd_conn_wake(conn);
}

void nbd_conn_drain(struct nbd_conn *conn)
{
	if (conn->life != NBD_OPEN)
		return;
	conn->life = NBD_DRAINING;
	if (conn->filling) /* what comes next is no request: nobody goes on */
		conn->is_keeping = false;
	loop_timer_set(conn->server->loop, &conn->timer,
		       clock_ns() + conn->server->conf.drain_ms * NS_PER_MS);
	nbd_conn_wake(conn);
}

/* One that shakes hands while the server stops may end that, to be kept. */
#define KEEP_HANDSHAKE_MS 200

/* No more requests begin, and the write whose payload is coming is whole. */
static void keep_if_filled(struct nbd_conn *conn)
{
	if (!conn->is_keeping || conn->life != NBD_OPEN || conn->filling ||
	    conn->phase != NBD_REQUESTS)
		return;
	conn->is_keeping = !conn->tls;
	nbd_conn_drain(conn);
}

void nbd_conn_stop(struct nbd_conn *conn)
{
	if (!nbd_keep_can(conn)) {
		nbd_conn_drain(conn);
		return;
	}
	conn->is_keeping = true;
	loop_timer_set(conn->server->loop, &conn->timer,
		       clock_ns() + (conn->phase == NBD_REQUESTS
					     ? conn->server->conf.drain_ms
					     : KEEP_HANDSHAKE_MS) *
					    NS_PER_MS);
	keep_if_filled(conn);
}

/* It took too long over its handshake, or over taking its last answers. */
static void on_timer(struct loop_timer *timer)
{
	nbd_conn_kill(container_of(timer, struct nbd_conn, timer));
}

static void on_writable(struct loop_watch *watch, int events)
{
	(void)events; /* a broken socket shows at the next send */
	nbd_conn_wake(container_of(watch, struct nbd_conn, out_watch));
}

static void on_readable(struct loop_watch *watch, int events)
{
	(void)events;
	nbd_conn_wake(container_of(watch, struct nbd_conn, in_watch));
}

/* Move what there is of the write's payload to its buffer. */
static void fill(struct nbd_conn *conn)
{
	struct nbd_req *req = conn->filling;
	size_t n = min_u64(conn->rx_end - conn->rx_at, req->len - conn->filled);

	if (req->buf)
		memcpy(req->buf->at + conn->filled, conn->rx + conn->rx_at, n);
	conn->rx_at += n;
	conn->filled += (uint32_t)n;
	if (conn->filled == req->len)
		nbd_io_filled(conn);
}

/* Return: bytes used up; 0: more are needed, or it is paused. */
static size_t parse_request(struct nbd_conn *conn, const uint8_t *at,
			    size_t len)
{
	struct nbd_request request;

	if (len < NBD_REQUEST_LEN)
		return 0;
	if (nbd_request_decode(at, &request)) {
		nbd_conn_kill(conn);
		return 0;
	}
	if (request.type == NBD_CMD_DISC) {
		nbd_conn_drain(conn);
		return 0;
	}
	if (!nbd_io_may_begin(conn, &request)) {
		conn->is_paused = true;
		return 0;
	}
	if (len > NBD_REQUEST_LEN && request.type != NBD_CMD_WRITE)
		loop_is_busy(conn->server->loop);
	nbd_io_begin(conn, &request);
	return NBD_REQUEST_LEN;
}

/* Return: as above. */
static size_t parse_option(struct nbd_conn *conn, const uint8_t *at, size_t len)
{
	/* An option's answers may be long: not before the last ones left. */
	if (conn->out_first) {
		conn->is_paused = true;
		return 0;
	}
	return nbd_opt_parse(conn, at, len);
}

static void parse(struct nbd_conn *conn)
{
	conn->is_paused = false;
	while (conn->life == NBD_OPEN && conn->phase != NBD_SHAKING) {
		const uint8_t *at = conn->rx + conn->rx_at;
		size_t len = conn->rx_end - conn->rx_at, used;

		if (!len)
			break;
		if (conn->filling) {
			fill(conn);
			continue;
		}
		if (conn->is_keeping && conn->phase == NBD_REQUESTS)
			break;
		used = conn->phase == NBD_REQUESTS
			       ? parse_request(conn, at, len)
			       : parse_option(conn, at, len);
		if (!used)
			break;
		conn->rx_at += used;
	}
	/* What follows a wish for TLS in plain text could be anybody's. */
	if (conn->phase == NBD_SHAKING && conn->rx_at < conn->rx_end)
		nbd_conn_kill(conn);
	keep_if_filled(conn);
}

/* Where to receive: payload to its place, all else behind what is there. */
static int receive_where(struct nbd_conn *conn)
{
	struct nbd_req *req = conn->filling;
	int n = 0;

	if (conn->rx_at) {
		conn->rx_end -= conn->rx_at;
		memmove(conn->rx, conn->rx + conn->rx_at, conn->rx_end);
		conn->rx_at = 0;
	}
	if (req && req->buf)
		conn->rx_iov[n++] = (struct iovec){
			.iov_base = req->buf->at + conn->filled,
			.iov_len = req->len - conn->filled,
		};
	conn->rx_iov[n++] = (struct iovec){
		.iov_base = conn->rx + conn->rx_end,
		.iov_len = NBD_RX_SIZE - conn->rx_end,
	};
	return n;
}

/* @n bytes came to where receive_where() said. */
static void received(struct nbd_conn *conn, size_t n)
{
	struct nbd_req *req = conn->filling;

	if (req && req->buf) {
		size_t part = min_u64(n, req->len - conn->filled);

		conn->filled += (uint32_t)part;
		n -= part;
		conn->rx_end += n;
		if (conn->filled == req->len)
			nbd_io_filled(conn);
	} else {
		conn->rx_end += n;
	}
	parse(conn);
}

static void on_received(struct loop_op *op, int res, uint32_t cqe_flags)
{
	struct nbd_conn *conn = container_of(op, struct nbd_conn, recv_op);

	(void)cqe_flags;
	conn->is_receiving = false;
	if (conn->life == NBD_OPEN) {
		if (res > 0)
			received(conn, (size_t)res);
		else if (res == 0 || res == -ECONNRESET)
			nbd_conn_drain(conn);
		else if (res != -EINTR && res != -EAGAIN)
			nbd_conn_kill(conn);
	} else if (conn->is_keeping && conn->life == NBD_DRAINING) {
		if (res > 0) /* requests, for who goes on with it */
			conn->rx_end += (size_t)res;
		else if (res != -ECANCELED && res != -EINTR && res != -EAGAIN)
			conn->is_keeping = false; /* the peer has gone */
	}
	nbd_conn_wake(conn);
}

static void receive_tls(struct nbd_conn *conn)
{
	long n;

	if (conn->in_watch.is_set)
		return;
	(void)receive_where(conn);
	n = nbd_tls_recv(conn->tls, conn->rx_iov[0].iov_base,
			 conn->rx_iov[0].iov_len);
	if (n == -EAGAIN)
		loop_watch_set(&conn->in_watch, conn->in, POLLIN);
	else if (n == 0)
		nbd_conn_drain(conn);
	else if (n < 0)
		nbd_conn_kill(conn);
	else
		received(conn, (size_t)n);
	/* Others have their turn before the next record is looked at. */
	if (n != -EAGAIN)
		nbd_conn_wake(conn);
}

static void receive(struct nbd_conn *conn)
{
	struct io_uring_sqe *sqe;
	int n;

	if (conn->is_receiving)
		return;
	conn->is_receiving = true;
	n = receive_where(conn);
	sqe = loop_sqe(conn->server->loop, &conn->recv_op);
	if (n == 1 && conn->is_in_socket)
		io_uring_prep_recv(sqe, conn->in, conn->rx_iov[0].iov_base,
				   conn->rx_iov[0].iov_len, 0);
	else
		io_uring_prep_readv(sqe, conn->in, conn->rx_iov, (unsigned)n,
				    0);
}

/* The go-ahead for TLS has been sent: shake hands. */
static void shake(struct nbd_conn *conn)
{
	int err;

	if (conn->in_watch.is_set || conn->out_watch.is_set)
		return;
	if (!conn->tls) {
		err = nbd_tls_new(conn->server->conf.creds, conn->in, conn->out,
				  &conn->tls);
		if (err < 0) {
			nbd_conn_kill(conn);
			return;
		}
	}
	err = nbd_tls_shake(conn->tls);
	if (err == -EAGAIN) {
		unsigned events = nbd_tls_events(conn->tls);

		if (events == POLLIN)
			loop_watch_set(&conn->in_watch, conn->in, events);
		else
			loop_watch_set(&conn->out_watch, conn->out, events);
	} else if (err < 0) {
		nbd_conn_kill(conn);
	} else {
		conn->phase = NBD_OPTIONS;
		nbd_opt_forget(conn);
	}
}

/* Let go of all but the memory. Return: whether nothing is left in flight. */
static bool bury(struct nbd_conn *conn)
{
	if (!conn->is_receiving) /* else the kernel may be filling it */
		nbd_io_drop(conn);
	nbd_send_drop(conn);
	loop_timer_cancel(&conn->timer);
	loop_watch_cancel(&conn->in_watch);
	loop_watch_cancel(&conn->out_watch);
	list_del(&conn->waiting);
	if (conn->in >= 0) {
		if (conn->is_receiving)
			loop_cancel(conn->server->loop, &conn->recv_op);
		/* The peer sees the end now, though requests may still be in
		 * flight below. A descriptor in use by the ring stays open
		 * there until its op has ended. */
		if (conn->is_out_socket && !conn->is_given)
			(void)shutdown(conn->out, SHUT_RDWR);
		if (conn->out != conn->in)
			(void)close(conn->out);
		(void)close(conn->in);
		conn->in = conn->out = -1;
	}
	return !conn->nbusy && !conn->is_receiving &&
	       !conn->in_watch.is_in_flight && !conn->out_watch.is_in_flight;
}

static void conn_free(struct nbd_conn *conn)
{
	loop_task_cancel(&conn->task);
	nbd_conn_gone(conn);
	conn->tls = nbd_tls_free(conn->tls);
	free(conn->reqs);
	free(conn->rx);
	free(conn);
}

static void run(struct loop_task *task)
{
	struct nbd_conn *conn = container_of(task, struct nbd_conn, task);

	if (conn->life != NBD_DEAD)
		nbd_send(conn);
	if (conn->life == NBD_OPEN && conn->phase == NBD_SHAKING) {
		if (!conn->out_first)
			shake(conn);
		if (conn->phase == NBD_SHAKING && conn->life == NBD_OPEN)
			return;
	}
	if (conn->life == NBD_OPEN && conn->is_paused)
		parse(conn);
	if (conn->life == NBD_OPEN && !conn->is_paused &&
	    conn->phase != NBD_SHAKING) {
		if (conn->tls)
			receive_tls(conn);
		else
			receive(conn);
	}
	if (conn->life == NBD_DRAINING) {
		if (conn->is_receiving)
			loop_cancel(conn->server->loop, &conn->recv_op);
		else
			nbd_io_drop(conn);
		if (!conn->nbusy && !conn->out_first &&
		    !(conn->is_keeping && conn->is_receiving)) {
			if (conn->is_keeping)
				nbd_keep_give(conn);
			if (conn->tls)
				nbd_tls_bye(conn->tls);
			conn->life = NBD_DEAD;
		}
	}
	/* A watch that ends after its cancel calls nobody: look again. */
	if (conn->life == NBD_DEAD) {
		if (bury(conn))
			conn_free(conn);
		else if (conn->in_watch.is_in_flight ||
			 conn->out_watch.is_in_flight)
			nbd_conn_wake(conn);
	}
}

/* Over @in and @out, and in no list so far; NULL: no memory. */
static struct nbd_conn *conn_make(struct nbd_server *server, int in, int out)
{
	struct nbd_conn *conn = calloc(1, sizeof(*conn));
	int one = 1, size = SEND_BUFFER;

	if (!conn)
		return NULL;
	conn->rx = malloc(NBD_RX_SIZE);
	if (!conn->rx) {
		free(conn);
		return NULL;
	}
	conn->server = server;
	conn->in = in;
	conn->out = out;
	conn->out_last = &conn->out_first;
	conn->recv_op.done = on_received;
	list_init(&conn->of_export);
	list_init(&conn->waiting);
	loop_task_init(&conn->task, run);
	loop_timer_init(&conn->timer, on_timer);
	loop_watch_init(server->loop, &conn->in_watch, on_readable);
	loop_watch_init(server->loop, &conn->out_watch, on_writable);

	/* What does not apply to this kind of descriptor fails, and that is
	 * how we learn which kind it is. */
	conn->is_in_socket =
		!setsockopt(in, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
	conn->is_out_socket =
		!setsockopt(out, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	if (conn->is_out_socket) {
		(void)setsockopt(out, SOL_SOCKET, SO_KEEPALIVE, &one,
				 sizeof(one));
		(void)setsockopt(out, IPPROTO_TCP, TCP_NODELAY, &one,
				 sizeof(one));
	} else {
		(void)fcntl(out, F_SETFL, fcntl(out, F_GETFL) | O_NONBLOCK);
	}

	return conn;
}

int nbd_conn_new(struct nbd_server *server, int in, int out)
{
	struct nbd_conn *conn = conn_make(server, in, out);

	if (!conn)
		return -ENOMEM;
	if (nbd_opt_hello(conn) < 0) {
		free(conn->rx);
		free(conn);
		return -ENOMEM;
	}
	list_add_tail(&server->conns, &conn->list);
	loop_timer_set(server->loop, &conn->timer,
		       clock_ns() + server->conf.handshake_ms * NS_PER_MS);
	nbd_conn_wake(conn);
	return 0;
}

int nbd_conn_resume(struct nbd_server *server, struct nbd_export *export,
		    const struct nbd_kept *kept)
{
	struct nbd_conn *conn = conn_make(server, kept->fd, kept->fd);
	int err;

	if (!conn)
		return -ENOMEM;
	err = nbd_keep_take(conn, export, kept);
	if (err < 0) {
		free(conn->rx);
		free(conn);
		return err;
	}
	list_add_tail(&server->conns, &conn->list);
	nbd_conn_wake(conn);
	return 0;
}
