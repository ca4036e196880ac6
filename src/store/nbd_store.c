/* SPDX-License-Identifier: Apache-2.0 */
/*
 * nbd_store.c - requests to an NBD server, shared out to several connections
 *
 * Each request has an op from its submit to its end, which is, in turn:
 *
 *	in a queue	until a connection takes it (and a bounce buffer is
 *			free, where the request's memory is in several pieces)
 *	sent		to the server; a long request in parts, one at a time
 *	answered	then: the next part, or the end
 *	returned	as the connection was lost: back into its queue
 *
 * The last two are lists that the connections fill and task_run() empties; the
 * same task hands the queues on whenever something has changed.
 *
 * An op in the queue while no connection is there has its @trouble_ns set, and
 * ends when the time to reconnect is over.
 */
#include "store/nbd_store.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/blk.h"
#include "base/clock.h"
#include "base/iov.h"
#include "base/why.h"
#include "store/bounce.h"
#include "store/nbd_client.h"
#include "store/store.h"
#include "wire/address.h"

#define IN_FLIGHT_MAX 64u /* per connection; libnbd's default as well */
#define RANGE_MAX     (1024 * MIB) /* of requests that carry no data */
#define SECONDS_MAX   (24 * 3600u)

struct nbd {
	struct blk blk; /* first */
	struct loop *loop;
	struct nbd_where where;
	char uri[ADDRESS_MAX];
	struct nbd_export export;
	uint64_t reconnect_ns;

	struct list queue; /* of struct nbd_op */
	struct list low; /* likewise, of BLK_LOW */
	struct list answered, returned; /* likewise */
	struct loop_task task;
	struct loop_timer timer; /* set while ops have @trouble_ns */
	struct pool ops;
	struct bounce bounce;

	unsigned nunreleased; /* connections whose watch is not released */
	unsigned nconns;
	struct nbd_client clients[];
};

static bool is_low(const struct nbd_op *op)
{
	return op->req->flags & BLK_LOW;
}

static unsigned count_ready(const struct nbd *nbd)
{
	unsigned n = 0;

	for (unsigned i = 0; i < nbd->nconns; i++)
		n += nbd->clients[i].state == NBD_CLIENT_READY;
	return n;
}

/* The connection with the least to do; NULL if all are busy or down. */
static struct nbd_client *pick(struct nbd *nbd, const struct nbd_op *op)
{
	/* An answer to a demand read shall not stand behind megabytes of
	 * prefetch: the first connection is kept free of those. */
	unsigned first = is_low(op) && count_ready(nbd) > 1 ? 1 : 0;
	struct nbd_client *best = NULL;

	for (unsigned i = first; i < nbd->nconns; i++) {
		struct nbd_client *client = &nbd->clients[i];

		if (client->state == NBD_CLIENT_READY &&
		    client->nsent < IN_FLIGHT_MAX &&
		    (!best || client->bytes < best->bytes ||
		     (client->bytes == best->bytes &&
		      client->nsent < best->nsent)))
			best = client;
	}
	return best;
}

static bool has_data(const struct nbd_op *op)
{
	return op->req->op == BLK_READ || op->req->op == BLK_WRITE;
}

/*
 * Set what of the request comes next, and find the memory for it.
 * Return: 0; -EAGAIN: no buffer is free now; -ENOMEM: nor will one be.
 */
static int prepare(struct nbd *nbd, struct nbd_op *op)
{
	const struct blk_req *req = op->req;
	uint64_t left = req->len - op->did;
	uint64_t skip = op->did;
	int i = 0;

	if (op->is_flush || op->buf) /* sent before */
		return 0;
	op->offset = req->offset + op->did;
	op->len = min_u64(left, RANGE_MAX);
	if (!has_data(op))
		return 0;

	op->len = min_u64(left, nbd->export.most);
	while (skip >= req->iov[i].iov_len)
		skip -= req->iov[i++].iov_len;
	if (req->iov[i].iov_len - skip >= op->len) {
		op->buf = (char *)req->iov[i].iov_base + skip;
		return 0;
	}
	op->len = min_u64(op->len, BOUNCE_LARGE);
	op->bounce = bounce_take(&nbd->bounce, op->len, is_low(op));
	if (!op->bounce)
		return nbd->bounce.small.taken || nbd->bounce.large.taken
			       ? -EAGAIN
			       : -ENOMEM;
	op->buf = op->bounce;
	if (req->op == BLK_WRITE)
		iov_get(req->iov, req->niov, op->did, op->buf, op->len);
	return 0;
}

