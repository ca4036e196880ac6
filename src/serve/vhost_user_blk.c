/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vhost_user_blk.c - the socket of a vhost-user back-end
 *
 * Accepts, reads one message at a time, lets vhost_device.c do what it says,
 * and answers. While a message waits for the queues to be idle no other is
 * read.
 */
#include "serve/vhost_user_blk.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/loop.h"
#include "serve/vhost_device.h"

enum state { WAITING, SERVING, DRAINING, STOPPED };

struct vhost_user_server {
	struct loop *loop;
	enum state state;
	int listen_fd, fd; /* fd: of the front-end, or -1 */
	struct loop_watch listen_watch, watch;
	struct loop_task idle_task; /* a message, or the end, may go on */
	struct vhost_user_stats stats;
	void (*on_event)(void *owner, const char *what);
	void *event_owner;
	bool is_stopping;
	void (*on_stopped)(void *owner);
	void *stopped_owner;

	/* The message that is being read. */
	struct vhost_user_head head; /* once all of it is there */
	bool has_head;
	bool is_waiting; /* it is whole, and waits for idle queues */
	uint32_t got; /* bytes of the head, or of the payload */
	uint8_t head_bytes[VHOST_USER_HEAD_LEN];
	uint8_t payload[VHOST_USER_PAYLOAD_MAX];
	struct vhost_user_msg msg;
	int fds[VHOST_USER_FDS_MAX];
	unsigned nfds;

	struct vhost_device dev;
};

static void event(struct vhost_user_server *s, const char *what)
{
	if (s->on_event)
		s->on_event(s->event_owner, what);
}

static void listen_again(struct vhost_user_server *s)
{
	loop_watch_set(&s->listen_watch, s->listen_fd, POLLIN);
}

static void forget_message(struct vhost_user_server *s)
{
	for (unsigned i = 0; i < s->nfds; i++)
		if (s->fds[i] >= 0)
			(void)close(s->fds[i]);
	s->nfds = 0;
	s->got = 0;
	s->has_head = false;
	s->is_waiting = false;
}

/* The front-end is done with: end what is in flight, then listen again. */
static void hang_up(struct vhost_user_server *s, const char *what)
{
	s->state = DRAINING;
	loop_watch_cancel(&s->watch);
	forget_message(s);
	event(s, what);
	vhost_device_pause(&s->dev);
	loop_defer(s->loop, &s->idle_task);
}

static void nonsense(struct vhost_user_server *s, const char *what)
{
	s->stats.nonsense++;
	hang_up(s, what);
}

static int answer(struct vhost_user_server *s,
		  const struct vhost_user_msg *reply, int fd)
{
	uint8_t bytes[VHOST_USER_HEAD_LEN + VHOST_USER_PAYLOAD_MAX];
	struct iovec iov = {
		.iov_base = bytes,
		.iov_len = vhost_user_msg_write(reply, bytes),
	};
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = {0};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};
	ssize_t n;

	if (fd >= 0) {
		struct cmsghdr *c;

		m.msg_control = control.bytes;
		m.msg_controllen = sizeof(control.bytes);
		c = CMSG_FIRSTHDR(&m);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), &fd, sizeof(int));
	}
	/* The socket holds many answers: one that is full is not read. */
	n = sendmsg(s->fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL);
	return n == (ssize_t)iov.iov_len ? 0 : -EPIPE;
}

/* Do what the message says; the queues are idle if it needs them so. */
static void handle(struct vhost_user_server *s)
{
	struct vhost_user_msg reply;
	uint64_t again = s->dev.stats.again;
	int reply_fd = -1;
	int res = vhost_device_message(&s->dev, &s->msg, s->fds, s->nfds,
				       &reply, &reply_fd);

	forget_message(s);
	if (s->dev.stats.again != again)
		event(s, "requests of an earlier life are done again");
	if (res == 1)
		res = answer(s, &reply, reply_fd);
	if (reply_fd >= 0)
		(void)close(reply_fd);
	if (res < 0)
		nonsense(s, "hung up: a message that makes no sense");
}

