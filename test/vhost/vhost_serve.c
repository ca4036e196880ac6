/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vhost_serve.c - the vhost-user door alone, for tests
 *
 *	vhost_serve SOCKET [ro] [direct] [queues=N] [slow=MS] SIZE|FILE
 *
 * SIZE is bytes of memory, with K, M or G; anything else is a file.
 */
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/blk.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/why.h"
#include "serve/vhost_user_blk.h"
#include "store/mem.h"
#include "store/slow.h"
#include "store/store.h"

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

static int open_blk(const char *what, unsigned flags, struct blk **ret)
{
	struct why why = {0};
	char *end;
	uint64_t size = strtoull(what, &end, 10);
	int err;

	if (end == what) {
		err = store_open(loop, what, flags, NULL, ret, &why);
		if (err < 0)
			log_error(NULL, "%s", why.text);
		return err;
	}
	for (const char *units = "KMG"; *end && *units; units++) {
		size <<= 10;
		if (*end == *units)
			break;
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
	unsigned flags = STORE_WRITE;
	uint64_t delay_ns = 0;
	int fd;

	log_setup("vhost_serve", LOG_LEVEL_INFO);
	if (argc < 3) {
		fprintf(stderr,
			"usage: vhost_serve SOCKET [OPTION]... SIZE|FILE\n");
		return 2;
	}
	for (int i = 2; i < argc - 1; i++)
		if (!strcmp(argv[i], "ro")) {
			options.is_read_only = true;
			flags &= ~STORE_WRITE;
		} else if (!strcmp(argv[i], "direct")) {
			flags |= STORE_DIRECT;
		} else if (!strncmp(argv[i], "queues=", 7)) {
			options.nqueues =
				(uint16_t)strtoul(argv[i] + 7, NULL, 10);
		} else if (!strncmp(argv[i], "slow=", 5)) {
			delay_ns = strtoull(argv[i] + 5, NULL, 10) * NS_PER_MS;
		}
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigprocmask(SIG_BLOCK, &set, NULL);

	if (loop_new(&loop, NULL) < 0)
		return 1;
	if (open_blk(argv[argc - 1], flags, &blk) < 0)
		return 1;
	if (delay_ns && slow_new(loop, blk, delay_ns, &blk) < 0)
		return 1;
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
	log_info("vhost",
		 "%" PRIu64 " requests, %" PRIu64 " kicks, %" PRIu64
		 " calls, %" PRIu64 " broken",
		 stats.requests, stats.kicks, stats.calls, stats.broken);
	vhost_user_server_free(server);
	blk_free(blk);
	loop_free(loop);
	return 0;
}
