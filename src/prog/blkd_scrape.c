/* SPDX-License-Identifier: Apache-2.0 */
/* blkd_scrape.c - the metrics over HTTP */
#include "prog/blkd_scrape.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/list.h"
#include "base/loop.h"
#include "base/why.h"
#include "prog/blkd.h"
#include "prog/blkd_metrics.h"
#include "prog/listen_spec.h"
#include "prog/socket.h"

/* A client: it asks until an empty line, then it is answered. */
struct scrape_conn {
	struct list list; /* of struct scrape */
	struct scrape *scrape;
	struct loop_watch watch;
	struct loop_timer timer;
	int fd;
	size_t in_len, out_len, sent;
	char *out; /* the answer; NULL while it asks */
	char in[SCRAPE_REQUEST_MAX];
};

struct scrape {
	struct blkd *blkd;
	struct loop_watch watch;
	struct list conns;
	unsigned nconns;
	int fd;
};

static void conn_freed(struct loop_watch *watch)
{
	free(container_of(watch, struct scrape_conn, watch));
}

static void conn_close(struct scrape_conn *conn)
{
	struct scrape *scrape = conn->scrape;

	loop_timer_cancel(&conn->timer);
	list_del(&conn->list);
	if (scrape->nconns-- == SCRAPE_CLIENTS_MAX)
		loop_watch_set(&scrape->watch, scrape->fd, POLLIN);
	cleanup_fd(&conn->fd);
	free(conn->out);
	loop_watch_release(&conn->watch, conn_freed);
}

static char *answer(struct blkd *blkd, size_t *ret_len)
{
	size_t len = 0;
	CLEANUP(cleanup_free) char *text = metrics_text(blkd, &len);
	char *whole = NULL;
	int n;

	if (!text)
		return NULL;
	n = asprintf(&whole,
		     "HTTP/1.1 200 OK\r\n"
		     "Content-Type: text/plain; version=0.0.4\r\n"
		     "Content-Length: %zu\r\nConnection: close\r\n\r\n%s",
		     len, text);
	if (n < 0)
		return NULL;
	*ret_len = (size_t)n;
	return whole;
}

static void conn_write(struct scrape_conn *conn)
{
	while (conn->sent < conn->out_len) {
		ssize_t n = send(conn->fd, conn->out + conn->sent,
				 conn->out_len - conn->sent,
				 MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno == EAGAIN) {
			loop_watch_set(&conn->watch, conn->fd, POLLOUT);
			return;
		}
		if (n < 0)
			break;
		conn->sent += (size_t)n;
	}
	conn_close(conn);
}

static void conn_read(struct scrape_conn *conn)
{
	ssize_t n = recv(conn->fd, conn->in + conn->in_len,
			 sizeof(conn->in) - conn->in_len, MSG_DONTWAIT);

	if (n < 0 && errno == EAGAIN) {
		loop_watch_set(&conn->watch, conn->fd, POLLIN);
		return;
	}
	if (n > 0)
		conn->in_len += (size_t)n;
	if (n > 0 && !memmem(conn->in, conn->in_len, "\r\n\r\n", 4) &&
	    conn->in_len < sizeof(conn->in)) {
		loop_watch_set(&conn->watch, conn->fd, POLLIN);
		return;
	}
	if (n > 0 && conn->in_len < sizeof(conn->in))
		conn->out = answer(conn->scrape->blkd, &conn->out_len);
	if (conn->out)
		conn_write(conn);
	else
		conn_close(conn);
}

static void on_conn(struct loop_watch *watch, int events)
{
	struct scrape_conn *conn =
		container_of(watch, struct scrape_conn, watch);

	(void)events;
	if (conn->out)
		conn_write(conn);
	else
		conn_read(conn);
}

static void on_timeout(struct loop_timer *timer)
{
	conn_close(container_of(timer, struct scrape_conn, timer));
}

static void on_listen(struct loop_watch *watch, int events)
{
	struct scrape *scrape = container_of(watch, struct scrape, watch);
	struct loop *loop = scrape->blkd->loop;
	int fd = accept4(scrape->fd, NULL, NULL, SOCK_CLOEXEC);
	struct scrape_conn *conn = fd < 0 ? NULL : calloc(1, sizeof(*conn));

	(void)events;
	if (conn) {
		conn->scrape = scrape;
		conn->fd = fd;
		list_init(&conn->list);
		list_add_tail(&scrape->conns, &conn->list);
		scrape->nconns++;
		loop_timer_init(&conn->timer, on_timeout);
		loop_timer_set(loop, &conn->timer,
			       clock_ns() + SCRAPE_TIMEOUT_MS * NS_PER_MS);
		loop_watch_init(loop, &conn->watch, on_conn);
		loop_watch_set(&conn->watch, fd, POLLIN);
	} else {
		cleanup_fd(&fd);
	}
	if (scrape->nconns < SCRAPE_CLIENTS_MAX)
		loop_watch_set(&scrape->watch, scrape->fd, POLLIN);
}

int scrape_new(struct blkd *blkd, const char *address, struct scrape **ret,
	       struct why *w)
{
	CLEANUP(cleanup_free) char *text = NULL;
	struct listen_spec spec = {0};
	struct scrape *scrape;
	int fd = -1, err;

	if (asprintf(&text, "tcp:%s", address) < 0) {
		text = NULL;
		return -ENOMEM;
	}
	err = listen_spec_parse(text, &spec, w);
	if (!err)
		err = socket_listen_tcp(spec.host, spec.port, &fd, w);
	listen_spec_release(&spec);
	if (err < 0)
		return why_in(w, err, "metrics");
	scrape = calloc(1, sizeof(*scrape));
	if (!scrape) {
		cleanup_fd(&fd);
		return -ENOMEM;
	}
	scrape->blkd = blkd;
	scrape->fd = fd;
	list_init(&scrape->conns);
	loop_watch_init(blkd->loop, &scrape->watch, on_listen);
	loop_watch_set(&scrape->watch, fd, POLLIN);
	*ret = scrape;
	return 0;
}

static void scrape_freed(struct loop_watch *watch)
{
	free(container_of(watch, struct scrape, watch));
}

struct scrape *scrape_free(struct scrape *scrape)
{
	if (!scrape)
		return NULL;
	while (!list_is_empty(&scrape->conns))
		conn_close(
			list_first(&scrape->conns, struct scrape_conn, list));
	cleanup_fd(&scrape->fd);
	loop_watch_release(&scrape->watch, scrape_freed);
	return NULL;
}
