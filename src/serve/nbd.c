/* SPDX-License-Identifier: Apache-2.0 */
/* nbd.c - the server: exports that come and go, listeners, limits */
#include "serve/nbd.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "serve/nbd_conn.h"

/* Buffers kept for the next request; what is over goes back to the system. */
#define BUFS_KEPT_MAX (4 * MIB)

/* After an accept that failed, for lack of descriptors mostly. */
#define ACCEPT_AGAIN_MS 100

struct listener {
	struct list list; /* of the server */
	struct nbd_server *server;
	int fd; /* owned */
	struct loop_op op;
	struct loop_timer timer; /* until it accepts again */
	bool is_accepting; /* the kernel has the op */
};

static void on_stopped(struct loop_task *task)
{
	struct nbd_server *server =
		container_of(task, struct nbd_server, stopped);

	/* An export that was removed since says so first. */
	if (list_is_empty(&server->leaving))
		server->done(server->done_owner);
}

int nbd_server_new(struct loop *loop, const struct nbd_conf *conf,
		   struct nbd_server **ret)
{
	struct nbd_server *server;

	if (conf->tls != NBD_TLS_OFF && !conf->creds)
		return -EINVAL;
	server = calloc(1, sizeof(*server));
	if (!server)
		return -ENOMEM;
	server->loop = loop;
	server->conf = *conf;
	conf = NULL;
	if (!server->conf.connections_max)
		server->conf.connections_max = 256;
	if (!server->conf.requests_max)
		server->conf.requests_max = 128;
	if (!server->conf.bytes_max)
		server->conf.bytes_max = 8 * MIB;
	if (!server->conf.large_bytes_max)
		server->conf.large_bytes_max = 256 * MIB;
	if (!server->conf.handshake_ms)
		server->conf.handshake_ms = 10 * 1000;
	if (!server->conf.drain_ms)
		server->conf.drain_ms = 2 * 1000;
	server->bufs.kept_max = BUFS_KEPT_MAX;
	list_init(&server->exports);
	list_init(&server->leaving);
	list_init(&server->listeners);
	list_init(&server->conns);
	list_init(&server->waiting);
	loop_task_init(&server->stopped, on_stopped);
	*ret = server;
	return 0;
}

static void export_free(struct nbd_export *export)
{
	list_del(&export->list);
	free((void *)(uintptr_t) export->conf.name);
	free((void *)(uintptr_t) export->conf.description);
	free(export);
}

struct nbd_server *nbd_server_free(struct nbd_server *server)
{
	if (!server)
		return NULL;
	assert(list_is_empty(&server->conns));
	assert(list_is_empty(&server->listeners));
	assert(list_is_empty(&server->leaving));
	while (!list_is_empty(&server->exports))
		export_free(
			list_first(&server->exports, struct nbd_export, list));
	loop_task_cancel(&server->stopped);
	nbd_bufs_release(&server->bufs);
	free(server);
	return NULL;
}

/* The last thing to end when the server stops says so. */
static void check_stopped(struct nbd_server *server)
{
	if (server->is_stopping && !server->nconns &&
	    list_is_empty(&server->listeners) &&
	    list_is_empty(&server->leaving))
		loop_defer(server->loop, &server->stopped);
}

static void listener_free(struct listener *listener)
{
	struct nbd_server *server = listener->server;

	loop_timer_cancel(&listener->timer);
	list_del(&listener->list);
	(void)close(listener->fd);
	free(listener);
	check_stopped(server);
}

static void accept_next(struct listener *listener)
{
	struct nbd_server *server = listener->server;

	if (listener->is_accepting || !list_is_empty(&listener->timer.list) ||
	    server->nconns >= server->conf.connections_max)
		return;
	listener->is_accepting = true;
	io_uring_prep_accept(loop_sqe(server->loop, &listener->op),
			     listener->fd, NULL, NULL, SOCK_CLOEXEC);
}

static void on_accept_again(struct loop_timer *timer)
{
	accept_next(container_of(timer, struct listener, timer));
}

static void on_accepted(struct loop_op *op, int res, uint32_t cqe_flags)
{
	struct listener *listener = container_of(op, struct listener, op);
	struct nbd_server *server = listener->server;

	(void)cqe_flags;
	listener->is_accepting = false;
	if (res >= 0 && (server->is_stopping ||
			 server->nconns >= server->conf.connections_max ||
			 nbd_conn_new(server, res, res)))
		(void)close(res);
	if (server->is_stopping) {
		listener_free(listener);
		return;
	}
	if (res >= 0)
		server->nconns++;
	else
		loop_timer_set(server->loop, &listener->timer,
			       clock_ns() + ACCEPT_AGAIN_MS * NS_PER_MS);
	accept_next(listener);
}

int nbd_server_listen(struct nbd_server *server, int fd)
{
	struct listener *listener = calloc(1, sizeof(*listener));

	if (!listener) {
		(void)close(fd);
		return -ENOMEM;
	}
	listener->server = server;
	listener->fd = fd;
	listener->op.done = on_accepted;
	loop_timer_init(&listener->timer, on_accept_again);
	list_add_tail(&server->listeners, &listener->list);
	accept_next(listener);
	return 0;
}

int nbd_server_connect(struct nbd_server *server, int in, int out)
{
	int err = server->is_stopping ? -ESHUTDOWN
				      : nbd_conn_new(server, in, out);

	if (!err) {
		server->nconns++;
		return 0;
	}
	if (out != in)
		(void)close(out);
	(void)close(in);
	return err;
}

