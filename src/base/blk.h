/* SPDX-License-Identifier: Apache-2.0 */
/*
 * blk.h - the one shape that every layer of the data path has
 *
 * A guest's read goes down a stack of layers, each of them a struct blk:
 *
 *	NBD, vhost-user-blk  ->  overlay  ->  cache  ->  file, nbd, http
 *
 * A layer is given the one below it as a struct blk, and knows no more of it.
 * So any layer can be tested over a store in memory, and any layer can have
 * store/faulty.c put under it.
 *
 * Promises, of every layer to the one above:
 *
 * (1) A submitted request ends in exactly one blk_end(), whatever happens.
 * (2) blk_end() may come before blk_submit() returns, or later; always on the
 *     thread that submitted.
 * (3) After blk_end() the layer touches neither the request nor its buffers.
 * (4) A request is within the size, a whole number of blocks, and of a kind
 *     that the layer can do: blk_submit() ends any other with an error, so no
 *     layer checks again.
 * (5) Two requests in flight are in no order. A flush covers the writes that
 *     had ended before it was submitted, and no others.
 *
 * Because of (2) a layer that splits a request loops over the parts; it does
 * not recurse from one part's end into the next part's submit.
 */
#ifndef BASE_BLK_H
#define BASE_BLK_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

struct blk;
struct blk_req;

enum blk_op {
	BLK_READ,
	BLK_WRITE,
	BLK_FLUSH, /* offset and len are 0 */
	BLK_DISCARD, /* the range may read as anything after, mostly zeroes */
	BLK_ZERO, /* the range reads as zeroes after */
	BLK_CACHE, /* the range will be read soon; failing to is no error */
	BLK_STATUS, /* which parts are holes, which are zero: see extents */
	BLK_OP_MAX
};

/* blk_req.flags */
#define BLK_FUA	    (1u << 0) /* on the medium before it ends */
#define BLK_NO_HOLE (1u << 1) /* BLK_ZERO: keep the space allocated */
#define BLK_FAST    (1u << 2) /* BLK_ZERO: -EOPNOTSUPP rather than be slow */
#define BLK_LOW	    (1u << 3) /* background: may wait behind other requests */

/* blk.can: kinds of request that are not always possible */
#define BLK_CAN_WRITE	  (1u << 0) /* and BLK_FLUSH is more than a no-op */
#define BLK_CAN_DISCARD	  (1u << 1)
#define BLK_CAN_ZERO	  (1u << 2)
#define BLK_CAN_FAST_ZERO (1u << 3)
#define BLK_CAN_CACHE	  (1u << 4)

/* blk_extent.flags; 0 is plain data */
#define BLK_HOLE   (1u << 0) /* takes no space */
#define BLK_ZEROES (1u << 1) /* reads as zeroes */
#define BLK_CACHED (1u << 2) /* a read of it needs no store */

/** struct blk_extent - a stretch of one state; @len is bytes, never 0 */
struct blk_extent {
	uint64_t len;
	uint32_t flags;
};

/**
 * struct blk_req - one request on its way down
 * @op:		what is asked
 * @flags:	BLK_FUA and so on
 * @offset:	bytes from the start of the device
 * @len:	bytes; the sum of @iov for a read or a write
 * @iov:	buffers, lent by the caller until @done
 * @niov:	entries in @iov
 * @extents:	BLK_STATUS: filled with the states from @offset on, lent as
 *		@iov. They may end before @offset + @len (ask again from
 *		there); the first is at least one byte of it.
 * @nextents:	BLK_STATUS: how many fit; at the end how many were filled
 * @done:	called once, with 0 or a negative errno; frees or reuses @req
 * @owner:	the caller's own; no layer reads it
 * @next:	a layer that has to let @req wait links its queue with this
 */
struct blk_req {
	enum blk_op op;
	uint32_t flags;
	uint64_t offset;
	uint64_t len;
	const struct iovec *iov;
	int niov;
	int nextents;
	struct blk_extent *extents;
	void (*done)(struct blk_req *req, int res);
	void *owner;
	struct blk_req *next;
};

/**
 * struct blk_ops - what a kind of layer does; every field is required
 * @name:	for logs: "file", "cache"
 * @submit:	begin @req; see the promises above. The request is valid.
 * @free:	let go of @blk and all it owns; nothing is in flight
 */
struct blk_ops {
	const char *name;
	void (*submit)(struct blk *blk, struct blk_req *req);
	void (*free)(struct blk *blk);
};

/**
 * struct blk - a layer; the first member of each layer's own struct
 * @ops:	its kind
 * @size:	bytes; a multiple of @block
 * @block:	smallest unit of a request, in bytes; a power of two, at most
 *		4096. 1 where any byte can be asked for.
 * @can:	BLK_CAN_WRITE and so on: other requests end without reaching
 *		the layer. A layer without BLK_CAN_CACHE has BLK_CACHE ended
 *		with 0.
 */
struct blk {
	const struct blk_ops *ops;
	uint64_t size;
	uint32_t block;
	uint32_t can;
};

/**
 * blk_submit() - check @req, then hand it to @blk
 *
 * Ends in blk_end() with the layer's result, or at once with -EINVAL (not
 * whole blocks, or a sum of @iov other than @len), -ERANGE (not within the
 * size), -EROFS or -EOPNOTSUPP (the layer cannot do this kind). A request of
 * no bytes ends at once with 0.
 */
void blk_submit(struct blk *blk, struct blk_req *req);

/** blk_end() - give @req back to whoever submitted it. @res: 0 or -errno. */
void blk_end(struct blk_req *req, int res);

/** blk_end_as_data() - end a BLK_STATUS as one extent of plain data */
void blk_end_as_data(struct blk_req *req);

/** blk_free() - free @blk, which may be NULL. Return: NULL. */
struct blk *blk_free(struct blk *blk);

#endif
