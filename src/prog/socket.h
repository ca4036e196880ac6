/* SPDX-License-Identifier: Apache-2.0 */
/* socket.h - sockets that listen */
#ifndef PROG_SOCKET_H
#define PROG_SOCKET_H

struct why;

#define SOCKET_BACKLOG 128
/* From the first socket on, an address that is in use is waited for so long. */
#define SOCKET_WAIT_MS 2000

/**
 * socket_listen_unix() - at a path
 * @mode:	of the file, as chmod(2); 0: as the umask has it
 * @ret:	the descriptor
 *
 * What the process before us listened at goes on: see prog/inherit.h.
 * A socket file that nobody listens at any more is replaced.
 *
 * Return: 0; -EADDRINUSE: somebody listens there, or it is no socket.
 */
int socket_listen_unix(const char *path, unsigned mode, int *ret,
		       struct why *why) __attribute__((warn_unused_result));

/** socket_listen_tcp() - at the first address that @host and @port stand for */
int socket_listen_tcp(const char *host, const char *port, int *ret,
		      struct why *why) __attribute__((warn_unused_result));

/** socket_connect_unix() - to a path; -ECONNREFUSED, -ENOENT and so on */
int socket_connect_unix(const char *path, int *ret)
	__attribute__((warn_unused_result));

#endif
