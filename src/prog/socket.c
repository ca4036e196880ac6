/* SPDX-License-Identifier: Apache-2.0 */
/* socket.c - sockets that listen */
#include "prog/socket.h"

#include <errno.h>
#include <netdb.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/why.h"
#include "prog/inherit.h"
#include "prog/refuse.h"

static int unix_address(const char *path, struct sockaddr_un *un)
{
	size_t n = strlen(path);

	if (!n || n >= sizeof(un->sun_path))
		return -ENAMETOOLONG;
	*un = (struct sockaddr_un){.sun_family = AF_UNIX};
	memcpy(un->sun_path, path, n);
	return 0;
}

/*
 * Wait a moment, and try again? A daemon that was just killed listens until the
 * kernel has taken its ring down, a while after it is gone; so whoever starts
 * in its place waits. Later nobody does: the loop is running.
 */
static bool wait_at_start(void)
{
	const struct timespec pause = {.tv_nsec = 10 * NS_PER_MS};
	static uint64_t until_ns;

	if (!until_ns)
		until_ns = clock_ns() + SOCKET_WAIT_MS * NS_PER_MS;
	if (clock_ns() >= until_ns)
		return false;
	(void)nanosleep(&pause, NULL);
	return true;
}

int socket_connect_unix(const char *path, int *ret)
{
	CLEANUP(cleanup_fd) int fd = -1;
	struct sockaddr_un un;
	int err = unix_address(path, &un);

	if (err < 0)
		return err;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, (struct sockaddr *)&un, sizeof(un)) < 0)
		return -errno;
	*ret = take_fd(&fd);
	return 0;
}

/* Remove a socket file that its process left behind, and nothing else. */
static void remove_stale(const char *path)
{
	CLEANUP(cleanup_fd) int fd = -1;
	struct sockaddr_un un;
	struct stat st;

	if (lstat(path, &st) < 0 || !S_ISSOCK(st.st_mode))
		return;
	if (unix_address(path, &un) < 0)
		return;
	/* Not blocking: one that listens may have its queue full. */
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd >= 0 && connect(fd, (struct sockaddr *)&un, sizeof(un)) < 0 &&
	    errno == ECONNREFUSED)
		(void)unlink(path);
}

int socket_listen_unix(const char *path, unsigned mode, int *ret, struct why *w)
{
	CLEANUP(cleanup_fd) int fd = -1;
	struct sockaddr_un un;
	int err = unix_address(path, &un);

	if (err < 0)
		return why(w, err, "%s", path);
	fd = inherit_unix(path);
	if (fd >= 0) {
		*ret = take_fd(&fd);
		return 0;
	}
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return why(w, -errno, "socket");
	do {
		remove_stale(path);
		err = 0;
		if (bind(fd, (struct sockaddr *)&un, sizeof(un)) < 0)
			err = -errno;
	} while (err == -EADDRINUSE && wait_at_start());
	if (err < 0)
		return why(w, err, "listen at %s", path);
	if ((mode && chmod(path, mode) < 0) || listen(fd, SOCKET_BACKLOG) < 0) {
		err = why(w, -errno, "listen at %s", path);
		(void)unlink(path);
		return err;
	}
	*ret = take_fd(&fd);
	return 0;
}

static int listen_at(const struct addrinfo *ai, int *ret)
{
	CLEANUP(cleanup_fd) int fd = inherit_tcp(ai);
	int one = 1;

	if (fd >= 0) {
		*ret = take_fd(&fd);
		return 0;
	}
	fd = socket(ai->ai_family, SOCK_STREAM | SOCK_CLOEXEC, ai->ai_protocol);
	if (fd < 0)
		return -errno;
	/* Best effort: without it a restart may have to wait a minute. */
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(fd, ai->ai_addr, ai->ai_addrlen) < 0 ||
	    listen(fd, SOCKET_BACKLOG) < 0)
		return -errno;
	*ret = take_fd(&fd);
	return 0;
}

int socket_listen_tcp(const char *host, const char *port, int *ret,
		      struct why *w)
{
	struct addrinfo hints = {
		.ai_family = AF_UNSPEC,
		.ai_socktype = SOCK_STREAM,
		.ai_flags = AI_PASSIVE,
	};
	struct addrinfo *all;
	int err = getaddrinfo(host, port, &hints, &all);

	if (err)
		return refuse(w, "%s: %s", host, gai_strerror(err));
	for (struct addrinfo *ai = all; ai; ai = ai->ai_next) {
		do {
			err = listen_at(ai, ret);
		} while (err == -EADDRINUSE && wait_at_start());
		if (!err)
			break;
	}
	freeaddrinfo(all);
	return err < 0 ? why(w, err, "listen at %s:%s", host, port) : 0;
}