/* Descriptors that came with some bytes of the message. */
static int keep_fds(struct vhost_user_server *s, struct msghdr *m)
{
	bool fits = !(m->msg_flags & MSG_CTRUNC);

	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
		size_t n;

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < n; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(fd));
			if (s->nfds < VHOST_USER_FDS_MAX) {
				s->fds[s->nfds++] = fd;
			} else {
				(void)close(fd);
				fits = false;
			}
		}
	}
	return fits ? 0 : -EBADMSG;
}

/* Read @len bytes in all to @to: 1: they are there; 0: not yet; -errno */
static int fill(struct vhost_user_server *s, uint8_t *to, uint32_t len)
{
	union {
		char bytes[CMSG_SPACE(VHOST_USER_FDS_MAX * sizeof(int))];
		struct cmsghdr align;
	} control;

	while (s->got < len) {
		struct iovec iov = {
			.iov_base = to + s->got,
			.iov_len = len - s->got,
		};
		struct msghdr m = {
			.msg_iov = &iov,
			.msg_iovlen = 1,
			.msg_control = control.bytes,
			.msg_controllen = sizeof(control.bytes),
		};
		ssize_t n = recvmsg(s->fd, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return 0;
		if (n < 0)
			return -errno;
		if (keep_fds(s, &m) < 0)
			return -EBADMSG;
		if (!n)
			return -ECONNRESET;
		s->got += (uint32_t)n;
	}
	return 1;
}

/* Read on: 1: the message is whole; 0: not yet; -errno */
static int read_message(struct vhost_user_server *s)
{
	int res;

	if (!s->has_head) {
		res = fill(s, s->head_bytes, VHOST_USER_HEAD_LEN);
		if (res <= 0)
			return res;
		if (vhost_user_head_parse(s->head_bytes, &s->head) < 0)
			return -EBADMSG;
		s->has_head = true;
		s->got = 0;
	}
	res = fill(s, s->payload, s->head.len);
	if (res <= 0)
		return res;
	res = vhost_user_msg_parse(&s->head, s->payload, &s->msg);
	if (res < 0 || (s->msg.flags & VHOST_USER_REPLY))
		return -EBADMSG;
	return 1;
}

static void go_on(struct vhost_user_server *s)
{
	while (s->state == SERVING && !s->is_waiting) {
		int res = read_message(s);

		if (!res) {
			loop_watch_set(&s->watch, s->fd, POLLIN);
			return;
		}
		if (res == -EBADMSG) {
			nonsense(s, "hung up: not a message of vhost-user");
			return;
		}
		if (res < 0) {
			hang_up(s, "the front-end has gone");
			return;
		}
		if (vhost_device_must_wait(&s->dev, &s->msg)) {
			vhost_device_pause(&s->dev);
			if (!vhost_device_is_idle(&s->dev)) {
				s->is_waiting = true;
				/* To see it go, were it to go meanwhile. */
				loop_watch_set(&s->watch, s->fd, POLLRDHUP);
				return;
			}
		}
		handle(s);
	}
}

static void on_readable(struct loop_watch *watch, int events)
{
	struct vhost_user_server *s =
		container_of(watch, struct vhost_user_server, watch);

	(void)events;
	if (s->state != SERVING)
		return;
	if (s->is_waiting)
		hang_up(s, "the front-end has gone");
	else
		go_on(s);
}

static void accept_one(struct vhost_user_server *s)
{
	int fd =
		accept4(s->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0) { /* it thought better of it */
		listen_again(s);
		return;
	}
	s->fd = fd;
	s->state = SERVING;
	s->stats.clients++;
	event(s, "a front-end has come");
	loop_watch_set(&s->watch, s->fd, POLLIN);
}

static void on_connection(struct loop_watch *watch, int events)
{
	struct vhost_user_server *s =
		container_of(watch, struct vhost_user_server, listen_watch);

	(void)events;
	if (s->state == WAITING && !s->is_stopping)
		accept_one(s);
}

static void finish_stop(struct vhost_user_server *s)
{
	/* The kernel must have let go of both watches. */
	if (s->watch.is_in_flight || s->listen_watch.is_in_flight) {
		loop_defer(s->loop, &s->idle_task);
		return;
	}
	(void)close(s->listen_fd);
	s->listen_fd = -1;
	s->state = STOPPED;
	s->on_stopped(s->stopped_owner);
}

static void on_idle_task(struct loop_task *task)
{
	struct vhost_user_server *s =
		container_of(task, struct vhost_user_server, idle_task);

	if (s->state == SERVING) {
		if (!s->is_waiting || !vhost_device_is_idle(&s->dev))
			return;
		loop_watch_cancel(&s->watch);
		s->is_waiting = false;
		handle(s);
		go_on(s);
		return;
	}
	if (s->state == DRAINING) {
		if (!vhost_device_is_idle(&s->dev))
			return;
		vhost_device_reset(&s->dev);
		(void)close(s->fd);
		s->fd = -1;
		s->state = WAITING;
		if (!s->is_stopping)
			listen_again(s);
	}
	if (s->state == WAITING && s->is_stopping)
		finish_stop(s);
}

static void on_idle(struct vhost_device *dev)
{
	struct vhost_user_server *s =
		container_of(dev, struct vhost_user_server, dev);

	loop_defer(s->loop, &s->idle_task);
}

int vhost_user_server_new(struct loop *loop, int listen_fd, struct blk *blk,
			  const struct vhost_user_options *options,
			  struct vhost_user_server **ret)
{
	uint16_t nqueues = options->nqueues;
	struct vhost_user_server *s;

	if (!nqueues)
		nqueues = VHOST_QUEUES_MAX;
	if (nqueues > VHOST_QUEUES_MAX)
		return -EINVAL;
	s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	s->loop = loop;
	s->listen_fd = listen_fd;
	s->fd = -1;
	s->on_event = options->on_event;
	s->event_owner = options->owner;
	vhost_device_init(&s->dev, loop, blk, options->is_read_only,
			  options->serial, nqueues, on_idle);
	loop_watch_init(loop, &s->listen_watch, on_connection);
	loop_watch_init(loop, &s->watch, on_readable);
	loop_task_init(&s->idle_task, on_idle_task);
	listen_again(s);
	*ret = s;
	return 0;
}

void vhost_user_server_stop(struct vhost_user_server *s,
			    void (*on_stopped)(void *owner), void *owner)
{
	assert(!s->is_stopping);
	s->is_stopping = true;
	s->on_stopped = on_stopped;
	s->stopped_owner = owner;
	loop_watch_cancel(&s->listen_watch);
	if (s->state == SERVING)
		hang_up(s, "hung up: the server stops");
	else
		loop_defer(s->loop, &s->idle_task);
}

struct vhost_user_server *vhost_user_server_free(struct vhost_user_server *s)
{
	if (!s)
		return NULL;
	assert(s->state == STOPPED);
	vhost_device_release(&s->dev);
	free(s);
	return NULL;
}

void vhost_user_server_resized(struct vhost_user_server *s)
{
	if (s->state == SERVING)
		vhost_device_tell_config(&s->dev);
}

void vhost_user_server_stats(const struct vhost_user_server *s,
			     struct vhost_user_stats *ret)
{
	*ret = s->stats;
	ret->requests = s->dev.stats.requests;
	ret->again = s->dev.stats.again;
	ret->kicks = s->dev.stats.kicks;
	ret->calls = s->dev.stats.calls;
	ret->broken = s->dev.stats.broken;
	ret->is_connected = s->state == SERVING;
}