static void answer(struct nbd *nbd, struct nbd_op *op, int res)
{
	op->res = res;
	list_del(&op->list);
	list_add_tail(&nbd->answered, &op->list);
	loop_defer(nbd->loop, &nbd->task);
}

static void send_queue(struct nbd *nbd, struct list *queue)
{
	while (!list_is_empty(queue)) {
		struct nbd_op *op = list_first(queue, struct nbd_op, list);
		struct nbd_client *client = pick(nbd, op);
		int err;

		if (!client)
			return;
		err = prepare(nbd, op);
		if (err == -EAGAIN)
			return;
		if (!err) {
			err = nbd_client_send(client, op);
			if (err == -ENOTCONN) { /* try the next one */
				list_add(queue, &op->list);
				continue;
			}
		}
		if (err < 0)
			answer(nbd, op, err);
	}
}

/* Ops that wait for the server to come back: since now, if not yet. */
static void note_trouble(struct nbd *nbd)
{
	struct list *queues[] = {&nbd->queue, &nbd->low};
	uint64_t now = clock_ns();

	for (size_t i = 0; i < ARRAY_SIZE(queues); i++)
		/* From the end: those before are in trouble already. */
		for (struct list *l = queues[i]->prev; l != queues[i];
		     l = l->prev) {
			struct nbd_op *op =
				container_of(l, struct nbd_op, list);

			if (op->trouble_ns)
				break;
			op->trouble_ns = now;
		}
	if (list_is_empty(&nbd->timer.list))
		loop_timer_set(nbd->loop, &nbd->timer, now + nbd->reconnect_ns);
}

static void dispatch(struct nbd *nbd)
{
	if (list_is_empty(&nbd->queue) && list_is_empty(&nbd->low))
		return;
	for (unsigned i = 0; i < nbd->nconns; i++)
		nbd_client_want(&nbd->clients[i]);
	send_queue(nbd, &nbd->queue);
	send_queue(nbd, &nbd->low);
	if (!count_ready(nbd) &&
	    (!list_is_empty(&nbd->queue) || !list_is_empty(&nbd->low)))
		note_trouble(nbd);
}

static void enqueue(struct nbd *nbd, struct nbd_op *op)
{
	list_add_tail(is_low(op) ? &nbd->low : &nbd->queue, &op->list);
}

/* What a request ends with that waited in vain. */
static int give_up_error(const struct nbd *nbd)
{
	for (unsigned i = 0; i < nbd->nconns; i++)
		if (nbd->clients[i].err == -ESTALE)
			return -ESTALE;
	return -ETIMEDOUT;
}

static bool is_over(const struct nbd *nbd, const struct nbd_op *op,
		    uint64_t now)
{
	return op->trouble_ns && now - op->trouble_ns >= nbd->reconnect_ns;
}

static void on_timer(struct loop_timer *timer)
{
	struct nbd *nbd = container_of(timer, struct nbd, timer);
	struct list *queues[] = {&nbd->queue, &nbd->low}, *l, *tmp;
	uint64_t now = clock_ns(), first = UINT64_MAX;

	if (count_ready(nbd)) /* what still waits, waits for its turn only */
		return;
	for (size_t i = 0; i < ARRAY_SIZE(queues); i++)
		list_for_each(l, tmp, queues[i])
		{
			struct nbd_op *op =
				container_of(l, struct nbd_op, list);

			if (is_over(nbd, op, now))
				answer(nbd, op, give_up_error(nbd));
			else if (op->trouble_ns)
				first = min_u64(first, op->trouble_ns);
		}
	if (first != UINT64_MAX)
		loop_timer_set(nbd->loop, timer, first + nbd->reconnect_ns);
}

