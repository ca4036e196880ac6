/* SPDX-License-Identifier: Apache-2.0 */
/*
 * nbd_io.c - requests, down to the layer below and back as answers
 *
 * A slot (struct nbd_req) is taken when the request's header is parsed, and
 * free again when its answer has been sent or dropped. Every request that got
 * a slot ends in answer(), once.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "base/array.h"
#include "serve/nbd_conn.h"

/* A status has up to this many descriptors for each context. */
#define STATUS_EXTENTS 500
#define STATUS_BUF     (16u * KIB)
#define STATUS_REPLY   (8u * KIB) /* its first part, for the answer */

static_assert(STATUS_EXTENTS * sizeof(struct blk_extent) <=
		      STATUS_BUF - STATUS_REPLY,
	      "the layer's extents fit behind the answer");
static_assert(2 * (NBD_CHUNK_LEN + 4 + STATUS_EXTENTS * NBD_DESCRIPTOR_LEN) <=
		      STATUS_REPLY,
	      "the answer's chunks fit before the layer's extents");

/* What each command becomes, and the flags it may have. FUA is fine on all. */
static const struct {
	enum blk_op op;
	uint16_t flags;
} commands[NBD_CMD_MAX] = {
	[NBD_CMD_READ] = {BLK_READ, NBD_FLAG_FUA | NBD_FLAG_DF},
	[NBD_CMD_WRITE] = {BLK_WRITE, NBD_FLAG_FUA},
	[NBD_CMD_DISC] = {BLK_OP_MAX, 0},
	[NBD_CMD_FLUSH] = {BLK_FLUSH, NBD_FLAG_FUA},
	[NBD_CMD_TRIM] = {BLK_DISCARD, NBD_FLAG_FUA},
	[NBD_CMD_CACHE] = {BLK_CACHE, NBD_FLAG_FUA},
	[NBD_CMD_WRITE_ZEROES] = {BLK_ZERO, NBD_FLAG_FUA | NBD_FLAG_NO_HOLE |
						    NBD_FLAG_FAST_ZERO},
	[NBD_CMD_BLOCK_STATUS] = {BLK_STATUS, NBD_FLAG_FUA | NBD_FLAG_REQ_ONE},
};

uint16_t nbd_export_flags(const struct nbd_conn *conn,
			  const struct nbd_export *export)
{
	uint32_t can = export->conf.blk->can;
	/* All connections stand on one struct blk, so a flush of one covers
	 * the others' writes. */
	uint16_t flags = NBD_HAS_FLAGS | NBD_CAN_MULTI_CONN;

	if (conn->is_structured)
		flags |= NBD_SEND_DF;
	if (can & BLK_CAN_CACHE)
		flags |= NBD_SEND_CACHE;
	if (export->conf.is_read_only || !(can & BLK_CAN_WRITE))
		return flags | NBD_READ_ONLY;
	flags |= NBD_SEND_FLUSH | NBD_SEND_FUA;
	if (can & BLK_CAN_DISCARD)
		flags |= NBD_SEND_TRIM;
	if (can & BLK_CAN_ZERO)
		flags |= NBD_SEND_WRITE_ZEROES;
	if ((can & BLK_CAN_ZERO) && (can & BLK_CAN_FAST_ZERO))
		flags |= NBD_SEND_FAST_ZERO;
	return flags;
}

int nbd_io_start(struct nbd_conn *conn, struct nbd_export *export)
{
	unsigned n = conn->server->conf.requests_max;

	conn->reqs = calloc(n, sizeof(*conn->reqs));
	if (!conn->reqs)
		return -ENOMEM;
	while (n--) {
		struct nbd_req *req = &conn->reqs[n];

		req->conn = conn;
		req->next = conn->free_reqs;
		conn->free_reqs = req;
	}
	if (conn->meta_export != export->id)
		conn->meta = 0;
	loop_timer_cancel(&conn->timer);
	conn->phase = NBD_REQUESTS;
	conn->export = export;
	list_add_tail(&export->conns, &conn->of_export);
	export->stats.connections++;
	export->stats.clients++;
	conn->server->stats.connections++;
	conn->server->stats.clients++;
	if (export->conf.on_clients)
		export->conf.on_clients(export->conf.owner,
					export->stats.clients);
	return 0;
}