int nbd_server_resume(struct nbd_server *server, const struct nbd_kept *kept)
{
	struct nbd_export *export = nbd_server_find(server, kept->name);
	int err = -EINVAL;

	if (!export)
		err = -ENOENT;
	else if (server->conf.tls == NBD_TLS_REQUIRED)
		err = -EPERM;
	else if (!server->is_stopping && nbd_keep_is_sane(kept))
		err = nbd_conn_resume(server, export, kept);
	if (!err)
		server->nconns++;
	else
		(void)close(kept->fd);
	return err;
}

void nbd_server_stop(struct nbd_server *server, void (*done)(void *owner),
		     void *owner)
{
	struct list *pos, *tmp;

	assert(!server->is_stopping);
	server->is_stopping = true;
	server->done = done;
	server->done_owner = owner;
	list_for_each(pos, tmp, &server->listeners)
	{
		struct listener *listener =
			container_of(pos, struct listener, list);

		if (listener->is_accepting)
			loop_cancel(server->loop, &listener->op);
		else
			listener_free(listener);
	}
	list_for_each(pos, tmp, &server->conns)
		nbd_conn_stop(container_of(pos, struct nbd_conn, list));
	check_stopped(server);
}

static void on_gone(struct loop_task *task)
{
	struct nbd_export *export = container_of(task, struct nbd_export, gone);
	struct nbd_server *server = export->server;
	void (*done)(void *owner) = export->done;
	void *owner = export->done_owner;

	export_free(export);
	check_stopped(server);
	if (done)
		done(owner);
}

void nbd_conn_gone(struct nbd_conn *conn)
{
	struct nbd_server *server = conn->server;
	struct nbd_export *export = conn->export;
	struct list *pos, *tmp;

	list_del(&conn->list);
	list_del(&conn->of_export);
	list_del(&conn->waiting);
	if (export) {
		export->stats.clients--;
		server->stats.clients--;
		if (export->conf.on_clients)
			export->conf.on_clients(export->conf.owner,
						export->stats.clients);
		if (export->is_removed && !export->stats.clients)
			loop_defer(server->loop, &export->gone);
	}
	server->nconns--;
	if (server->is_stopping) {
		check_stopped(server);
		return;
	}
	list_for_each(pos, tmp, &server->listeners)
		accept_next(container_of(pos, struct listener, list));
	if (!server->nconns && server->conf.on_idle)
		server->conf.on_idle(server->conf.owner);
}

static bool is_text(const char *text)
{
	return strlen(text) <= NBD_STRING_MAX;
}

int nbd_server_add(struct nbd_server *server,
		   const struct nbd_export_conf *conf, struct nbd_export **ret)
{
	const char *text = conf->description ? conf->description : "";
	CLEANUP(cleanup_free) struct nbd_export *export = NULL;
	CLEANUP(cleanup_free) char *name = NULL;
	CLEANUP(cleanup_free) char *description = NULL;

	if (!is_text(conf->name) || !is_text(text))
		return -EINVAL;
	if (nbd_server_find(server, conf->name))
		return -EEXIST;
	export = calloc(1, sizeof(*export));
	name = strdup(conf->name);
	description = strdup(text);
	if (!export || !name || !description)
		return -ENOMEM;

	export->server = server;
	export->conf = *conf;
	export->conf.name = take_ptr(&name);
	export->conf.description = take_ptr(&description);
	export->id = ++server->last_id;
	list_init(&export->conns);
	loop_task_init(&export->gone, on_gone);
	list_add_tail(&server->exports, &export->list);
	if (ret)
		*ret = export;
	(void)take_ptr(&export);
	return 0;
}

void nbd_export_remove(struct nbd_export *export, void (*done)(void *owner),
		       void *owner)
{
	struct nbd_server *server = export->server;
	struct list *pos, *tmp;

	assert(!export->is_removed);
	export->is_removed = true;
	export->done = done;
	export->done_owner = owner;
	list_del(&export->list);
	list_add_tail(&server->leaving, &export->list);
	list_for_each(pos, tmp, &export->conns)
		nbd_conn_drain(container_of(pos, struct nbd_conn, of_export));
	if (!export->stats.clients)
		loop_defer(server->loop, &export->gone);
}

struct nbd_export *nbd_server_find(struct nbd_server *server, const char *name)
{
	struct list *pos, *tmp;

	list_for_each(pos, tmp, &server->exports)
	{
		struct nbd_export *export =
			container_of(pos, struct nbd_export, list);

		if (!strcmp(export->conf.name, name))
			return export;
	}
	return NULL;
}

struct nbd_export *nbd_find(struct nbd_server *server,
			    const struct nbd_string *name)
{
	struct list *exports = &server->exports, *pos, *tmp;

	list_for_each(pos, tmp, exports)
	{
		struct nbd_export *export =
			container_of(pos, struct nbd_export, list);

		if (nbd_string_is(name, export->conf.name))
			return export;
	}
	if (!name->len && !list_is_empty(exports) &&
	    exports->next == exports->prev)
		return list_first(exports, struct nbd_export, list);
	return NULL;
}

const struct nbd_stats *nbd_export_stats(const struct nbd_export *export)
{
	return &export->stats;
}

const struct nbd_stats *nbd_server_stats(const struct nbd_server *server)
{
	return &server->stats;
}
