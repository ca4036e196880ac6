/* SPDX-License-Identifier: Apache-2.0 */
/*
 * control.c - lines in, answers out
 *
 * A client is in one state at a time: it READS until there is a whole line,
 * its request is OPEN until it is answered, it WRITES until the answer is
 * gone. So a client has one request at a time, and one watch suffices.
 */
#include "prog/control.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/list.h"
#include "base/loop.h"
#include "base/why.h"
#include "prog/blkd.h"
#include "prog/socket.h"

enum conn_state { CONN_READS, CONN_OPEN, CONN_WRITES };

/**
 * struct control_conn - a client
 * @in, @in_len: bytes that have come and are not used up
 * @out, @out_len, @sent: the answer, and how much of it is gone
 */
struct control_conn {
	struct list list; /* of struct control */
	struct control *control;
	struct loop_watch watch;
	struct loop_task next; /* look at @in again, without recursion */
	enum conn_state state;
	int fd;
	char *out;
	size_t in_len, out_len, sent;
	char in[CONTROL_LINE_MAX];
};

struct control {
	struct blkd *blkd;
	struct loop_watch watch;
	struct list conns;
	unsigned nconns;
	int fd;
	char *path;
	bool is_stopped;
};

static void conn_freed(struct loop_watch *watch)
{
	free(container_of(watch, struct control_conn, watch));
}

static void listen_on(struct control *control)
{
	if (!control->is_stopped && control->nconns < CONTROL_CLIENTS_MAX)
		loop_watch_set(&control->watch, control->fd, POLLIN);
}

static void conn_close(struct control_conn *conn)
{
	struct control *control = conn->control;

	assert(conn->state != CONN_OPEN);
	if (control->is_stopped)
		loop_defer(control->blkd->loop, &control->blkd->end_task);
	loop_task_cancel(&conn->next);
	list_del(&conn->list);
	control->nconns--;
	cleanup_fd(&conn->fd);
	free(conn->out);
	loop_watch_release(&conn->watch, conn_freed);
	listen_on(control);
}

struct blkd *control_blkd(struct control_conn *conn)
{
	return conn->control->blkd;
}

/* ---- answers ---- */

static void conn_write(struct control_conn *conn)
{
	while (conn->sent < conn->out_len) {
		ssize_t n = send(conn->fd, conn->out + conn->sent,
				 conn->out_len - conn->sent,
				 MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno == EAGAIN) {
			loop_watch_set(&conn->watch, conn->fd, POLLOUT);
			return;
		}
		if (n < 0) {
			conn_close(conn);
			return;
		}
		conn->sent += (size_t)n;
	}
	free(conn->out);
	conn->out = NULL;
	conn->state = CONN_READS;
	loop_defer(conn->control->blkd->loop, &conn->next);
	if (conn->control->is_stopped) /* the end may wait for this answer */
		loop_defer(conn->control->blkd->loop,
			   &conn->control->blkd->end_task);
}

void control_answer(struct control_conn *conn, json_t *answer)
{
	char *text = NULL;

	assert(conn->state == CONN_OPEN);
	if (!answer)
		answer = json_object();
	if (answer && !json_object_get(answer, "ok"))
		(void)json_object_set_new(answer, "ok", json_true());
	if (answer)
		text = json_dumps(answer, JSON_COMPACT);
	json_decref(answer);
	conn->state = CONN_WRITES;
	if (!text) { /* no memory for an answer: the closed socket is one */
		conn_close(conn);
		return;
	}
	conn->out = text;
	conn->out_len = strlen(text);
	text[conn->out_len++] = '\n'; /* in place of the final 0 */
	conn->sent = 0;
	conn_write(conn);
}

void control_fail(struct control_conn *conn, int err, const struct why *w)
{
	const char *code = strerrorname_np(-err);

	control_answer(conn, json_pack("{s:b, s:s, s:s}", "ok", 0, "error",
				       w && *w->text ? w->text : strerror(-err),
				       "code", code ? code : "EIO"));
}

/* ---- requests ---- */

static void run(struct control_conn *conn, const char *line, size_t len)
{
	json_error_t error;
	json_t *request = json_loadb(line, len, JSON_REJECT_DUPLICATES, &error);
	const char *name = json_string_value(json_object_get(request, "op"));
	struct why w = {0};

	conn->state = CONN_OPEN;
	if (!request) {
		(void)why(&w, 0, "no JSON: %s", error.text);
		control_fail(conn, -EBADMSG, &w);
		return;
	}
	for (const struct control_op *op = control_ops; name && op->name; op++)
		if (!strcmp(op->name, name)) {
			op->run(conn, request);
			json_decref(request);
			return;
		}
	(void)why(&w, 0, "unknown request '%.32s'", name ? name : "");
	json_decref(request);
	control_fail(conn, -EOPNOTSUPP, &w);
}

