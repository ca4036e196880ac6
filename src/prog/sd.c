/* SPDX-License-Identifier: Apache-2.0 */
/* sd.c - sockets from a service manager, and state to it */
#include "prog/sd.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"

static char names[SD_FDS_MAX][SD_NAME_MAX + 1];
static ino_t inodes[SD_FDS_MAX]; /* by which a duplicate is known */
static int nnames;

static void read_names(const char *at, int count)
{
	for (int i = 0; at && i < count; i++) {
		size_t n = strcspn(at, ":");

		(void)snprintf(names[i], sizeof(names[i]), "%.*s", (int)n, at);
		at = at[n] ? at + n + 1 : NULL;
	}
}

int sd_listen_fds(void)
{
	const char *pid = getenv("LISTEN_PID"), *fds = getenv("LISTEN_FDS");
	int count = 0;

	if (pid && fds && strtol(pid, NULL, 10) == getpid())
		count = (int)strtol(fds, NULL, 10);
	if (count < 0 || count > SD_FDS_MAX)
		count = 0;
	if (count)
		read_names(getenv("LISTEN_FDNAMES"), count);
	for (int i = 0; i < count; i++) {
		struct stat st = {0};

		(void)fcntl(SD_FIRST_FD + i, F_SETFD, FD_CLOEXEC);
		(void)fstat(SD_FIRST_FD + i, &st);
		inodes[i] = st.st_ino;
	}
	nnames = count;
	(void)unsetenv("LISTEN_PID");
	(void)unsetenv("LISTEN_FDS");
	(void)unsetenv("LISTEN_FDNAMES");
	return count;
}

const char *sd_fd_name(int i)
{
	return i >= 0 && i < SD_FDS_MAX ? names[i] : "";
}

const char *sd_fd_of(int fd)
{
	struct stat st;

	if (fstat(fd, &st) < 0 || !S_ISSOCK(st.st_mode))
		return NULL;
	for (int i = 0; i < nnames; i++)
		if (inodes[i] == st.st_ino)
			return names[i];
	return NULL;
}

void sd_notify(const char *text)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	CLEANUP(cleanup_fd) int fd = -1;
	size_t n = path ? strlen(path) : 0;

	if (n < 2 || n >= sizeof(un.sun_path))
		return;
	memcpy(un.sun_path, path, n);
	if (*path == '@') /* the abstract name space */
		un.sun_path[0] = 0;
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return;
	/* Nobody to tell that telling failed. */
	(void)sendto(fd, text, strlen(text), MSG_NOSIGNAL,
		     (struct sockaddr *)&un,
		     (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n));
}
