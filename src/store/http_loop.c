/* SPDX-License-Identifier: Apache-2.0 */
/* http_loop.c - libcurl's transfers, driven by the loop */
#include "store/http_loop.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdlib.h>

#include "base/array.h"
#include "base/clock.h"
#include "base/loop.h"
#include "store/http_get.h"

/* A socket that libcurl waits for. */
struct socket {
	struct loop_watch watch;
	struct http_loop *owner;
	struct list list; /* in @unused */
	curl_socket_t fd;
	unsigned events;
};

struct http_loop {
	struct loop *loop;
	CURLM *multi;
	struct loop_timer timer; /* libcurl's */
	void (*done)(void *owner, struct http_get *get, CURLcode code);
	void *done_owner;

	struct list unused; /* of struct socket */
	struct socket *acting; /* whose event libcurl is told of just now */
	unsigned nsockets; /* in use, or not released yet */
	bool is_closed;
};

/* What libcurl has finished; it is called from no function of libcurl. */
static void collect(struct http_loop *hl)
{
	CURLMsg *msg;
	int left;

	while ((msg = curl_multi_info_read(hl->multi, &left))) {
		CURLcode code = msg->data.result;
		CURL *easy = msg->easy_handle;
		struct http_get *get = NULL;

		if (msg->msg != CURLMSG_DONE)
			continue;
		(void)curl_easy_getinfo(easy, CURLINFO_PRIVATE, (char **)&get);
		(void)curl_multi_remove_handle(hl->multi, easy);
		hl->done(hl->done_owner, get, code);
	}
}

static void on_ready(struct loop_watch *watch, int events)
{
	struct socket *sock = container_of(watch, struct socket, watch);
	struct http_loop *hl = sock->owner;
	int mask = 0, running;

	if (events < 0 || (events & (POLLERR | POLLHUP)))
		mask |= CURL_CSELECT_ERR;
	if (events > 0 && (events & (POLLIN | POLLHUP)))
		mask |= CURL_CSELECT_IN;
	if (events > 0 && (events & POLLOUT))
		mask |= CURL_CSELECT_OUT;
	hl->acting = sock;
	(void)curl_multi_socket_action(hl->multi, sock->fd, mask, &running);
	/* Unless libcurl has dropped it meanwhile, it still waits for it. */
	if (hl->acting && !sock->watch.is_set)
		loop_watch_set(&sock->watch, sock->fd, sock->events);
	hl->acting = NULL;
	collect(hl);
}

static void on_timer(struct loop_timer *timer)
{
	struct http_loop *hl = container_of(timer, struct http_loop, timer);
	int running;

	(void)curl_multi_socket_action(hl->multi, CURL_SOCKET_TIMEOUT, 0,
				       &running);
	collect(hl);
}

static int want_timer(CURLM *multi, long timeout_ms, void *user)
{
	struct http_loop *hl = user;

	(void)multi;
	if (timeout_ms < 0)
		loop_timer_cancel(&hl->timer);
	else
		loop_timer_set(hl->loop, &hl->timer,
			       clock_ns() + (uint64_t)timeout_ms * NS_PER_MS);
	return 0;
}

static void free_if_last(struct http_loop *hl)
{
	if (hl->is_closed && !hl->nsockets)
		free(hl);
}

static void on_released(struct loop_watch *watch)
{
	struct socket *sock = container_of(watch, struct socket, watch);
	struct http_loop *hl = sock->owner;

	hl->nsockets--;
	if (!hl->is_closed) {
		list_add(&hl->unused, &sock->list);
		return;
	}
	free(sock);
	free_if_last(hl);
}

static struct socket *socket_for(struct http_loop *hl, curl_socket_t fd)
{
	struct socket *sock;

	if (list_is_empty(&hl->unused)) {
		sock = calloc(1, sizeof(*sock));
		if (!sock)
			return NULL;
		sock->owner = hl;
		list_init(&sock->list);
	} else {
		sock = list_first(&hl->unused, struct socket, list);
		list_del(&sock->list);
	}
	loop_watch_init(hl->loop, &sock->watch, on_ready);
	sock->fd = fd;
	hl->nsockets++;
	(void)curl_multi_assign(hl->multi, fd, sock);
	return sock;
}

static int want_socket(CURL *easy, curl_socket_t fd, int what, void *user,
		       void *socket_user)
{
	struct http_loop *hl = user;
	struct socket *sock = socket_user;
	unsigned events = 0;

	(void)easy;
	if (what == CURL_POLL_REMOVE) {
		if (sock) {
			if (hl->acting == sock)
				hl->acting = NULL;
			(void)curl_multi_assign(hl->multi, fd, NULL);
			loop_watch_release(&sock->watch, on_released);
		}
		return 0;
	}
	if (!sock)
		sock = socket_for(hl, fd);
	if (!sock)
		return -1;
	if (what & CURL_POLL_IN)
		events |= POLLIN;
	if (what & CURL_POLL_OUT)
		events |= POLLOUT;
	if (sock->watch.is_set && sock->events == events)
		return 0;
	sock->events = events;
	loop_watch_set(&sock->watch, fd, events);
	return 0;
}

int http_loop_new(struct loop *loop, unsigned connections,
		  void (*done)(void *owner, struct http_get *get,
			       CURLcode code),
		  void *owner, struct http_loop **ret)
{
	struct http_loop *hl = calloc(1, sizeof(*hl));
	unsigned bad = 0;

	if (!hl)
		return -ENOMEM;
	hl->loop = loop;
	hl->done = done;
	hl->done_owner = owner;
	list_init(&hl->unused);
	loop_timer_init(&hl->timer, on_timer);
	hl->multi = curl_multi_init();
	if (!hl->multi) {
		free(hl);
		return -ENOMEM;
	}
#define SET(option, value)                                                     \
	(bad |=                                                                \
	 (unsigned)curl_multi_setopt(hl->multi, CURLMOPT_##option, value))
	SET(SOCKETFUNCTION, want_socket);
	SET(SOCKETDATA, (void *)hl);
	SET(TIMERFUNCTION, want_timer);
	SET(TIMERDATA, (void *)hl);
	SET(MAX_HOST_CONNECTIONS, (long)connections);
	SET(MAXCONNECTS, (long)connections);
#undef SET
	if (bad) {
		http_loop_free(hl);
		return -ENOMEM;
	}
	*ret = hl;
	return 0;
}

int http_loop_start(struct http_loop *hl, struct http_get *get)
{
	return curl_multi_add_handle(hl->multi, get->easy) ? -ENOMEM : 0;
}

struct http_loop *http_loop_free(struct http_loop *hl)
{
	if (!hl)
		return NULL;
	(void)curl_multi_cleanup(hl->multi);
	loop_timer_cancel(&hl->timer);
	hl->is_closed = true;
	while (!list_is_empty(&hl->unused)) {
		struct socket *sock =
			list_first(&hl->unused, struct socket, list);

		list_del(&sock->list);
		free(sock);
	}
	free_if_last(hl);
	return NULL;
}
