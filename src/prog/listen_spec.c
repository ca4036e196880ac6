/* SPDX-License-Identifier: Apache-2.0 */
/* listen_spec.c - take the address of a door apart */
#include "prog/listen_spec.h"

#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "prog/disk_spec.h"
#include "prog/refuse.h"

void listen_spec_release(struct listen_spec *spec)
{
	free(spec->path);
	free(spec->host);
	free(spec->port);
	free(spec->disk);
	*spec = (struct listen_spec){0};
}

static int set_path(struct listen_spec *spec, const char *path, size_t len,
		    struct why *w)
{
	struct sockaddr_un un;

	if (!len)
		return refuse(w, "the path of a socket is missing");
	if (len >= sizeof(un.sun_path))
		return refuse(w, "a socket's path has at most %zu bytes",
			      sizeof(un.sun_path) - 1);
	spec->path = strndup(path, len);
	return spec->path ? 0 : -ENOMEM;
}

static int parse_tcp(const char *text, struct listen_spec *spec, struct why *w)
{
	const char *host = text, *end, *port = LISTEN_NBD_PORT;

	if (*host == '[') {
		end = strchr(++host, ']');
		if (!end || (end[1] && end[1] != ':'))
			return refuse(w, "'%.64s': write tcp:[ADDRESS]:PORT",
				      text);
		if (end[1])
			port = end + 2;
	} else {
		end = strchrnul(host, ':');
		if (*end && strchr(end + 1, ':'))
			return refuse(w,
				      "'%.64s': write an IPv6 address in [ ]",
				      text);
		if (*end)
			port = end + 1;
	}
	if (end == host)
		return refuse(w, "a host is missing: write "
				 "tcp:127.0.0.1:" LISTEN_NBD_PORT);
	if (!*port || strlen(port) > 5 || port[strspn(port, "0123456789")] ||
	    strtol(port, NULL, 10) > 65535)
		return refuse(w, "'%.16s' is no port", port);
	spec->host = strndup(host, (size_t)(end - host));
	spec->port = strdup(port);
	return spec->host && spec->port ? 0 : -ENOMEM;
}

static int parse_vhost(const char *text, struct listen_spec *spec,
		       struct why *w)
{
	const char *comma = strchrnul(text, ',');
	int err = set_path(spec, text, (size_t)(comma - text), w);

	if (err < 0 || !*comma)
		return err;
	if (strncmp(comma, ",disk=", 6))
		return refuse(w, "'%.32s': write vhost-user:SOCK,disk=NAME",
			      comma + 1);
	err = disk_name_check(comma + 6, w);
	if (err < 0)
		return err;
	spec->disk = strdup(comma + 6);
	return spec->disk ? 0 : -ENOMEM;
}

int listen_spec_parse(const char *text, struct listen_spec *ret, struct why *w)
{
	int err;

	if (!strncmp(text, "unix:", 5)) {
		ret->kind = LISTEN_UNIX;
		err = set_path(ret, text + 5, strlen(text + 5), w);
	} else if (!strncmp(text, "tcp:", 4)) {
		ret->kind = LISTEN_TCP;
		err = parse_tcp(text + 4, ret, w);
	} else if (!strncmp(text, "vhost-user:", 11)) {
		ret->kind = LISTEN_VHOST_USER;
		err = parse_vhost(text + 11, ret, w);
	} else {
		return refuse(w,
			      "'%.64s': write unix:PATH, tcp:HOST:PORT or "
			      "vhost-user:PATH,disk=NAME",
			      text);
	}
	if (err < 0)
		listen_spec_release(ret);
	return err;
}
