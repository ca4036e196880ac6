/* SPDX-License-Identifier: Apache-2.0 */
/* nbd_send.c - the queue of answers, out in as few system calls as can be */
#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/array.h"
#include "serve/nbd_conn.h"

#define BATCH 64 /* answers of one system call */

void nbd_send_add(struct nbd_conn *conn, struct nbd_out *out)
{
	out->next = NULL;
	*conn->out_last = out;
	conn->out_last = &out->next;
	nbd_conn_wake(conn);
}

/* The first @n bytes of the queue are gone. */
static void advance(struct nbd_conn *conn, size_t n)
{
	n += conn->out_sent;
	while (conn->out_first && n >= conn->out_first->len) {
		struct nbd_out *out = conn->out_first;

		n -= out->len;
		conn->out_first = out->next;
		if (!conn->out_first)
			conn->out_last = &conn->out_first;
		out->sent(conn, out);
	}
	conn->out_sent = n;
}

static ssize_t send_plain(struct nbd_conn *conn, size_t *ret_want)
{
	struct iovec iov[BATCH];
	struct msghdr msg = {.msg_iov = iov};
	size_t skip = conn->out_sent, want = 0;
	struct nbd_out *out = conn->out_first;
	ssize_t n;

	for (; out && msg.msg_iovlen < BATCH; out = out->next) {
		iov[msg.msg_iovlen++] = (struct iovec){
			.iov_base = out->at + skip,
			.iov_len = out->len - skip,
		};
		want += out->len - skip;
		skip = 0;
	}
	*ret_want = want;
	if (conn->is_out_socket)
		n = sendmsg(conn->out, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
	else
		n = writev(conn->out, iov, (int)msg.msg_iovlen);
	return n < 0 ? -errno : n;
}

static ssize_t send_tls(struct nbd_conn *conn, size_t *ret_want)
{
	struct nbd_out *out = conn->out_first;

	*ret_want = 0; /* a record is smaller than that: ask again */
	return nbd_tls_send(conn->tls, out->at + conn->out_sent,
			    out->len - conn->out_sent);
}

void nbd_send(struct nbd_conn *conn)
{
	while (conn->out_first && !conn->out_watch.is_set) {
		size_t want;
		ssize_t n = conn->tls ? send_tls(conn, &want)
				      : send_plain(conn, &want);

		if (n >= 0)
			advance(conn, (size_t)n);
		/* Less than asked for is what a full socket takes: the next
		 * try would only say so. */
		if (n == -EAGAIN || (n >= 0 && (size_t)n < want)) {
			loop_watch_set(&conn->out_watch, conn->out, POLLOUT);
		} else if (n < 0 && n != -EINTR) {
			nbd_conn_kill(conn);
			return;
		}
	}
}

void nbd_send_drop(struct nbd_conn *conn)
{
	while (conn->out_first)
		advance(conn, conn->out_first->len - conn->out_sent);
}
