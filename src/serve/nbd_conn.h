/* SPDX-License-Identifier: Apache-2.0 */
/*
 * nbd_conn.h - the inside of the NBD door, for its own files
 *
 *	nbd.c		exports, listeners, limits
 *	nbd_conn.c	bytes in; the life of a connection
 *	nbd_opt.c	handshake
 *	nbd_io.c	requests to the layer below, and their answers
 *	nbd_keep.c	connections that go on in another process
 *	nbd_send.c	bytes out
 *	nbd_tls.c	GnuTLS
 *
 * A connection's task is the only place that sends, arms a receive or frees
 * the connection. All else parses, queues answers and defers the task, so
 * nothing goes away under a caller. That is also where speed comes from: all
 * answers of a turn leave in one system call.
 *
 * What may be done in each state of enum nbd_life:
 *
 * NBD_OPEN	bytes are received, requests begin
 * NBD_DRAINING	nothing more is received; requests in flight end, answers are
 *		sent, then it is dead. Set by nbd_conn_drain().
 * NBD_DEAD	nothing is received or sent; freed by the task when no request
 *		is in flight and the kernel has no op of it. Set by
 *		nbd_conn_kill().
 */
#ifndef SERVE_NBD_CONN_H
#define SERVE_NBD_CONN_H

#include "base/blk.h"
#include "base/list.h"
#include "base/loop.h"
#include "serve/nbd.h"
#include "serve/nbd_buf.h"
#include "wire/nbd_msg.h"

struct nbd_conn;
struct nbd_tls;

/* Bytes of what is received ahead; an option's data must fit as well. */
#define NBD_RX_SIZE (32u << 10)

/* Requests of more payload count against large_bytes_max. */
#define NBD_LARGE (1u << 20)

/* Contexts of block status; the number is the context's id as well. */
#define NBD_META_ALLOCATION (1u << 0)
#define NBD_META_CACHED	    (1u << 1)

/** struct nbd_out - bytes to send; @sent is called when they are, or never
 * will be */
struct nbd_out {
	struct nbd_out *next;
	uint8_t *at;
	size_t len;
	void (*sent)(struct nbd_conn *conn, struct nbd_out *out);
};

/** struct nbd_req - a request of a client, from its header to its answer */
struct nbd_req {
	struct nbd_out out;
	struct blk_req blk;
	struct iovec iov;
	struct nbd_conn *conn;
	struct nbd_req *next; /* of the free ones */
	struct nbd_buf *buf; /* payload; or NULL */
	uint64_t cookie;
	uint32_t len; /* as asked */
	uint32_t charged; /* of the connection's and server's bytes */
	uint16_t type;
	uint16_t flags;
	int err; /* a write that is refused once its payload is drained */
	uint8_t head[NBD_ERROR_CHUNK_LEN]; /* an answer without payload */
};

enum nbd_phase {
	NBD_HELLO, /* client flags are next */
	NBD_OPTIONS,
	NBD_SHAKING, /* TLS handshake */
	NBD_REQUESTS,
};

enum nbd_life {
	NBD_OPEN,
	NBD_DRAINING,
	NBD_DEAD,
};

struct nbd_conn {
	struct list list; /* of the server */
	struct list of_export; /* of the export's, or of none */
	struct list waiting; /* of the server's, for large bytes; or of none */
	struct nbd_server *server;
	struct nbd_export *export; /* from the end of the handshake */
	struct loop_task task;
	struct loop_timer timer; /* handshake, then drain */
	int in, out; /* owned; may be the same */
	bool is_in_socket, is_out_socket;
	enum nbd_phase phase;
	enum nbd_life life;
	bool is_keeping; /* to be given away once drained */
	bool is_given; /* it was: the socket stays open elsewhere */

	/* handshake */
	bool is_fixed; /* the client knows fixed newstyle */
	bool has_no_zeroes;
	bool is_structured;
	uint32_t meta; /* NBD_META_ of meta_export */
	uint64_t meta_export; /* id */
	struct nbd_option option; /* whose data is skipped */
	uint64_t skip; /* bytes of it still to come */
	struct nbd_tls *tls; /* owned; or NULL */

	/* bytes in */
	struct loop_op recv_op;
	struct loop_watch in_watch; /* TLS only */
	bool is_receiving;
	bool is_paused; /* parsing stopped for lack of slots, or the like */
	uint8_t *rx; /* NBD_RX_SIZE; parsed up to rx_at, filled to rx_end */
	size_t rx_at, rx_end;
	struct iovec rx_iov[2];
	struct nbd_req *filling; /* the write whose payload comes next */
	uint32_t filled;

	/* requests */
	struct nbd_req *reqs; /* owned; made when the handshake ends */
	struct nbd_req *free_reqs;
	unsigned nbusy; /* slots taken: at the layer below, or to send */
	size_t bytes; /* charged */

	/* bytes out */
	struct nbd_out *out_first, **out_last;
	size_t out_sent; /* of the first */
	struct loop_watch out_watch;
};

struct nbd_export {
	struct list list; /* of the server, while it can be found */
	struct nbd_server *server;
	struct nbd_export_conf conf; /* texts owned */
	uint64_t id; /* never used again */
	struct list conns;
	struct nbd_stats stats;
	bool is_removed;
	struct loop_task gone;
	void (*done)(void *owner);
	void *done_owner;
};

