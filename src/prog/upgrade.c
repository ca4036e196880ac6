/* SPDX-License-Identifier: Apache-2.0 */
/* upgrade.c - collect what is handed over, and execute the successor */
#include "prog/upgrade.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/why.h"
#include "cache/handover.h"
#include "prog/blkd.h"
#include "prog/blkd_disk.h"
#include "prog/blkd_door.h"
#include "prog/blkd_options.h"
#include "prog/config.h"
#include "prog/inherit.h"
#include "prog/refuse.h"
#include "prog/registry.h"
#include "prog/sd.h"
#include "serve/nbd.h"

#define SOCKETS_MAX 4096

/* Of the process, as its arguments are. */
static struct {
	int argc;
	char **argv;
	const char *path; /* at UPGRADE_PATH_AT; NULL: it is not known */
	json_t *disks; /* names */
	json_t *registry; /* NULL: a state file keeps it */
	json_t *clients; /* as inherit.h has them */
	int sockets[SOCKETS_MAX];
	size_t nsockets;
	int memory, state; /* of the cache, or -1 */
} self = {.memory = -1, .state = -1};

void upgrade_init(int argc, char **argv)
{
	static const char deleted[] = " (deleted)";
	size_t cut = sizeof(deleted) - 1;
	char path[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 1);
	char *page;

	self.argc = argc;
	self.argv = argv;
	if (n <= 0)
		return;
	path[n] = 0;
	/* Replaced between our execve and now: the new one is meant. */
	if ((size_t)n > cut && !strcmp(path + n - cut, deleted))
		path[(size_t)n - cut] = 0;
	page = mmap((void *)UPGRADE_PATH_AT, PATH_MAX, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	if (page == MAP_FAILED)
		return;
	if ((uintptr_t)page != UPGRADE_PATH_AT) { /* a kernel before 4.17 */
		(void)munmap(page, PATH_MAX);
		return;
	}
	memcpy(page, path, strlen(path) + 1);
	if (mprotect(page, PATH_MAX, PROT_READ) == 0)
		self.path = page;
}

/* Would the successor start? */
static int check(struct blkd *blkd, struct why *w)
{
	struct config config;
	int err;

	if (!blkd->is_serving || blkd->is_ending)
		return why(w, -EAGAIN, "not while it starts or ends");
	if (!doors_outlive_us(blkd)) {
		(void)why(w, 0, "the client of --stdio could not come again");
		return -EOPNOTSUPP;
	}
	if (!self.path)
		return refuse(w, "the path of the program is not known");
	if (access(self.path, X_OK) < 0)
		return why(w, -errno, "%s", self.path);
	config_init(&config);
	err = blkd_options(self.argc, self.argv, &config, w);
	config_release(&config);
	return err;
}

static void forget(void)
{
	while (self.nsockets)
		(void)close(self.sockets[--self.nsockets]);
	json_decref(self.disks);
	json_decref(self.clients);
	json_decref(self.registry);
	self.disks = self.clients = self.registry = NULL;
}

static bool is_listening(int fd)
{
	int value = 0;
	socklen_t len = sizeof(value);

	return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &value, &len) == 0 &&
	       value;
}

/* All sockets that listen, whoever made them and whatever they are for. */
static int collect_sockets(struct why *w)
{
	DIR *dir = opendir("/proc/self/fd");
	struct dirent *entry;
	size_t n = 0;

	if (!dir)
		return why(w, -errno, "/proc/self/fd");
	/* First look, then duplicate: or the copies would be seen too. */
	while (n < SOCKETS_MAX && (entry = readdir(dir))) {
		char *end;
		long fd = strtol(entry->d_name, &end, 10);

		if (end != entry->d_name && !*end && is_listening((int)fd))
			self.sockets[n++] = (int)fd;
	}
	(void)closedir(dir);
	for (size_t i = 0; i < n; i++) {
		int fd = fcntl(self.sockets[i], F_DUPFD_CLOEXEC,
			       INHERIT_FD_FIRST);

		if (fd < 0) {
			int err = -errno;

			forget();
			return why(w, err, "keep a socket");
		}
		self.sockets[self.nsockets++] = fd;
	}
	return 0;
}

/* Those that are open, or were in the process before and nobody came yet. */
static void collect_disks(struct blkd *blkd)
{
	struct list *at, *next;

	self.disks = json_array();
	list_for_each(at, next, &blkd->disks)
	{
		struct disk *disk = container_of(at, struct disk, list);

		if (disk->stack.is_resumed ||
		    (disk->use != DISK_SHUT && !disk->stack.is_plain))
			(void)json_array_append_new(
				self.disks, json_string(disk->spec.name));
	}
}

static void collect_registry(struct blkd *blkd)
{
	static const char *const names[REGISTRY_KIND_MAX] = {"stores", "images",
							     "disks"};

	if (blkd->config->state)
		return;
	self.registry = json_object();
	for (int kind = 0; kind < REGISTRY_KIND_MAX; kind++) {
		json_t *list = json_array(), *object;
		size_t i;

		json_array_foreach(
			registry_list(blkd->registry, (enum registry_kind)kind),
			i, object)
		{
			if (!json_object_get(object, "is_configured"))
				(void)json_array_append(list, object);
		}
		(void)json_object_set_new(self.registry, names[kind], list);
	}
}

static void to_hex(const uint8_t *bytes, size_t len, char *text)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < len; i++) {
		*text++ = digits[bytes[i] >> 4];
		*text++ = digits[bytes[i] & 15];
	}
	*text = 0;
}

