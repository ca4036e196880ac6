/* SPDX-License-Identifier: Apache-2.0 */
/* inherit.c - read the handover, and give out its parts */
#include "prog/inherit.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <limits.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/why.h"
#include "cache/handover.h"
#include "prog/config.h"
#include "prog/registry.h"
#include "serve/nbd.h"

/* Bytes of the handover, and of a cache's description: 4 TiB of cache. */
#define TEXT_MAX  (64u << 20)
#define STATE_MAX (2u << 30)

/* Of the process, as the environment is. */
static struct {
	json_t *all; /* NULL: nothing was handed over */
	int *sockets; /* -1: taken */
	size_t nsockets;
	int memory, state; /* of the cache, or -1 */
} inherited = {.memory = -1, .state = -1};

/* A descriptor that is ours; it is not to be handed on by accident. */
static int number(const json_t *value)
{
	json_int_t n = json_integer_value(value);

	if (n < INHERIT_FD_FIRST || n > INT32_MAX ||
	    fcntl((int)n, F_SETFD, FD_CLOEXEC) < 0)
		return -1;
	return (int)n;
}

static bool is_listening(int fd)
{
	int value = 0;
	socklen_t len = sizeof(value);

	return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &value, &len) == 0 &&
	       value;
}

/* The bytes of a memfd; *ret_len may be 0, and NULL is returned then too. */
static void *map_all(int fd, size_t max, size_t *ret_len)
{
	struct stat st;
	void *at;

	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) ||
	    st.st_size <= 0 || (uint64_t)st.st_size > max)
		return NULL;
	at = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (at == MAP_FAILED)
		return NULL;
	*ret_len = (size_t)st.st_size;
	return at;
}

static void take_sockets(const json_t *list)
{
	size_t n = json_array_size(list);

	inherited.sockets = calloc(n + 1, sizeof(int));
	for (size_t i = 0; inherited.sockets && i < n; i++) {
		int fd = number(json_array_get(list, i));

		if (fd < 0)
			continue;
		if (is_listening(fd))
			inherited.sockets[inherited.nsockets++] = fd;
		else
			(void)close(fd);
	}
}

/* "PID:FD": the descriptor, or -1 if it was for somebody else. */
static int text_fd(const char *text)
{
	char *end = NULL;
	long pid = strtol(text, &end, 10), fd;

	if (*end != ':' || pid != getpid())
		return -1;
	fd = strtol(end + 1, &end, 10);
	return *end || fd < INHERIT_FD_FIRST || fd > INT_MAX ? -1 : (int)fd;
}

static json_t *load(const char *text)
{
	CLEANUP(cleanup_fd) int fd = text_fd(text);
	size_t len = 0;
	char *bytes;
	json_t *all;

	if (fd < 0)
		return NULL;
	bytes = map_all(fd, TEXT_MAX, &len);
	if (!bytes)
		return NULL;
	all = json_loadb(bytes, len, JSON_REJECT_DUPLICATES, NULL);
	(void)munmap(bytes, len);
	if (json_integer_value(json_object_get(all, "handover")) !=
	    INHERIT_VERSION) {
		json_decref(all);
		return NULL;
	}
	return all;
}

void inherit_load(void)
{
	CLEANUP(cleanup_free) char *text = NULL;
	const char *value = getenv(INHERIT_ENV);
	const json_t *cache;

	if (!value)
		return;
	text = strdup(value);
	(void)unsetenv(INHERIT_ENV);
	inherited.all = text ? load(text) : NULL;
	if (!inherited.all) {
		/* Or the sockets would listen, and nobody accept. */
		(void)close_range(INHERIT_FD_FIRST, ~0u, 0);
		log_warning(NULL, "what was handed over is not understood: "
				  "starting without it");
		return;
	}
	take_sockets(json_object_get(inherited.all, "sockets"));
	cache = json_object_get(inherited.all, "cache");
	inherited.memory = number(json_object_get(cache, "memory"));
	inherited.state = number(json_object_get(cache, "state"));
}

bool inherit_is_there(void)
{
	return inherited.all != NULL;
}

static int take(size_t i)
{
	return take_fd(&inherited.sockets[i]);
}

int inherit_unix(const char *path)
{
	struct stat st;

	for (size_t i = 0; i < inherited.nsockets; i++) {
		struct sockaddr_un un = {0};
		socklen_t len = sizeof(un) - 1; /* so that a path ends */

		if (inherited.sockets[i] < 0 ||
		    getsockname(inherited.sockets[i], (struct sockaddr *)&un,
				&len) < 0 ||
		    un.sun_family != AF_UNIX || strcmp(un.sun_path, path) != 0)
			continue;
		/* A path that was removed leads nobody here any more. */
		if (lstat(path, &st) == 0 && S_ISSOCK(st.st_mode))
			return take(i);
	}
	return -1;
}

static bool is_same(const struct sockaddr_storage *have,
		    const struct addrinfo *ai)
{
	const struct sockaddr_in *a4 = (const struct sockaddr_in *)have;
	const struct sockaddr_in6 *a6 = (const struct sockaddr_in6 *)have;
	struct sockaddr_in b4;
	struct sockaddr_in6 b6;

	if (have->ss_family != ai->ai_family)
		return false;
	if (ai->ai_family == AF_INET && ai->ai_addrlen == sizeof(b4)) {
		memcpy(&b4, ai->ai_addr, sizeof(b4));
		return a4->sin_addr.s_addr == b4.sin_addr.s_addr &&
		       (a4->sin_port == b4.sin_port || !b4.sin_port);
	}
	if (ai->ai_family == AF_INET6 && ai->ai_addrlen == sizeof(b6)) {
		memcpy(&b6, ai->ai_addr, sizeof(b6));
		return !memcmp(&a6->sin6_addr, &b6.sin6_addr,
			       sizeof(b6.sin6_addr)) &&
		       a6->sin6_scope_id == b6.sin6_scope_id &&
		       (a6->sin6_port == b6.sin6_port || !b6.sin6_port);
	}
	return false;
}

