/* SPDX-License-Identifier: Apache-2.0 */
/*
 * nbd_serve.c - the NBD door alone, for tests and measurements
 *
 *	nbd_serve [-c N] [-H MS] [-r N] [-p PSKFILE | -x DIR [-R] [-v]]
 *		[-u SOCKET] [-l PORT] [-s] [-a] NAME=STORE[,ro][,slow=US] ...
 *
 * STORE is the address of a store (opened for writing unless ro), or mem:SIZE.
 * SIGUSR1 removes an export each time, in their order. -c, -H, -r: most
 * connections, milliseconds for the handshake, most requests of a connection.
 * -R requires TLS, -v verifies clients. -s serves standard input and output, -a
 * the socket at descriptor 3. SIGTERM stops in order: "stopped" and
 * the statistics on standard output.
 */
#include <errno.h>
#include <getopt.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/array.h"
#include "base/blk.h"
#include "base/clock.h"
#include "base/loop.h"
#include "base/why.h"
#include "serve/nbd.h"
#include "store/mem.h"
#include "store/slow.h"
#include "store/store.h"

#define EXPORTS_MAX 64

static struct loop *loop;
static struct nbd_server *server;
static struct loop_watch signals;
static int signal_fd;
static struct blk *disks[EXPORTS_MAX];
static struct nbd_export *exports[EXPORTS_MAX];
static int nexports, nremoved;
static bool is_stdio, is_stopping;

static void die(const char *what, int err)
{
	fprintf(stderr, "nbd_serve: %s: %s\n", what, strerror(-err));
	exit(1);
}

static void on_stopped(void *owner)
{
	(void)owner;
	loop_stop(loop);
}

static void stop(void)
{
	if (!is_stopping)
		nbd_server_stop(server, on_stopped, NULL);
	is_stopping = true;
}

static void on_idle(void *owner)
{
	(void)owner;
	if (is_stdio)
		stop();
}

static void on_removed(void *owner)
{
	struct blk **disk = owner;

	*disk = blk_free(*disk);
	printf("removed\n");
	fflush(stdout);
}

static void on_signal(struct loop_watch *watch, int events)
{
	struct signalfd_siginfo info;

	(void)events;
	if (read(signal_fd, &info, sizeof(info)) != sizeof(info))
		return;
	if (info.ssi_signo == SIGUSR1 && nremoved < nexports) {
		nbd_export_remove(exports[nremoved], on_removed,
				  &disks[nremoved]);
		nremoved++;
	} else if (info.ssi_signo == SIGTERM || info.ssi_signo == SIGINT) {
		stop();
		return;
	}
	loop_watch_set(watch, signal_fd, POLLIN);
}

static void add(char *arg)
{
	struct nbd_export_conf conf = {.name = arg, .description = arg};
	char *at = strchr(arg, '='), *option;
	uint64_t delay_us = 0;
	struct why why = {0};
	struct blk *blk;
	int err;

	if (!at || nexports == EXPORTS_MAX)
		die(arg, -EINVAL);
	*at++ = 0;
	while ((option = strrchr(at, ','))) {
		*option++ = 0;
		if (!strcmp(option, "ro"))
			conf.is_read_only = true;
		else if (!strncmp(option, "slow=", 5))
			delay_us = strtoull(option + 5, NULL, 0);
		else
			die(option, -EINVAL);
	}
	if (!strncmp(at, "mem:", 4))
		err = mem_new(strtoull(at + 4, NULL, 0), 1, &blk);
	else
		err = store_open(loop, at, conf.is_read_only ? 0 : STORE_WRITE,
				 NULL, &blk, &why);
	if (err < 0)
		die(why.text[0] ? why.text : at, err);
	if (delay_us) {
		err = slow_new(loop, blk, delay_us * NS_PER_US, &blk);
		if (err < 0)
			die(at, err);
	}
	conf.blk = disks[nexports] = blk;
	err = nbd_server_add(server, &conf, &exports[nexports]);
	if (err < 0)
		die(arg, err);
	nexports++;
}

