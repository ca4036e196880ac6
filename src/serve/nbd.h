/* SPDX-License-Identifier: Apache-2.0 */
/*
 * nbd.h - the NBD door: exports of struct blk to clients over sockets
 *
 * A server has exports, which come and go at run time, and listening sockets
 * or ready connections, which the caller made: a path, a port, socket
 * activation and --stdio are all the same to it. One server lives on one loop
 * and is used on its thread only. It never blocks, and writes no log lines.
 *
 * What a client can do: fixed newstyle handshake, also over TLS; structured
 * replies; block status of base:allocation and of "roost:cached", whose
 * descriptors say 1 where a read needs no store; all commands up to fast zero.
 *
 * What a client cannot do: keep a request from ending, or make the server wait
 * for it. A connection that dies stays until the last of its requests has
 * ended below, and nobody else notices.
 *
 * The process ignores SIGPIPE if a pipe is ever given to nbd_server_connect().
 */
#ifndef SERVE_NBD_H
#define SERVE_NBD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct blk;
struct loop;
struct nbd_creds;
struct nbd_export;
struct nbd_server;
struct why;

/* Bytes of the largest read or write; a larger one is answered EINVAL. */
#define NBD_PAYLOAD_MAX (64u << 20)

enum nbd_tls_mode {
	NBD_TLS_OFF,
	NBD_TLS_ALLOWED, /* the client may ask for it */
	NBD_TLS_REQUIRED, /* nothing is told or served without */
};

/**
 * struct nbd_conf - what a server keeps to; 0 stands for the default
 * @tls:	with @creds, unless NBD_TLS_OFF
 * @creds:	borrowed; until nbd_server_free()
 * @connections_max:	at a time; further ones wait in the listen queue. 256
 * @requests_max:	of one connection at a time. 128
 * @bytes_max:	payload of one connection at a time, except that one request
 *		of any size always passes. 8 MiB
 * @large_bytes_max:	payload of all requests over 1 MiB at a time, of all
 *		connections. 256 MiB
 * @handshake_ms:	from connect to the transmission phase. 10 s
 * @drain_ms:	for the client to take the last answers when an export is
 *		removed or the server stopped. 2 s
 * @on_idle:	the last connection has ended; may be NULL
 * @owner:	for @on_idle; the server does not read it
 */
struct nbd_conf {
	enum nbd_tls_mode tls;
	struct nbd_creds *creds;
	unsigned connections_max;
	unsigned requests_max;
	size_t bytes_max;
	size_t large_bytes_max;
	unsigned handshake_ms;
	unsigned drain_ms;
	void (*on_idle)(void *owner);
	void *owner;
};

/**
 * struct nbd_export_conf - an export; the texts are copied
 * @name:	what clients ask for; unique. The name "" is the default
 *		export; where none is called that, and there is one export
 *		only, "" means that one.
 * @description:	for humans; may be NULL
 * @blk:	borrowed until the export is gone; on the server's loop
 * @is_read_only:	even if @blk can be written
 * @on_clients:	how many connections serve it, whenever that changes: the
 *		first is the open, 0 the close. May be NULL. Must not remove
 *		the export.
 * @owner:	for @on_clients
 */
struct nbd_export_conf {
	const char *name;
	const char *description;
	struct blk *blk;
	bool is_read_only;
	void (*on_clients)(void *owner, unsigned count);
	void *owner;
};

/** struct nbd_stats - of an export since it was added, or of a server */
struct nbd_stats {
	uint64_t connections; /* that reached it */
	unsigned clients; /* of them, those there are now */
	uint64_t reads;
	uint64_t writes;
	uint64_t others; /* flush, trim, zero, cache, status */
	uint64_t errors; /* requests answered with one */
	uint64_t read_bytes;
	uint64_t written_bytes;
};

/**
 * nbd_server_new() - without exports or listeners so far
 * @conf:	copied
 * @ret:	on success the server: nbd_server_stop(), then
 *		nbd_server_free() it
 *
 * Return: 0; -ENOMEM; -EINVAL: TLS without creds.
 */
int nbd_server_new(struct loop *loop, const struct nbd_conf *conf,
		   struct nbd_server **ret) __attribute__((warn_unused_result));

/**
 * nbd_server_listen() - accept connections from @fd
 * @fd:	a listening socket; closed when the server stops, also on error
 *
 * Return: 0; -ENOMEM.
 */
int nbd_server_listen(struct nbd_server *server, int fd)
	__attribute__((warn_unused_result));

