/* SPDX-License-Identifier: Apache-2.0 */
/* background.c - fork, and a pipe on which the parent waits */
#include "prog/background.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/why.h"

static int ready_fd = -1;

int background_begin(struct why *w)
{
	char byte;
	int fds[2];
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return why(w, -errno, "pipe");
	pid = fork();
	if (pid < 0)
		return why(w, -errno, "fork");
	if (pid) {
		(void)close(fds[1]);
		_exit(read(fds[0], &byte, 1) == 1 ? 0 : 1);
	}
	(void)close(fds[0]);
	ready_fd = fds[1];
	(void)setsid();
	return 0;
}

void background_ready(void)
{
	CLEANUP(cleanup_fd) int null = -1;

	if (ready_fd < 0)
		return;
	/* Whoever reads our output to its end is not kept waiting. */
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	for (int fd = 0; null >= 0 && fd <= STDERR_FILENO; fd++)
		(void)dup2(null, fd);
	if (write(ready_fd, "", 1) < 0) {
		/* The parent was killed: nobody waits. */
	}
	(void)close(take_fd(&ready_fd));
}