static int listen_unix(const char *path)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)unlink(path);
	(void)snprintf(sun.sun_path, sizeof(sun.sun_path), "%s", path);
	if (fd < 0 || bind(fd, (void *)&sun, sizeof(sun)) || listen(fd, 128))
		die(path, -errno);
	return fd;
}

static int listen_tcp(const char *port)
{
	struct sockaddr_in sin = {
		.sin_family = AF_INET,
		.sin_port = htons((uint16_t)atoi(port)),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

	if (fd >= 0)
		(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one,
				 sizeof(one));
	if (fd < 0 || bind(fd, (void *)&sin, sizeof(sin)) || listen(fd, 128))
		die(port, -errno);
	return fd;
}

static void catch_signals(void)
{
	sigset_t set;

	(void)signal(SIGPIPE, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGUSR1);
	(void)sigprocmask(SIG_BLOCK, &set, NULL);
	signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	loop_watch_init(loop, &signals, on_signal);
	loop_watch_set(&signals, signal_fd, POLLIN);
}

int main(int argc, char **argv)
{
	struct nbd_conf conf = {.on_idle = on_idle};
	const char *psk = NULL, *x509 = NULL, *path = NULL, *port = NULL;
	const struct nbd_stats *stats;
	bool must_verify = false, is_activated = false;
	struct why why = {0};
	int opt, err;

	conf.tls = NBD_TLS_ALLOWED;
	while ((opt = getopt(argc, argv, "c:H:r:p:x:Rvu:l:sa")) != -1) {
		if (opt == 'c')
			conf.connections_max = (unsigned)atoi(optarg);
		else if (opt == 'H')
			conf.handshake_ms = (unsigned)atoi(optarg);
		else if (opt == 'r')
			conf.requests_max = (unsigned)atoi(optarg);
		else if (opt == 'p')
			psk = optarg;
		else if (opt == 'x')
			x509 = optarg;
		else if (opt == 'R')
			conf.tls = NBD_TLS_REQUIRED;
		else if (opt == 'v')
			must_verify = true;
		else if (opt == 'u')
			path = optarg;
		else if (opt == 'l')
			port = optarg;
		else if (opt == 'a')
			is_activated = true;
		else if (opt == 's')
			is_stdio = true;
		else
			return 2;
	}
	err = loop_new(&loop, &why);
	if (!err && psk)
		err = nbd_creds_new_psk(psk, &conf.creds, &why);
	else if (!err && x509)
		err = nbd_creds_new_x509(x509, must_verify, &conf.creds, &why);
	else
		conf.tls = NBD_TLS_OFF;
	if (!err)
		err = nbd_server_new(loop, &conf, &server);
	if (err < 0)
		die(why.text, err);
	while (optind < argc)
		add(argv[optind++]);
	catch_signals();
	if (path)
		err = nbd_server_listen(server, listen_unix(path));
	if (!err && port)
		err = nbd_server_listen(server, listen_tcp(port));
	if (!err && is_activated)
		err = nbd_server_listen(server, 3);
	if (!err && is_stdio)
		err = nbd_server_connect(server, dup(0), dup(1));
	if (err < 0)
		die("start", err);

	err = loop_run(loop);
	if (err < 0)
		die("loop", err);
	stats = nbd_server_stats(server);
	fprintf(is_stdio ? stderr : stdout,
		"stopped connections=%llu reads=%llu writes=%llu others=%llu "
		"errors=%llu\n",
		(unsigned long long)stats->connections,
		(unsigned long long)stats->reads,
		(unsigned long long)stats->writes,
		(unsigned long long)stats->others,
		(unsigned long long)stats->errors);
	server = nbd_server_free(server);
	for (int i = 0; i < nexports; i++)
		blk_free(disks[i]);
	conf.creds = nbd_creds_free(conf.creds);
	loop_watch_cancel(&signals);
	while (signals.is_in_flight)
		if (loop_turn(loop) < 0)
			break;
	loop_free(loop);
	return 0;
}