/* Bytes of memory that @request holds until it is answered. */
static uint32_t charge_of(const struct nbd_request *request)
{
	switch (request->type) {
	case NBD_CMD_READ:
	case NBD_CMD_WRITE:
		return request->len <= NBD_PAYLOAD_MAX ? request->len : 0;
	case NBD_CMD_BLOCK_STATUS:
		return STATUS_BUF;
	default:
		return 0;
	}
}

bool nbd_io_may_begin(struct nbd_conn *conn, const struct nbd_request *request)
{
	struct nbd_server *server = conn->server;
	uint32_t charge = charge_of(request);

	/* Both free up when this connection's answers are sent. */
	if (!conn->free_reqs)
		return false;
	if (conn->bytes && conn->bytes + charge > server->conf.bytes_max)
		return false;
	if (charge > NBD_LARGE && server->large_bytes &&
	    server->large_bytes + charge > server->conf.large_bytes_max) {
		if (list_is_empty(&conn->waiting))
			list_add_tail(&server->waiting, &conn->waiting);
		return false;
	}
	return true;
}

static struct nbd_req *take(struct nbd_conn *conn,
			    const struct nbd_request *request)
{
	struct nbd_req *req = conn->free_reqs;

	conn->free_reqs = req->next;
	conn->nbusy++;
	req->buf = NULL;
	req->err = 0;
	req->cookie = request->cookie;
	req->type = request->type;
	req->flags = request->flags;
	req->len = request->len;
	req->charged = charge_of(request);
	conn->bytes += req->charged;
	if (req->charged > NBD_LARGE)
		conn->server->large_bytes += req->charged;
	return req;
}

static void give(struct nbd_req *req)
{
	struct nbd_conn *conn = req->conn;
	struct nbd_server *server = conn->server;

	nbd_buf_give(&server->bufs, req->buf);
	req->buf = NULL;
	conn->bytes -= req->charged;
	conn->nbusy--;
	req->next = conn->free_reqs;
	conn->free_reqs = req;
	if (req->charged <= NBD_LARGE)
		return;
	server->large_bytes -= req->charged;
	while (!list_is_empty(&server->waiting)) {
		struct nbd_conn *other =
			list_first(&server->waiting, struct nbd_conn, waiting);

		list_del(&other->waiting);
		nbd_conn_wake(other);
	}
}

static void sent(struct nbd_conn *conn, struct nbd_out *out)
{
	(void)conn;
	give(container_of(out, struct nbd_req, out));
}

/* A chunk of status for the context @id; @n extents of at most @left bytes
 * together. Return: its length. */
static size_t put_status(uint8_t *at, const struct nbd_req *req, uint32_t id,
			 bool is_last)
{
	const struct blk_extent *extents = req->blk.extents;
	uint32_t mask =
		id == NBD_META_CACHED ? BLK_CACHED : BLK_HOLE | BLK_ZEROES;
	uint64_t left = req->len;
	size_t len = NBD_CHUNK_LEN + 4;

	for (int i = 0; i < req->blk.nextents && left;) {
		uint32_t flags = extents[i].flags & mask, state = 0;
		uint64_t n = 0;

		while (i < req->blk.nextents && n < left &&
		       (extents[i].flags & mask) == flags)
			n += min_u64(extents[i++].len, left - n);
		left -= n;
		if (flags & BLK_HOLE)
			state |= NBD_STATE_HOLE;
		if (flags & BLK_ZEROES)
			state |= NBD_STATE_ZERO;
		if (flags & BLK_CACHED)
			state = 1;
		len += nbd_put_descriptor(at + len, (uint32_t)n, state);
		if (req->flags & NBD_FLAG_REQ_ONE)
			break;
	}
	nbd_put_chunk(at, is_last ? NBD_CHUNK_DONE : 0, NBD_CHUNK_BLOCK_STATUS,
		      req->cookie, (uint32_t)(len - NBD_CHUNK_LEN));
	put_be32(at + NBD_CHUNK_LEN, id);
	return len;
}