struct nbd_server {
	struct loop *loop;
	struct nbd_conf conf;
	struct list exports;
	struct list leaving; /* exports removed, with clients */
	struct list listeners;
	struct list conns;
	struct list waiting; /* connections; see nbd_conn.waiting */
	unsigned nconns;
	size_t large_bytes;
	uint64_t last_id;
	struct nbd_bufs bufs;
	struct nbd_stats stats;
	void (*keep)(void *owner, const struct nbd_kept *kept); /* or NULL */
	void *keep_owner;
	bool is_stopping;
	struct loop_task stopped;
	void (*done)(void *owner);
	void *done_owner;
};

/* nbd.c */

/** nbd_find() - as a client asks for it: "" is the default export */
struct nbd_export *nbd_find(struct nbd_server *server,
			    const struct nbd_string *name);

/** nbd_conn_gone() - @conn, out of all lists, is about to be freed */
void nbd_conn_gone(struct nbd_conn *conn);

/* nbd_conn.c */

/** nbd_conn_new() - takes the descriptors on success */
int nbd_conn_new(struct nbd_server *server, int in, int out)
	__attribute__((warn_unused_result));

/** nbd_conn_resume() - as nbd_server_resume(); takes kept->fd on success */
int nbd_conn_resume(struct nbd_server *server, struct nbd_export *export,
		    const struct nbd_kept *kept)
	__attribute__((warn_unused_result));

/** nbd_conn_stop() - drain it, or give it away if that can be */
void nbd_conn_stop(struct nbd_conn *conn);

/** nbd_conn_drain() - end in order; no effect if it ends already */
void nbd_conn_drain(struct nbd_conn *conn);

/** nbd_conn_kill() - end at once */
void nbd_conn_kill(struct nbd_conn *conn);

/** nbd_conn_wake() - have the task run */
void nbd_conn_wake(struct nbd_conn *conn);

/* nbd_opt.c */

/** nbd_opt_hello() - greet; the first bytes of all. 0 or -ENOMEM. */
int nbd_opt_hello(struct nbd_conn *conn) __attribute__((warn_unused_result));

/**
 * nbd_opt_parse() - go on with the handshake
 * @at:	@len bytes received
 *
 * Return: bytes used up; 0: more are needed.
 */
size_t nbd_opt_parse(struct nbd_conn *conn, const uint8_t *at, size_t len);

/** nbd_opt_forget() - what was agreed before TLS does not count after it */
void nbd_opt_forget(struct nbd_conn *conn);

/* nbd_io.c */

/** nbd_export_flags() - NBD_HAS_FLAGS and so on, for @conn */
uint16_t nbd_export_flags(const struct nbd_conn *conn,
			  const struct nbd_export *export);

/** nbd_io_start() - the handshake has ended: serve @export; 0 or -ENOMEM */
int nbd_io_start(struct nbd_conn *conn, struct nbd_export *export)
	__attribute__((warn_unused_result));

/** nbd_io_may_begin() - there is room for @request. If not, the connection is
 * woken when there is. */
bool nbd_io_may_begin(struct nbd_conn *conn, const struct nbd_request *request);

/** nbd_io_begin() - after nbd_io_may_begin(); a write is now in filling */
void nbd_io_begin(struct nbd_conn *conn, const struct nbd_request *request);

/** nbd_io_filled() - all payload of the write in filling has come */
void nbd_io_filled(struct nbd_conn *conn);

/** nbd_io_drop() - the payload of the write in filling will not come */
void nbd_io_drop(struct nbd_conn *conn);

/* nbd_keep.c */

/** nbd_keep_can() - could another server go on with it? */
bool nbd_keep_can(const struct nbd_conn *conn);

/** nbd_keep_give() - it has drained: give it to the server's keep */
void nbd_keep_give(struct nbd_conn *conn);

/** nbd_keep_take() - @conn is new: go on where @kept ended */
int nbd_keep_take(struct nbd_conn *conn, struct nbd_export *export,
		  const struct nbd_kept *kept)
	__attribute__((warn_unused_result));

/** nbd_keep_is_sane() - it may come from another version */
bool nbd_keep_is_sane(const struct nbd_kept *kept);

/* nbd_send.c */

/** nbd_send_add() - queue @out, to leave when the task runs */
void nbd_send_add(struct nbd_conn *conn, struct nbd_out *out);

/** nbd_send() - as much as the peer takes now; from the task only */
void nbd_send(struct nbd_conn *conn);

/** nbd_send_drop() - what is queued will not be sent */
void nbd_send_drop(struct nbd_conn *conn);

/* nbd_tls.c */

int nbd_tls_new(struct nbd_creds *creds, int in, int out, struct nbd_tls **ret)
	__attribute__((warn_unused_result));
struct nbd_tls *nbd_tls_free(struct nbd_tls *tls);

/** nbd_tls_shake() - go on with the handshake. Return: 0: it is done; -EAGAIN:
 * when nbd_tls_events() come; -EPROTO. */
int nbd_tls_shake(struct nbd_tls *tls) __attribute__((warn_unused_result));

/** nbd_tls_events() - what the handshake waits for: POLLIN or POLLOUT */
unsigned nbd_tls_events(struct nbd_tls *tls);

/** nbd_tls_recv() - bytes, 0 at the end, -EAGAIN or other -errno */
long nbd_tls_recv(struct nbd_tls *tls, void *at, size_t len);

/** nbd_tls_send() - bytes, -EAGAIN (come again with the same) or -errno */
long nbd_tls_send(struct nbd_tls *tls, const void *at, size_t len);

/** nbd_tls_bye() - tell the peer that this is the end; may not reach it */
void nbd_tls_bye(struct nbd_tls *tls);

#endif