int inherit_tcp(const struct addrinfo *ai)
{
	for (size_t i = 0; i < inherited.nsockets; i++) {
		struct sockaddr_storage have = {0};
		socklen_t len = sizeof(have);

		if (inherited.sockets[i] >= 0 &&
		    getsockname(inherited.sockets[i], (struct sockaddr *)&have,
				&len) == 0 &&
		    is_same(&have, ai))
			return take(i);
	}
	return -1;
}

bool inherit_disk(const char *name)
{
	const json_t *disks = json_object_get(inherited.all, "disks");

	for (size_t i = 0; i < json_array_size(disks); i++) {
		const char *text = json_string_value(json_array_get(disks, i));

		if (text && !strcmp(text, name))
			return true;
	}
	return false;
}

bool inherit_is_confined(void)
{
	const char *by =
		json_string_value(json_object_get(inherited.all, "confined"));

	return by && !strcmp(by, ROOST_VERSION);
}

void inherit_cache(struct cache *cache)
{
	CLEANUP(cleanup_fd) int memory = take_fd(&inherited.memory);
	CLEANUP(cleanup_fd) int state = take_fd(&inherited.state);
	struct why w = {0};
	size_t len = 0;
	void *bytes = map_all(state, STATE_MAX, &len);

	if (!bytes || memory < 0)
		return;
	if (cache_load_state(cache, memory, bytes, len, &w) < 0)
		log_warning(NULL, "%s: starting with an empty cache", w.text);
	else
		(void)take_fd(&memory);
	(void)munmap(bytes, len);
}

void inherit_registry(struct registry *registry, struct config *config)
{
	static const char *const names[REGISTRY_KIND_MAX] = {"stores", "images",
							     "disks"};
	const json_t *all = json_object_get(inherited.all, "registry");

	for (int kind = 0; kind < REGISTRY_KIND_MAX; kind++) {
		const json_t *list = json_object_get(all, names[kind]);

		for (size_t i = 0; i < json_array_size(list); i++) {
			json_t *object = json_array_get(list, i);
			const char *name = json_string_value(
				json_object_get(object, "name"));

			if (!name || (kind == REGISTRY_DISKS &&
				      config_find_disk(config, name)))
				continue;
			if (registry_put(registry, (enum registry_kind)kind,
					 json_incref(object)) < 0)
				log_warning(NULL, "%s was lost", name);
		}
	}
}

static int digit(char c)
{
	static const char digits[] = "0123456789abcdef";
	const char *at = c ? strchr(digits, c) : NULL;

	return at ? (int)(at - digits) : -1;
}

/* Hex to bytes. Return: free() it; NULL: that was no hex. */
static uint8_t *from_hex(const char *text, size_t *ret_len)
{
	size_t len = text ? strlen(text) : 1;
	CLEANUP(cleanup_free) uint8_t *bytes = malloc(len / 2 + 1);

	if (!bytes || len % 2)
		return NULL;
	for (size_t i = 0; i < len / 2; i++) {
		int high = digit(text[2 * i]), low = digit(text[2 * i + 1]);

		if (high < 0 || low < 0)
			return NULL;
		bytes[i] = (uint8_t)(high << 4 | low);
	}
	*ret_len = len / 2;
	return take_ptr(&bytes);
}

static int resume(struct nbd_server *server, const json_t *client, int fd)
{
	CLEANUP(cleanup_free) uint8_t *rx = NULL;
	json_int_t size = 0;
	int flags = 0, structured = 0, meta = 0;
	const char *hex = NULL;
	struct nbd_kept kept = {.fd = fd};

	if (json_unpack((json_t *)(uintptr_t)client,
			"{s:s, s:I, s:i, s:b, s:i, s:s}", "export", &kept.name,
			"size", &size, "flags", &flags, "structured",
			&structured, "meta", &meta, "rx", &hex) == 0)
		rx = from_hex(hex, &kept.rx_len);
	if (!rx) {
		(void)close(fd);
		return -EBADMSG;
	}
	kept.size = (uint64_t)size;
	kept.flags = (uint16_t)flags;
	kept.is_structured = structured;
	kept.meta = (uint32_t)meta;
	kept.rx = rx;
	return nbd_server_resume(server, &kept);
}

void inherit_clients(struct nbd_server *server)
{
	json_t *list = json_object_get(inherited.all, "clients");

	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *client = json_array_get(list, i);
		int fd = number(json_object_get(client, "fd"));
		int err = fd < 0 ? -EBADF : resume(server, client, fd);

		if (err < 0)
			log_warning(NULL, "a client was cut off: %s",
				    strerror(-err));
	}
	(void)json_array_clear(list);
}

void inherit_end(void)
{
	for (size_t i = 0; i < inherited.nsockets; i++) {
		struct sockaddr_un un = {0};
		socklen_t len = sizeof(un) - 1;
		int fd = inherited.sockets[i];

		if (fd < 0)
			continue;
		if (getsockname(fd, (struct sockaddr *)&un, &len) == 0 &&
		    un.sun_family == AF_UNIX && *un.sun_path)
			(void)unlink(un.sun_path);
		(void)close(fd);
	}
	free(take_ptr(&inherited.sockets));
	inherited.nsockets = 0;
}