/**
 * nbd_server_connect() - serve one client on descriptors that are there
 * @in:		to read from: a socket or a pipe
 * @out:	to write to; may be @in. Both are closed at its end, also on
 *		error.
 *
 * Return: 0; -ENOMEM; -ESHUTDOWN after nbd_server_stop().
 */
int nbd_server_connect(struct nbd_server *server, int in, int out)
	__attribute__((warn_unused_result));

/**
 * struct nbd_kept - a client between two servers, perhaps of two processes
 * @fd:		its socket; lent
 * @name:	of its export; lent
 * @size, @flags: what it was told of that
 * @is_structured, @meta: what was agreed with it
 * @rx:		@rx_len bytes that came from it and are not used up; lent
 */
struct nbd_kept {
	int fd;
	const char *name;
	uint64_t size;
	uint16_t flags;
	bool is_structured;
	uint32_t meta;
	const uint8_t *rx;
	size_t rx_len;
};

/**
 * nbd_server_keep() - when the server stops, do not cut off clients that
 * another server can go on with
 * @keep:	called for each, when its requests have been answered; what it
 *		does not copy or duplicate is gone when it returns
 *
 * Those over TLS or a pipe, those that take long to shake hands, and those that
 * do not take their answers in time are cut off as ever.
 */
void nbd_server_keep(struct nbd_server *server,
		     void (*keep)(void *owner, const struct nbd_kept *kept),
		     void *owner);

/**
 * nbd_server_resume() - go on with a client of another server
 * @kept:	@fd is closed at its end, also on error; all else is copied
 *
 * Return: 0; -ENOENT: there is no such export; -ESTALE: it is not what the
 * client was told; -EPERM: TLS is required; -EINVAL; -ENOMEM.
 */
int nbd_server_resume(struct nbd_server *server, const struct nbd_kept *kept)
	__attribute__((warn_unused_result));

/**
 * nbd_server_stop() - no more connections; those there are drain
 * @done:	called once, from the loop, when no connection is left and no
 *		request in flight. The exports are still there, and on_idle is
 *		not called.
 */
void nbd_server_stop(struct nbd_server *server, void (*done)(void *owner),
		     void *owner);

/** nbd_server_free() - after @done of stop, and any turn of the loop after
 * that. Its exports go with it. NULL is fine. Return: NULL. */
struct nbd_server *nbd_server_free(struct nbd_server *server);

/**
 * nbd_server_add() - a new export, from now on
 * @ret:	on success the export; may be NULL
 *
 * Return: 0; -EEXIST: the name is taken; -EINVAL: name or description are over
 * 4096 bytes; -ENOMEM.
 */
int nbd_server_add(struct nbd_server *server,
		   const struct nbd_export_conf *conf, struct nbd_export **ret)
	__attribute__((warn_unused_result));

/**
 * nbd_export_remove() - nobody finds it from now on; its clients drain
 * @done:	called once, from the loop, when no request is left on its blk.
 *		The export is gone then. May be NULL.
 *
 * Clients' requests in flight end and are answered, then they are cut off.
 */
void nbd_export_remove(struct nbd_export *export, void (*done)(void *owner),
		       void *owner);

/** nbd_server_find() - by its very name. Return: NULL if there is none. */
struct nbd_export *nbd_server_find(struct nbd_server *server, const char *name);

const struct nbd_stats *nbd_export_stats(const struct nbd_export *export);

/** nbd_server_stats() - of all exports there ever were */
const struct nbd_stats *nbd_server_stats(const struct nbd_server *server);

/**
 * nbd_creds_new_psk() - TLS with keys that both sides know
 * @path:	file of lines "user:hexkey", as psktool(1) writes
 * @ret:	on success the credentials: nbd_creds_free() them
 *
 * Reads files: not on the loop's thread while it serves.
 *
 * Return: 0; negative errno, and @why says what was wrong.
 */
int nbd_creds_new_psk(const char *path, struct nbd_creds **ret, struct why *why)
	__attribute__((warn_unused_result));

/**
 * nbd_creds_new_x509() - TLS with certificates
 * @dir:	has server-cert.pem and server-key.pem, and ca-cert.pem if
 *clients are to be verified
 * @must_verify:	a client must show a certificate signed by that CA
 */
int nbd_creds_new_x509(const char *dir, bool must_verify,
		       struct nbd_creds **ret, struct why *why)
	__attribute__((warn_unused_result));

/** nbd_creds_free() - NULL is fine. Return: NULL. */
struct nbd_creds *nbd_creds_free(struct nbd_creds *creds);

#endif