static void conn_next(struct loop_task *task)
{
	struct control_conn *conn =
		container_of(task, struct control_conn, next);
	char *end = memchr(conn->in, '\n', conn->in_len);
	char *line;
	size_t len;

	if (conn->control->is_stopped) {
		conn_close(conn);
		return;
	}
	if (!end) {
		if (conn->in_len == sizeof(conn->in))
			conn_close(conn); /* no answer could be in order */
		else
			loop_watch_set(&conn->watch, conn->fd, POLLIN);
		return;
	}
	len = (size_t)(end - conn->in);
	line = malloc(len + 1);
	if (!line) {
		conn_close(conn);
		return;
	}
	memcpy(line, conn->in, len);
	conn->in_len -= len + 1;
	memmove(conn->in, end + 1, conn->in_len);
	run(conn, line, len);
	free(line);
}

static void on_conn(struct loop_watch *watch, int events)
{
	struct control_conn *conn =
		container_of(watch, struct control_conn, watch);
	ssize_t n;

	(void)events;
	if (conn->state == CONN_WRITES) {
		conn_write(conn);
		return;
	}
	n = recv(conn->fd, conn->in + conn->in_len,
		 sizeof(conn->in) - conn->in_len, MSG_DONTWAIT);
	if (n < 0 && errno == EAGAIN) {
		loop_watch_set(&conn->watch, conn->fd, POLLIN);
		return;
	}
	if (n <= 0) {
		conn_close(conn);
		return;
	}
	conn->in_len += (size_t)n;
	conn_next(&conn->next);
}

static void on_listen(struct loop_watch *watch, int events)
{
	struct control *control = container_of(watch, struct control, watch);
	struct control_conn *conn;
	int fd = accept4(control->fd, NULL, NULL, SOCK_CLOEXEC);

	(void)events;
	conn = fd < 0 ? NULL : calloc(1, sizeof(*conn));
	if (conn) {
		conn->control = control;
		conn->fd = fd;
		list_init(&conn->list);
		list_add_tail(&control->conns, &conn->list);
		control->nconns++;
		loop_task_init(&conn->next, conn_next);
		loop_watch_init(control->blkd->loop, &conn->watch, on_conn);
		loop_watch_set(&conn->watch, fd, POLLIN);
	} else {
		cleanup_fd(&fd);
	}
	listen_on(control);
}

int control_new(struct blkd *blkd, const char *path, int fd,
		struct control **ret, struct why *w)
{
	struct control *control = calloc(1, sizeof(*control));
	int err = 0;

	if (!control) {
		cleanup_fd(&fd);
		return -ENOMEM;
	}
	control->blkd = blkd;
	control->fd = fd;
	list_init(&control->conns);
	loop_watch_init(blkd->loop, &control->watch, on_listen);
	if (fd < 0) {
		control->path = strdup(path);
		err = control->path
			      ? socket_listen_unix(path, CONTROL_SOCKET_MODE,
						   &control->fd, w)
			      : -ENOMEM;
	}
	if (err < 0) {
		free(control->path);
		free(control);
		return err;
	}
	listen_on(control);
	*ret = control;
	return 0;
}

bool control_is_idle(const struct control *control)
{
	struct list *at, *next;

	if (!control)
		return true;
	list_for_each(at, next, &control->conns)
	{
		struct control_conn *conn =
			container_of(at, struct control_conn, list);

		if (conn->state == CONN_OPEN)
			return false;
	}
	return true;
}

void control_stop(struct control *control)
{
	if (!control)
		return;
	control->is_stopped = true;
	loop_watch_cancel(&control->watch);
}

static void control_freed(struct loop_watch *watch)
{
	free(container_of(watch, struct control, watch));
}

struct control *control_free(struct control *control)
{
	if (!control)
		return NULL;
	control_stop(control);
	while (!list_is_empty(&control->conns))
		conn_close(
			list_first(&control->conns, struct control_conn, list));
	cleanup_fd(&control->fd);
	if (control->path && !control->blkd->is_upgrading)
		(void)unlink(control->path);
	free(control->path);
	control->path = NULL;
	loop_watch_release(&control->watch, control_freed);
	return NULL;
}