static void answer_status(struct nbd_req *req)
{
	uint32_t meta = req->conn->meta;
	uint8_t *at = req->buf->at;
	size_t len = 0;

	if (meta & NBD_META_ALLOCATION)
		len += put_status(at, req, NBD_META_ALLOCATION,
				  !(meta & NBD_META_CACHED));
	if (meta & NBD_META_CACHED)
		len += put_status(at + len, req, NBD_META_CACHED, true);
	req->out.at = at;
	req->out.len = len;
}

static void answer_read(struct nbd_req *req)
{
	uint8_t *at = req->buf->at;

	if (req->conn->is_structured) {
		at -= NBD_DATA_CHUNK_LEN;
		nbd_put_data_chunk(at, NBD_CHUNK_DONE, req->cookie,
				   req->blk.offset, req->len);
		req->out.len = NBD_DATA_CHUNK_LEN + req->len;
	} else {
		at -= NBD_SIMPLE_LEN;
		nbd_put_simple(at, NBD_OK, req->cookie);
		req->out.len = NBD_SIMPLE_LEN + req->len;
	}
	req->out.at = at;
}

static void answer_bare(struct nbd_req *req, int res)
{
	bool has_payload =
		req->type == NBD_CMD_READ || req->type == NBD_CMD_BLOCK_STATUS;

	/* ENOTSUP is for the one command that may be tried and given up. */
	if (res == -EOPNOTSUPP && !(req->flags & NBD_FLAG_FAST_ZERO))
		res = -EINVAL;
	req->out.at = req->head;
	if (!req->conn->is_structured || !has_payload)
		req->out.len =
			nbd_put_simple(req->head, nbd_error(res), req->cookie);
	else if (res)
		req->out.len = nbd_put_error_chunk(req->head, nbd_error(res),
						   req->cookie);
	else
		req->out.len = nbd_put_chunk(req->head, NBD_CHUNK_DONE,
					     NBD_CHUNK_NONE, req->cookie, 0);
}

static void count(struct nbd_stats *stats, const struct nbd_req *req, int res)
{
	if (res) {
		stats->errors++;
	} else if (req->type == NBD_CMD_READ) {
		stats->reads++;
		stats->read_bytes += req->len;
	} else if (req->type == NBD_CMD_WRITE) {
		stats->writes++;
		stats->written_bytes += req->len;
	} else {
		stats->others++;
	}
}

/* The one end of each request. */
static void answer(struct nbd_req *req, int res)
{
	struct nbd_conn *conn = req->conn;

	if (!res && req->type == NBD_CMD_BLOCK_STATUS && !req->blk.nextents)
		res = -EIO;
	count(&conn->export->stats, req, res);
	count(&conn->server->stats, req, res);
	if (res || !req->len)
		answer_bare(req, res);
	else if (req->type == NBD_CMD_READ)
		answer_read(req);
	else if (req->type == NBD_CMD_BLOCK_STATUS)
		answer_status(req);
	else
		answer_bare(req, 0);
	req->out.sent = sent;
	nbd_send_add(conn, &req->out);
}

static void on_done(struct blk_req *blk, int res)
{
	answer(container_of(blk, struct nbd_req, blk), res);
}

