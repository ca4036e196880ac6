/* SPDX-License-Identifier: Apache-2.0 */
/* vhost_serve.c - the vhost-user door alone, for tests: SOCKET [ro|slow=MS]...
 * SIZE|FILE
 *
 * SIZE is bytes of memory (with K, M or G), anything else a file.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <poll.h>

#include "base/blk.h"
#include "base/log.h"
#include "base/loop.h"
#include "serve/vhost_user_blk.h"
#include "store/mem.h"

static struct loop *loop;
static struct vhost_user_server *server;

static void on_event(void *owner, const char *what)
{
	(void)owner;
	log_info("vhost", "%s", what);
}

static void on_stopped(void *owner)
{
	(void)owner;
	loop_stop(loop);
}

static void on_signal(struct loop_watch *watch, int events)
{
	(void)watch;
	(void)events;
	vhost_user_server_stop(server, on_stopped, NULL);
}

static int listen_at(const char *path)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (strlen(path) >= sizeof(a.sun_path))
		return -1;
	strcpy(a.sun_path, path);
	(void)unlink(path);
	if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0 ||
	    listen(fd, 8) < 0)
		return -1;
	return fd;
}

static int open_blk(const char *what, struct blk **ret)
{
	char *end;
	uint64_t size = strtoull(what, &end, 10);

	if (end == what)
		return -1;
	switch (*end) {
	case 'G':
		size <<= 10; /* fall through */
		__attribute__((fallthrough));
	case 'M':
		size <<= 10;
		__attribute__((fallthrough));
	case 'K':
		size <<= 10;
	}
	return mem_new(size, 512, ret);
}

int main(int argc, char **argv)
{
	struct vhost_user_options options = {
		.serial = "roost-test",
		.on_event = on_event,
	};
	struct loop_watch watch;
	struct blk *blk = NULL;
	struct vhost_user_stats stats;
	sigset_t set;
	int fd;

	log_setup("vhost_serve", LOG_LEVEL_INFO);
	if (argc < 3) {
		fprintf(stderr, "usage: vhost_serve SOCKET [ro] SIZE|FILE\n");
		return 2;
	}
	for (int i = 2; i < argc - 1; i++)
		if (!strcmp(argv[i], "ro"))
			options.is_read_only = true;
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigprocmask(SIG_BLOCK, &set, NULL);

	if (loop_new(&loop, NULL) < 0)
		return 1;
	if (open_blk(argv[argc - 1], &blk) < 0) {
		perror(argv[argc - 1]);
		return 1;
	}
	fd = listen_at(argv[1]);
	if (fd < 0) {
		perror(argv[1]);
		return 1;
	}
	if (vhost_user_server_new(loop, fd, blk, &options, &server) < 0)
		return 1;
	loop_watch_init(loop, &watch, on_signal);
	loop_watch_set(&watch, signalfd(-1, &set, SFD_CLOEXEC), POLLIN);
	(void)loop_run(loop);
	vhost_user_server_stats(server, &stats);
	log_info("vhost", "%lu requests, %lu kicks, %lu calls, %lu broken",
		 stats.requests, stats.kicks, stats.calls, stats.broken);
	vhost_user_server_free(server);
	blk_free(blk);
	loop_free(loop);
	return 0;
}