/* An answer has come. Returns true if that was the end of the request. */
static bool is_at_end(struct nbd *nbd, struct nbd_op *op)
{
	struct blk_req *req = op->req;

	if (op->bounce && req->op == BLK_READ && !op->res)
		iov_put(req->iov, req->niov, op->did, op->bounce, op->len);
	bounce_give(&nbd->bounce, op->bounce, op->len);
	op->bounce = op->buf = NULL;
	op->trouble_ns = 0;

	if (req->op == BLK_STATUS) {
		if (op->res < 0 || req->nextents < 1) { /* nothing known */
			req->extents[0] = (struct blk_extent){.len = req->len};
			req->nextents = 1;
		}
		op->res = 0;
		return true;
	}
	if (op->res < 0 && req->op == BLK_CACHE) {
		op->res = 0; /* failing to is no error */
		return true;
	}
	if (op->res < 0 || op->is_flush || req->op == BLK_FLUSH)
		return true;
	op->did += op->len;
	if (op->did < req->len)
		return false;
	if ((req->flags & BLK_FUA) && req->op != BLK_READ &&
	    !nbd->export.can_fua && nbd->export.can_flush) {
		op->is_flush = true;
		op->len = 0;
		return false;
	}
	return true;
}

static void task_run(struct loop_task *task)
{
	struct nbd *nbd = container_of(task, struct nbd, task);
	uint64_t now = clock_ns();
	struct list ended;

	list_init(&ended);
	/* From the end, so that all go to the front in their order: those in
	 * trouble come first in a queue. */
	while (!list_is_empty(&nbd->returned)) {
		struct nbd_op *op =
			container_of(nbd->returned.prev, struct nbd_op, list);

		list_del(&op->list);
		if (is_over(nbd, op, now))
			answer(nbd, op, give_up_error(nbd));
		else
			list_add(is_low(op) ? &nbd->low : &nbd->queue,
				 &op->list);
	}
	while (!list_is_empty(&nbd->answered)) {
		struct nbd_op *op =
			list_first(&nbd->answered, struct nbd_op, list);

		list_del(&op->list);
		if (is_at_end(nbd, op))
			list_add_tail(&ended, &op->list);
		else
			enqueue(nbd, op);
	}
	dispatch(nbd);
	/* Last, as the owner of the last request may free us then. */
	while (!list_is_empty(&ended)) {
		struct nbd_op *op = list_first(&ended, struct nbd_op, list);
		struct blk_req *req = op->req;
		int res = op->res;

		list_del(&op->list);
		pool_give(&nbd->ops, op);
		blk_end(req, res);
	}
}

static void nbd_submit(struct blk *blk, struct blk_req *req)
{
	struct nbd *nbd = (struct nbd *)blk;
	struct nbd_op *op;

	if (req->op == BLK_STATUS && !nbd->export.can_status) {
		blk_end_as_data(req);
		return;
	}
	if (req->op == BLK_FLUSH &&
	    (!(blk->can & BLK_CAN_WRITE) || !nbd->export.can_flush)) {
		blk_end(req, 0);
		return;
	}
	op = pool_take(&nbd->ops);
	if (!op) {
		blk_end(req, -ENOMEM);
		return;
	}
	*op = (struct nbd_op){.req = req, .max_extents = req->nextents};
	list_init(&op->list);
	enqueue(nbd, op);
	dispatch(nbd);
}

static void on_released(struct loop_watch *watch)
{
	struct nbd_client *client =
		container_of(watch, struct nbd_client, watch);
	struct nbd *nbd = container_of(client->task, struct nbd, task);

	if (--nbd->nunreleased == 0)
		free(nbd);
}

static void nbd_free(struct blk *blk)
{
	struct nbd *nbd = (struct nbd *)blk;
	unsigned n = nbd->nconns;

	loop_timer_cancel(&nbd->timer);
	pool_release(&nbd->ops);
	bounce_release(&nbd->bounce);
	/* One more than there are, so that it is not freed in the loop. */
	nbd->nunreleased = n + 1;
	for (unsigned i = 0; i < n; i++)
		nbd_client_close(&nbd->clients[i], on_released);
	loop_task_cancel(&nbd->task);
	if (--nbd->nunreleased == 0)
		free(nbd);
}

static const struct blk_ops nbd_ops = {
	.name = "nbd",
	.submit = nbd_submit,
	.free = nbd_free,
};

