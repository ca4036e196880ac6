/* SPDX-License-Identifier: Apache-2.0 */
/*
 * listen_spec.h - where a door listens
 *
 *	unix:/run/roost/nbd.sock		NBD, every disk by its name
 *	tcp:127.0.0.1:10809, tcp:[::1]:10809	NBD; the port may be left out
 *	vhost-user:/run/roost/vm7.sock,disk=vm7	vhost-user-blk, one disk;
 *without disk= the only one there is
 */
#ifndef PROG_LISTEN_SPEC_H
#define PROG_LISTEN_SPEC_H

struct why;

enum listen_kind { LISTEN_UNIX, LISTEN_TCP, LISTEN_VHOST_USER };

#define LISTEN_NBD_PORT "10809" /* IANA */

/** struct listen_spec - texts are owned, NULL where the kind has none */
struct listen_spec {
	enum listen_kind kind;
	char *path; /* of the socket */
	char *host, *port;
	char *disk; /* its name */
};

void listen_spec_release(struct listen_spec *spec);

/** listen_spec_parse() - @ret is zeroed before. Return: 0, -EINVAL, -ENOMEM. */
int listen_spec_parse(const char *text, struct listen_spec *ret,
		      struct why *why) __attribute__((warn_unused_result));

#endif
