/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http.h - a store behind a web server, read by ranges
 *
 * The address is the object's URL, http:// or https://, with these options of
 * ours behind a '#', where no server sees them (a signed URL stays valid):
 *
 *	connections=N	at most, to the server; over HTTP/2 each carries many
 *			requests (8)
 *	timeout=S	seconds that may pass without a byte (30)
 *	reconnect=S	seconds that a request is tried again after refused
 *			connections, 5xx, 429; it then ends with -ETIMEDOUT (60)
 *	cacert=PATH	certificates to trust in place of the system's
 *
 * Only GET is used, so that URLs signed for it will do. Users and passwords
 * stand in the URL or in ~/.netrc. Redirects are followed, never from https to
 * http.
 *
 * The object must not change: its ETag, else its Last-Modified, and its size
 * are compared in each answer before a byte of it is taken, and a changed one
 * ends requests with -ESTALE. An object that has neither is told by its size
 * alone, and its version is empty.
 *
 * Read only. The program ignores SIGPIPE.
 */
#ifndef STORE_HTTP_H
#define STORE_HTTP_H

struct blk;
struct loop;
struct store_version;
struct why;

#define HTTP_CONNECTIONS     8u
#define HTTP_CONNECTIONS_MAX 64u
#define HTTP_TIMEOUT_S	     30u
#define HTTP_RECONNECT_S     60u

/**
 * http_open() - ask for the first byte; the parameters are those of
 * store_open()
 *
 * Return: 0; -ENOENT: no such object; -EACCES: 401, 403, or a certificate that
 * is not to be trusted; -EROFS: STORE_WRITE; -EPROTO: the server does not do
 * ranges; -EINVAL: an option is wrong; -ETIMEDOUT and others.
 */
int http_open(struct loop *loop, const char *address, unsigned flags,
	      struct store_version *version, struct blk **ret, struct why *why)
	__attribute__((warn_unused_result));

#endif
