/* SPDX-License-Identifier: Apache-2.0 */
/*
 * nbd_raw.c - how fast is an NBD server with hot data, and at what CPU cost
 *
 *	nbd_raw [-c libnbd|raw|batch] [-p PID] [-t SECONDS] [-e EXPORT]
 *		SOCKET MODE ...
 *
 * Modes: qd1, qd32 (4 KiB reads at random places, so many in flight), two
 * (qd32 on each of two connections, a thread each), seq (128 KiB reads in
 * order, 8 in flight). One line each: requests per second and, of the server
 * PID (all its threads), the microseconds of CPU per request.
 *
 * Clients: libnbd is what people use, and is itself at its limit near 100,000
 * requests per second. raw is this program's own, which also sends one request
 * per system call but costs less; batch sends all it may at once.
 */
#include <dirent.h>
#include <errno.h>
#include <libnbd.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "wire/nbd_msg.h"

#define DEPTH_MAX 32

struct mode {
	const char *name;
	unsigned size, depth, connections;
	bool is_random;
};

static const struct mode modes[] = {
	{"qd1", 4096, 1, 1, true},
	{"qd32", 4096, 32, 1, true},
	{"two", 4096, 32, 2, true},
	{"seq", 128 << 10, 8, 1, false},
};

struct client {
	const struct mode *mode;
	uint64_t size, next, random;
	uint64_t did;
	struct nbd_handle *nbd;
	int fd;
	char *buf[DEPTH_MAX];
};

static const char *socket_path, *export_name = "", *kind = "libnbd";
static double seconds = 3;
static atomic_bool is_over;

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* Nanoseconds of CPU that the threads of @pid have had. */
static uint64_t cpu_of(const char *pid)
{
	char path[300];
	uint64_t sum = 0;
	struct dirent *entry;
	DIR *dir;

	(void)snprintf(path, sizeof(path), "/proc/%s/task", pid);
	dir = opendir(path);
	if (!dir)
		die(path);
	while ((entry = readdir(dir))) {
		unsigned long long ns;
		FILE *file;

		(void)snprintf(path, sizeof(path), "/proc/%s/task/%s/schedstat",
			       pid, entry->d_name);
		file = entry->d_name[0] == '.' ? NULL : fopen(path, "r");
		if (!file)
			continue;
		if (fscanf(file, "%llu", &ns) == 1)
			sum += ns;
		(void)fclose(file);
	}
	(void)closedir(dir);
	return sum;
}

static uint64_t next_offset(struct client *client)
{
	uint64_t blocks = client->size / client->mode->size, n;

	if (client->mode->is_random) {
		client->random ^= client->random << 13;
		client->random ^= client->random >> 7;
		client->random ^= client->random << 17;
		n = client->random;
	} else {
		n = client->next++;
	}
	return n % blocks * client->mode->size;
}

static int on_read(void *user, int *error)
{
	struct client *client = user;

	if (*error) {
		fprintf(stderr, "read: %s\n", strerror(*error));
		exit(1);
	}
	client->did++;
	return 1;
}

static void run_libnbd(struct client *client)
{
	struct nbd_handle *nbd = client->nbd;
	nbd_completion_callback done = {.callback = on_read,
					.user_data = client};
	unsigned slot = 0;

	while (!is_over) {
		while (nbd_aio_in_flight(nbd) < (int)client->mode->depth) {
			if (nbd_aio_pread(nbd, client->buf[slot],
					  client->mode->size,
					  next_offset(client), done, 0) < 0) {
				fprintf(stderr, "%s\n", nbd_get_error());
				exit(1);
			}
			slot = (slot + 1) % client->mode->depth;
		}
		if (nbd_poll(nbd, -1) < 0) {
			fprintf(stderr, "%s\n", nbd_get_error());
			exit(1);
		}
	}
	while (nbd_aio_in_flight(nbd) > 0 && nbd_poll(nbd, -1) >= 0)
		;
}

static void read_all(int fd, void *at, size_t len)
{
	for (size_t n = 0; n < len;) {
		ssize_t got = read(fd, (char *)at + n, len - n);

		if (got <= 0)
			die("the server hung up");
		n += (size_t)got;
	}
}

static void open_raw(struct client *client)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	uint8_t in[NBD_HELLO_LEN], out[4 + NBD_OPTION_LEN];

	(void)snprintf(sun.sun_path, sizeof(sun.sun_path), "%s", socket_path);
	client->fd = socket(AF_UNIX, SOCK_STREAM, 0);
	if (client->fd < 0 || connect(client->fd, (void *)&sun, sizeof(sun)))
		die(socket_path);
	read_all(client->fd, in, NBD_HELLO_LEN);
	put_be32(out, NBD_FIXED_NEWSTYLE | NBD_NO_ZEROES);
	put_be64(out + 4, get_be64(in + 8)); /* the magic of an option */
	put_be32(out + 12, NBD_OPT_EXPORT_NAME);
	put_be32(out + 16, (uint32_t)strlen(export_name));
	if (write(client->fd, out, sizeof(out)) != sizeof(out) ||
	    write(client->fd, export_name, strlen(export_name)) < 0)
		die("write");
	read_all(client->fd, in, NBD_EXPORT_LEN);
	client->size = get_be64(in);
}