/* Short of anything, the client is cut off, and connects again. */
static void keep_client(void *owner, const struct nbd_kept *kept)
{
	CLEANUP(cleanup_free) char *rx = malloc(2 * kept->rx_len + 1);
	int fd = fcntl(kept->fd, F_DUPFD_CLOEXEC, INHERIT_FD_FIRST);

	(void)owner;
	if (!rx || fd < 0)
		return;
	to_hex(kept->rx, kept->rx_len, rx);
	(void)json_array_append_new(
		self.clients,
		json_pack("{s:i, s:s, s:I, s:i, s:b, s:i, s:s}", "fd", fd,
			  "export", kept->name, "size", (json_int_t)kept->size,
			  "flags", (int)kept->flags, "structured",
			  (int)kept->is_structured, "meta", (int)kept->meta,
			  "rx", rx));
}

/* Not to be closed by the execve: they have their places already. */
static void hand_over_clients(json_t *all)
{
	json_t *client;
	size_t i;

	json_array_foreach(self.clients, i, client)
	{
		int fd = (int)json_integer_value(json_object_get(client, "fd"));

		(void)fcntl(fd, F_SETFD, 0);
	}
	(void)json_object_set(all, "clients", self.clients);
}

int upgrade_begin(struct blkd *blkd, struct why *w)
{
	char text[80];
	int err = check(blkd, w);

	if (!err)
		err = collect_sockets(w);
	if (err < 0)
		return err;
	collect_disks(blkd);
	log_info(NULL, "upgrade: handing over to %s", self.path);
	(void)snprintf(text, sizeof(text), "RELOADING=1\nMONOTONIC_USEC=%llu",
		       (unsigned long long)(clock_ns() / 1000));
	sd_notify(text);
	blkd->is_upgrading = true;
	self.clients = json_array();
	collect_registry(blkd);
	nbd_server_keep(blkd->nbd, keep_client, NULL);
	cache_drop_records(blkd->cache);
	blkd_end(blkd);
	return 0;
}

void upgrade_keep_cache(struct blkd *blkd)
{
	struct why w = {0};

	if (cache_save_state(blkd->cache, &self.memory, &self.state, &w) < 0)
		log_warning(NULL, "%s", w.text);
}

/* A descriptor for the successor; returns its number there, or -1. */
static int hand_over(int fd)
{
	int to = fd < 0 ? -1 : fcntl(fd, F_DUPFD, INHERIT_FD_FIRST);

	return to;
}

/* Those of the service manager come to the successor as they came to us. */
static void hand_over_managed(json_t *sockets)
{
	char names[SD_FDS_MAX * (SD_NAME_MAX + 1)] = "", number[16];
	size_t len = 0;
	int count = 0;

	for (size_t i = 0; i < self.nsockets; i++) {
		const char *name = sd_fd_of(self.sockets[i]);

		if (!name || count == SD_FDS_MAX) {
			(void)json_array_append_new(
				sockets,
				json_integer(hand_over(self.sockets[i])));
			continue;
		}
		if (dup2(self.sockets[i], SD_FIRST_FD + count) < 0)
			continue;
		len += (size_t)snprintf(names + len, sizeof(names) - len,
					"%s%s", count ? ":" : "", name);
		count++;
	}
	if (!count)
		return;
	(void)snprintf(number, sizeof(number), "%d", getpid());
	(void)setenv("LISTEN_PID", number, 1);
	(void)snprintf(number, sizeof(number), "%d", count);
	(void)setenv("LISTEN_FDS", number, 1);
	(void)setenv("LISTEN_FDNAMES", names, 1);
}

static json_t *describe(const struct blkd *blkd)
{
	json_t *all = json_pack("{s:i, s:O?}", "handover", INHERIT_VERSION,
				"disks", self.disks);
	json_t *sockets = json_array();

	/* Moving descriptors to low numbers closes what is there: these have
	 * been given high ones before. */
	if (self.memory >= 0 && self.state >= 0)
		(void)json_object_set_new(all, "cache",
					  json_pack("{s:i, s:i}", "memory",
						    hand_over(self.memory),
						    "state",
						    hand_over(self.state)));
	if (!blkd->config->no_seccomp)
		(void)json_object_set_new(all, "confined",
					  json_string(ROOST_VERSION));
	hand_over_managed(sockets);
	hand_over_clients(all);
	if (self.registry)
		(void)json_object_set(all, "registry", self.registry);
	(void)json_object_set_new(all, "sockets", sockets);
	return all;
}

static int write_all(const char *text)
{
	CLEANUP(cleanup_fd)
	int fd = memfd_create("roost-handover", MFD_CLOEXEC);
	size_t len = strlen(text);

	for (size_t done = 0; fd >= 0 && done < len;) {
		ssize_t n = write(fd, text + done, len - done);

		if (n < 0)
			return -1;
		done += (size_t)n;
	}
	return hand_over(fd);
}

void upgrade_exec(const struct blkd *blkd)
{
	CLEANUP(cleanup_free) char *text = NULL;
	char value[40];
	json_t *all;
	int fd;

	/* What some library forgot to mark is not handed over. */
	(void)close_range(SD_FIRST_FD, ~0u, CLOSE_RANGE_CLOEXEC);
	all = describe(blkd);
	text = json_dumps(all, JSON_COMPACT);
	json_decref(all);
	fd = text ? write_all(text) : -1;
	if (fd >= 0) {
		(void)snprintf(value, sizeof(value), "%d:%d", getpid(), fd);
		(void)setenv(INHERIT_ENV, value, 1);
	}
	(void)execve(self.path, self.argv, environ);
	log_error(NULL, "%s: %s", self.path, strerror(errno));
}
