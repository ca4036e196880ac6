/* SPDX-License-Identifier: Apache-2.0 */
/*
 * nbd_buf.h - buffers for payload, with room before it for the reply's header
 *
 * A read's answer goes out as one stretch of bytes: the layer below fills the
 * payload, then the header is laid right before it.
 *
 * The latest given back is the first taken again, so that a busy connection
 * keeps to few buffers, which stay in the processor's cache.
 */
#ifndef SERVE_NBD_BUF_H
#define SERVE_NBD_BUF_H

#include <stddef.h>
#include <stdint.h>

#define NBD_BUF_HEAD  64u /* bytes before the payload */
#define NBD_BUF_ALIGN 512u /* of the payload, so that O_DIRECT takes it */

#define NBD_BUF_KINDS 5

/** struct nbd_bufs - the buffers of a server; start as {0} */
struct nbd_bufs {
	struct nbd_buf *free[NBD_BUF_KINDS];
	size_t kept; /* bytes in the lists */
	size_t kept_max;
};

/**
 * struct nbd_buf - one buffer
 * @at:	the payload; NBD_BUF_HEAD bytes before it may be written too
 */
struct nbd_buf {
	struct nbd_buf *next;
	uint8_t *at;
	int kind; /* which list; -1: too large for any */
};

/** nbd_buf_take() - of at least @len bytes. Return: NULL: no memory. */
struct nbd_buf *nbd_buf_take(struct nbd_bufs *bufs, size_t len);

/** nbd_buf_give() - NULL is fine */
void nbd_buf_give(struct nbd_bufs *bufs, struct nbd_buf *buf);

/** nbd_bufs_release() - free what is kept; none is out */
void nbd_bufs_release(struct nbd_bufs *bufs);

#endif