static void put_read(struct client *client, uint8_t *at)
{
	put_be32(at, 0x25609513);
	put_be32(at + 4, NBD_CMD_READ);
	put_be64(at + 8, 0);
	put_be64(at + 16, next_offset(client));
	put_be32(at + 24, client->mode->size);
}

static void run_raw(struct client *client)
{
	static const size_t rx_size = 2 << 20;
	size_t reply = NBD_SIMPLE_LEN + client->mode->size, have = 0;
	unsigned in_flight = 0, depth = client->mode->depth;
	bool is_batch = !strcmp(kind, "batch");
	char *rx = malloc(rx_size);
	uint8_t tx[DEPTH_MAX * NBD_REQUEST_LEN];

	while (!is_over || in_flight) {
		size_t n = 0;
		ssize_t got;

		for (; in_flight < depth && !is_over; in_flight++) {
			put_read(client, tx + n);
			n += NBD_REQUEST_LEN;
			if (is_batch)
				continue;
			if (write(client->fd, tx, n) < 0)
				die("write");
			n = 0;
		}
		if (n && write(client->fd, tx, n) < 0)
			die("write");
		got = read(client->fd, rx + have, rx_size - have);
		if (got <= 0)
			die("the server hung up");
		have += (size_t)got;
		for (n = 0; have - n >= reply; n += reply) {
			if (get_be32(rx + n + 4))
				die("a read failed");
			client->did++;
			in_flight--;
		}
		/* The payload is not moved: the next bytes overwrite what of
		 * it has come, but for the header. */
		have -= n;
		if (n && have)
			memmove(rx, rx + n,
				have < NBD_SIMPLE_LEN ? have : NBD_SIMPLE_LEN);
	}
	free(rx);
}

static void *run_client(void *arg)
{
	struct client *client = arg;

	if (client->nbd)
		run_libnbd(client);
	else
		run_raw(client);
	return NULL;
}

static void open_client(struct client *client, const struct mode *mode,
			unsigned seed)
{
	*client = (struct client){
		.mode = mode,
		.random = 88172645463325252ull + seed,
		.fd = -1,
	};
	if (strcmp(kind, "libnbd") != 0) {
		open_raw(client);
		return;
	}
	for (unsigned i = 0; i < mode->depth; i++)
		client->buf[i] = malloc(mode->size);
	client->nbd = nbd_create();
	if (!client->nbd || nbd_set_export_name(client->nbd, export_name) < 0 ||
	    nbd_connect_unix(client->nbd, socket_path) < 0) {
		fprintf(stderr, "%s\n", nbd_get_error());
		exit(1);
	}
	client->size = (uint64_t)nbd_get_size(client->nbd);
}

static void close_client(struct client *client)
{
	for (unsigned i = 0; i < client->mode->depth; i++)
		free(client->buf[i]);
	if (client->nbd)
		nbd_close(client->nbd);
	if (client->fd >= 0)
		close(client->fd);
}

static void measure(const struct mode *mode, const char *pid)
{
	struct client clients[2];
	pthread_t threads[2];
	uint64_t did = 0, cpu;
	double begin, took;

	is_over = false;
	for (unsigned i = 0; i < mode->connections; i++)
		open_client(&clients[i], mode, i);
	cpu = pid ? cpu_of(pid) : 0;
	begin = now();
	for (unsigned i = 0; i < mode->connections; i++)
		if (pthread_create(&threads[i], NULL, run_client, &clients[i]))
			die("pthread_create");
	usleep((useconds_t)(seconds * 1e6));
	is_over = true;
	for (unsigned i = 0; i < mode->connections; i++) {
		pthread_join(threads[i], NULL);
		did += clients[i].did;
	}
	took = now() - begin;
	cpu = pid ? cpu_of(pid) - cpu : 0;
	for (unsigned i = 0; i < mode->connections; i++)
		close_client(&clients[i]);
	printf("%s iops=%.0f cpu_us=%.2f\n", mode->name, (double)did / took,
	       did ? (double)cpu / 1e3 / (double)did : 0);
	fflush(stdout);
}

int main(int argc, char **argv)
{
	const char *pid = NULL;
	int opt;

	while ((opt = getopt(argc, argv, "c:p:t:e:")) != -1) {
		if (opt == 'c')
			kind = optarg;
		else if (opt == 'p')
			pid = optarg;
		else if (opt == 't')
			seconds = atof(optarg);
		else if (opt == 'e')
			export_name = optarg;
		else
			return 2;
	}
	if (optind + 1 >= argc)
		return 2;
	socket_path = argv[optind++];
	for (; optind < argc; optind++)
		for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++)
			if (!strcmp(argv[optind], modes[i].name))
				measure(&modes[i], pid);
	return 0;
}
