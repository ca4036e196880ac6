/* SPDX-License-Identifier: Apache-2.0 */
/*
 * nbd_store.h - a store behind an NBD server
 *
 * The address is an NBD URI (nbd://, nbds://, nbd+unix:///, nbds+unix:///),
 * with tls-certificates=DIR or tls-psk-file=FILE where TLS needs them, and
 * with these of our own, which are not passed on:
 *
 *	connections=N	to share the requests out to; used if the server says
 *			that it keeps several connections consistent (4)
 *	timeout=S	seconds that the server may take to connect or to answer
 *			before the connection is given up (30)
 *	reconnect=S	seconds that a request may wait for the server to come
 *			back; it then ends with -ETIMEDOUT (60)
 *
 * A server that goes away, hangs, or says that it is shutting down is dialled
 * again for as long as there are requests; those in flight are sent again. One
 * that comes back with another size, or able to do less, is not used: then
 * requests end with -ESTALE after their time.
 *
 * As in QEMU, what a server had acknowledged without a flush is taken as kept
 * when it comes back; and a write that hung may still be done by the old
 * connection after it was done again by the new one. Neither concerns stores
 * that are only read.
 *
 * Low requests (BLK_LOW) leave one connection to the others.
 */
#ifndef STORE_NBD_H
#define STORE_NBD_H

struct blk;
struct loop;
struct store_version;
struct why;

#define NBD_CONNECTIONS	    4u
#define NBD_CONNECTIONS_MAX 16u
#define NBD_TIMEOUT_S	    30u
#define NBD_RECONNECT_S	    60u

/**
 * nbd_open() - connect; the parameters are those of store_open()
 *
 * The version is empty: NBD has none.
 *
 * Return: 0; -ENOENT: no such export, or no such socket; -EROFS: the export
 * cannot be written to; -EINVAL: an option is wrong; what libnbd says.
 */
int nbd_open(struct loop *loop, const char *address, unsigned flags,
	     struct store_version *version, struct blk **ret, struct why *why)
	__attribute__((warn_unused_result));

#endif