/* What is wrong with @request: 0 or -errno. The layer checks its alignment. */
static int check(const struct nbd_conn *conn, const struct nbd_request *request)
{
	const struct nbd_export *export = conn->export;
	uint16_t can = nbd_export_flags(conn, export);
	uint64_t size = export->conf.blk->size;
	bool changes = false;

	if (request->type >= NBD_CMD_MAX || request->type == NBD_CMD_DISC ||
	    (request->flags & ~(unsigned)commands[request->type].flags))
		return -EINVAL;
	switch (request->type) {
	case NBD_CMD_READ:
		if ((request->flags & NBD_FLAG_DF) && !(can & NBD_SEND_DF))
			return -EINVAL;
		if (request->len > NBD_PAYLOAD_MAX)
			return -EINVAL;
		break;
	case NBD_CMD_WRITE:
		if (request->len > NBD_PAYLOAD_MAX)
			return -EINVAL;
		changes = true;
		break;
	case NBD_CMD_TRIM:
		if (!(can & (NBD_SEND_TRIM | NBD_READ_ONLY)))
			return -EINVAL;
		changes = true;
		break;
	case NBD_CMD_WRITE_ZEROES:
		if (!(can & (NBD_SEND_WRITE_ZEROES | NBD_READ_ONLY)) ||
		    ((request->flags & NBD_FLAG_FAST_ZERO) &&
		     !(can & (NBD_SEND_FAST_ZERO | NBD_READ_ONLY))))
			return -EINVAL;
		changes = true;
		break;
	case NBD_CMD_FLUSH:
		return request->len || request->offset ? -EINVAL : 0;
	case NBD_CMD_BLOCK_STATUS:
		if (!conn->meta || !request->len)
			return -EINVAL;
		break;
	default:
		break;
	}
	if (changes && (can & NBD_READ_ONLY))
		return -EROFS;
	if (request->len > size || request->offset > size - request->len)
		return changes && request->type != NBD_CMD_TRIM ? -ENOSPC
								: -EINVAL;
	return 0;
}

static uint32_t blk_flags_of(enum blk_op op, uint16_t flags)
{
	bool changes = op == BLK_WRITE || op == BLK_DISCARD || op == BLK_ZERO;
	uint32_t to = 0;

	if (changes && (flags & NBD_FLAG_FUA))
		to |= BLK_FUA;
	if (flags & NBD_FLAG_NO_HOLE)
		to |= BLK_NO_HOLE;
	if (flags & NBD_FLAG_FAST_ZERO)
		to |= BLK_FAST;
	return to;
}

static void submit(struct nbd_req *req)
{
	blk_submit(req->conn->export->conf.blk, &req->blk);
}

/* Memory for what goes either way. Return: 0 or -ENOMEM. */
static int prepare(struct nbd_req *req, const struct nbd_request *request)
{
	struct nbd_bufs *bufs = &req->conn->server->bufs;
	enum blk_op op = commands[req->type].op;

	req->blk = (struct blk_req){
		.op = op,
		.flags = blk_flags_of(op, req->flags),
		.offset = request->offset,
		.len = req->len,
		.done = on_done,
	};
	if (!req->charged)
		return 0;
	req->buf = nbd_buf_take(bufs, req->charged);
	if (!req->buf)
		return -ENOMEM;
	if (req->type == NBD_CMD_BLOCK_STATUS) {
		void *extents = req->buf->at + STATUS_REPLY;

		req->blk.extents = extents;
		req->blk.nextents = STATUS_EXTENTS;
	} else {
		req->iov.iov_base = req->buf->at;
		req->iov.iov_len = req->len;
		req->blk.iov = &req->iov;
		req->blk.niov = 1;
	}
	return 0;
}

void nbd_io_begin(struct nbd_conn *conn, const struct nbd_request *request)
{
	struct nbd_req *req = take(conn, request);
	int err = check(conn, request);

	if (!err)
		err = prepare(req, request);
	if (req->type == NBD_CMD_WRITE && req->len) {
		/* Refused or not, its payload follows. */
		req->err = err;
		conn->filling = req;
		conn->filled = 0;
	} else if (err) {
		answer(req, err);
	} else {
		submit(req);
	}
}

void nbd_io_filled(struct nbd_conn *conn)
{
	struct nbd_req *req = conn->filling;

	conn->filling = NULL;
	if (req->err)
		answer(req, req->err);
	else
		submit(req);
}

void nbd_io_drop(struct nbd_conn *conn)
{
	if (conn->filling)
		give(conn->filling);
	conn->filling = NULL;
}