static uint32_t find_can(const struct nbd_export *export, unsigned flags)
{
	uint32_t can = 0;

	if (flags & STORE_WRITE) {
		can |= BLK_CAN_WRITE;
		if (export->can_trim)
			can |= BLK_CAN_DISCARD;
		if (export->can_zero)
			can |= BLK_CAN_ZERO;
		if (export->can_zero && export->can_fast_zero)
			can |= BLK_CAN_FAST_ZERO;
	}
	if (export->can_cache)
		can |= BLK_CAN_CACHE;
	return can;
}

struct options {
	uint64_t connections, timeout_s, reconnect_s;
};

/* Take ours out of @uri. */
static int take_options(char *uri, struct options *ret)
{
	if (address_take_number(uri, '?', "connections", 1, NBD_CONNECTIONS_MAX,
				&ret->connections) < 0 ||
	    address_take_number(uri, '?', "timeout", 1, SECONDS_MAX,
				&ret->timeout_s) < 0 ||
	    address_take_number(uri, '?', "reconnect", 0, SECONDS_MAX,
				&ret->reconnect_s) < 0)
		return -EINVAL;
	return 0;
}

static int connect_first(struct nbd *nbd, unsigned flags,
			 struct nbd_handle **ret, struct why *w)
{
	struct nbd_handle *h = NULL;
	int err = nbd_dial_now(&nbd->where, &h, w);

	if (err < 0)
		return err;
	err = nbd_export_get(h, &nbd->export, w);
	if (!err && (flags & STORE_WRITE) && nbd->export.is_read_only)
		err = why(w, -EROFS, "the export cannot be written to");
	if (err < 0) {
		nbd_close(h);
		return err;
	}
	*ret = h;
	return 0;
}

int nbd_open(struct loop *loop, const char *address, unsigned flags,
	     struct store_version *version, struct blk **ret, struct why *w)
{
	struct options options = {
		.connections = NBD_CONNECTIONS,
		.timeout_s = NBD_TIMEOUT_S,
		.reconnect_s = NBD_RECONNECT_S,
	};
	struct nbd_handle *h = NULL;
	struct nbd *nbd = calloc(
		1, sizeof(*nbd) + NBD_CONNECTIONS_MAX * sizeof(*nbd->clients));
	int err;

	if (!nbd)
		return why(w, -ENOMEM, "%s", address);
	if ((size_t)snprintf(nbd->uri, sizeof(nbd->uri), "%s", address) >=
		    sizeof(nbd->uri) ||
	    take_options(nbd->uri, &options) < 0)
		err = why(w, -EINVAL, "want connections=1..%u, seconds",
			  NBD_CONNECTIONS_MAX);
	else
		err = 0;
	nbd->where.uri = nbd->uri;
	nbd->where.timeout_ms = options.timeout_s * 1000;
	nbd->where.patience_ms = options.reconnect_s * 1000;
	if (!err)
		err = connect_first(nbd, flags, &h, w);
	if (err < 0) {
		free(nbd);
		return why_in(w, err, "%s", address);
	}

	nbd->blk = (struct blk){
		.ops = &nbd_ops,
		.size = nbd->export.size,
		.block = nbd->export.block,
		.can = find_can(&nbd->export, flags),
	};
	nbd->loop = loop;
	nbd->reconnect_ns = options.reconnect_s * NS_PER_S;
	list_init(&nbd->queue);
	list_init(&nbd->low);
	list_init(&nbd->answered);
	list_init(&nbd->returned);
	loop_task_init(&nbd->task, task_run);
	loop_timer_init(&nbd->timer, on_timer);
	/* As many as the layers above submit: theirs are the limits. */
	pool_init(&nbd->ops, sizeof(struct nbd_op), SIZE_MAX);
	bounce_init(&nbd->bounce);
	nbd->nconns =
		nbd->export.can_multi_conn ? (unsigned)options.connections : 1;
	for (unsigned i = 0; i < nbd->nconns; i++) {
		struct nbd_client *client = &nbd->clients[i];

		client->where = &nbd->where;
		client->export = &nbd->export;
		client->answered = &nbd->answered;
		client->returned = &nbd->returned;
		client->task = &nbd->task;
		nbd_client_init(client, loop, i ? NULL : h);
	}
	if (version)
		*version = (struct store_version){0};
	*ret = &nbd->blk;
	return 0;
}
