/* SPDX-License-Identifier: Apache-2.0 */
/* blkd_door.c - make the sockets early, accept when the disks are there */
#include "prog/blkd_door.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/why.h"
#include "prog/blkd.h"
#include "prog/config.h"
#include "prog/refuse.h"
#include "prog/sd.h"
#include "prog/socket.h"
#include "serve/nbd.h"

enum door_kind { DOOR_NBD, DOOR_CLIENT };

/**
 * struct door - a way in
 * @fd:		the socket, until a server has taken it over; else -1
 * @out:	DOOR_CLIENT: where answers go
 * @path:	of the socket's file, owned, or NULL
 * @is_ours:	we have made that file, and remove it
 */
struct door {
	struct list list; /* of struct blkd */
	enum door_kind kind;
	int fd, out;
	char *path;
	bool is_ours;
};

static int add(struct blkd *blkd, enum door_kind kind, int fd, int out,
	       const char *path, bool is_ours)
{
	struct door *door = calloc(1, sizeof(*door));

	if (door && path)
		door->path = strdup(path);
	if (!door || (path && !door->path)) {
		(void)close(fd);
		free(door);
		return -ENOMEM;
	}
	door->kind = kind;
	door->fd = fd;
	door->out = out;
	door->is_ours = is_ours;
	list_init(&door->list);
	list_add_tail(&blkd->doors, &door->list);
	return 0;
}

static int add_listen(struct blkd *blkd, const struct listen_spec *spec,
		      struct why *w)
{
	int fd = -1, err;

	if (spec->kind == LISTEN_UNIX)
		err = socket_listen_unix(spec->path, 0, &fd, w);
	else
		err = socket_listen_tcp(spec->host, spec->port, &fd, w);
	return err < 0 ? err : add(blkd, DOOR_NBD, fd, -1, spec->path, true);
}

/* A vhost-user socket is its disk's own: it opens when the disk serves. */
static int give_to_disk(struct blkd *blkd, const struct listen_spec *spec,
			struct why *w)
{
	struct config *config = blkd->config;
	struct disk_spec *disk = NULL;

	if (spec->disk)
		disk = config_find_disk(config, spec->disk);
	else if (config->ndisks == 1)
		disk = &config->disks[0];
	if (!disk)
		return refuse(w, "vhost-user:%s: %s%s", spec->path,
			      spec->disk ? "there is no disk "
					 : "say of which disk, with ,disk=NAME",
			      spec->disk ? spec->disk : "");
	return disk_spec_set(disk, "vhost-user", spec->path, w);
}

/* A unit with Accept=yes hands a client over, others a socket that listens. */
static int add_from_manager(struct blkd *blkd, int fd, const char *name)
{
	struct sockaddr_un un = {0};
	socklen_t len = sizeof(un) - 1; /* so that a path ends in a 0 */
	int is_listening = 0;
	socklen_t size = sizeof(is_listening);

	if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &is_listening, &size) < 0)
		return -errno;
	if (!is_listening)
		return add(blkd, DOOR_CLIENT, fd, fd, NULL, false);
	if (!strcmp(name, "control") && blkd->control_fd < 0) {
		blkd->control_fd = fd;
		return 0;
	}
	if (getsockname(fd, (struct sockaddr *)&un, &len) < 0 ||
	    un.sun_family != AF_UNIX)
		un.sun_path[0] = 0;
	return add(blkd, DOOR_NBD, fd, -1, *un.sun_path ? un.sun_path : NULL,
		   false);
}

/* Has the service manager made this socket of the configuration for us? */
static bool is_there(const struct blkd *blkd, const struct listen_spec *spec)
{
	struct list *at, *next;

	list_for_each(at, next, &blkd->doors)
	{
		struct door *door = container_of(at, struct door, list);

		if (spec->kind == LISTEN_UNIX && door->path &&
		    !strcmp(door->path, spec->path))
			return true;
	}
	return false;
}

json_t *doors_paths(const struct blkd *blkd)
{
	json_t *paths = json_array();
	struct list *at, *next;

	list_for_each(at, next, &blkd->doors)
	{
		struct door *door = container_of(at, struct door, list);

		if (door->path)
			(void)json_array_append_new(paths,
						    json_string(door->path));
	}
	return paths;
}

static int add_stdio(struct blkd *blkd)
{
	int in = dup(STDIN_FILENO), out = dup(STDOUT_FILENO);

	if (in < 0 || out < 0)
		return -errno;
	return add(blkd, DOOR_CLIENT, in, out, NULL, false);
}

int doors_make(struct blkd *blkd, struct why *w)
{
	const struct config *config = blkd->config;
	int count = 0, nfds = sd_listen_fds(), err;

	for (int i = 0; i < nfds; i++, count++) {
		err = add_from_manager(blkd, SD_FIRST_FD + i, sd_fd_name(i));
		if (err < 0)
			return why(w, err, "socket %d of LISTEN_FDS", i);
	}
	for (size_t i = 0; i < config->nlistens; i++, count++) {
		const struct listen_spec *spec = &config->listens[i];

		if (is_there(blkd, spec))
			continue;
		err = spec->kind == LISTEN_VHOST_USER
			      ? give_to_disk(blkd, spec, w)
			      : add_listen(blkd, spec, w);
		if (err < 0)
			return err;
	}
	if (config->is_stdio) {
		err = add_stdio(blkd);
		if (err < 0)
			return why(w, err, "--stdio");
		count++;
	}
	if (!count && !config->control)
		return refuse(w, "nowhere to listen: give --listen unix:SOCK, "
				 "--stdio or --control SOCK");
	return 0;
}

static int open_door(struct blkd *blkd, struct door *door)
{
	int fd = take_fd(&door->fd);

	switch (door->kind) {
	case DOOR_NBD:
		return nbd_server_listen(blkd->nbd, fd);
	case DOOR_CLIENT:
		return nbd_server_connect(blkd->nbd, fd, door->out);
	}
	return -EOPNOTSUPP;
}

int doors_open(struct blkd *blkd, struct why *w)
{
	struct list *at, *next;

	list_for_each(at, next, &blkd->doors)
	{
		struct door *door = container_of(at, struct door, list);
		int err = open_door(blkd, door);

		if (err < 0)
			return why(w, err, "%s",
				   door->path ? door->path : "socket");
	}
	return 0;
}

bool doors_outlive_us(const struct blkd *blkd)
{
	struct list *at, *next;

	list_for_each(at, next, &blkd->doors)
	{
		if (container_of(at, struct door, list)->kind == DOOR_CLIENT)
			return false;
	}
	return true;
}

void doors_free(struct blkd *blkd)
{
	struct list *at, *next;

	list_for_each(at, next, &blkd->doors)
	{
		struct door *door = container_of(at, struct door, list);

		cleanup_fd(&door->fd);
		if (door->is_ours && !blkd->is_upgrading)
			(void)unlink(door->path);
		free(door->path);
		free(door);
	}
	list_init(&blkd->doors);
}
