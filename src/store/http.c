/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http.c - requests to a web server, as ranges, a limited number at a time
 *
 * Each request has an op from its submit to its end, which is, in turn:
 *
 *	in a queue	until a slot (a libcurl handle) is free
 *	in a slot	on its way
 *	resting		after a failure that may pass, until its time comes;
 *			then in a queue again, for the bytes that are missing
 *	ended		until task_run() tells its owner
 *
 * An op in trouble for longer than the time to reconnect ends instead; so do
 * those that have waited so long while not one was answered.
 */
#include "store/http.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/blk.h"
#include "base/clock.h"
#include "base/loop.h"
#include "base/pool.h"
#include "base/why.h"
#include "store/http_get.h"
#include "store/http_loop.h"
#include "store/http_probe.h"
#include "store/store.h"

#define STREAMS	     8u /* of HTTP/2, per connection */
#define PAUSE_MIN_NS (100 * NS_PER_MS)
#define PAUSE_MAX_NS (2 * NS_PER_S)
#define SECONDS_MAX  (24 * 3600u)

struct http_op {
	struct list list;
	struct blk_req *req;
	uint64_t did; /* bytes of @req that are there */
	uint64_t since_ns; /* when it came */
	uint64_t trouble_ns; /* since when it fails; or 0 */
	uint64_t pause_ns; /* the last one */
	uint64_t due_ns; /* resting: until then */
	int res; /* ended */
};

struct slot {
	struct http_get get;
	struct http_op *op; /* NULL: free */
};

struct http {
	struct blk blk; /* first */
	struct loop *loop;
	struct http_source source;
	char origin[ADDRESS_MAX]; /* the URL before redirects */
	uint64_t reconnect_ns;
	uint64_t trouble_ns; /* since when nothing has come; or 0 */

	struct http_loop *http_loop; /* owned */
	struct loop_task task;
	struct loop_timer timer; /* set while ops rest, or in trouble */
	struct list queue, low, resting, ended; /* of struct http_op */
	struct pool ops;

	unsigned nbusy;
	unsigned nslots;
	struct slot *slots; /* owned */
};

static void end(struct http *http, struct http_op *op, int res)
{
	op->res = res;
	list_add_tail(&http->ended, &op->list);
	loop_defer(http->loop, &http->task);
}

/* When @op ends if nothing gets better. */
static uint64_t give_up_at(const struct http *http, const struct http_op *op)
{
	uint64_t from = UINT64_MAX;

	if (op->trouble_ns)
		from = op->trouble_ns;
	if (http->trouble_ns)
		from = min_u64(from, max_u64(http->trouble_ns, op->since_ns));
	return from == UINT64_MAX ? from : from + http->reconnect_ns;
}

static void set_timer(struct http *http, uint64_t at_ns)
{
	if (list_is_empty(&http->timer.list) || at_ns < http->timer.at_ns)
		loop_timer_set(http->loop, &http->timer, at_ns);
}

static void rest(struct http *http, struct http_op *op)
{
	uint64_t now = clock_ns(), until;

	if (!op->trouble_ns)
		op->trouble_ns = now;
	if (!http->trouble_ns)
		http->trouble_ns = now;
	until = give_up_at(http, op);
	if (until <= now) {
		end(http, op, -ETIMEDOUT);
		return;
	}
	op->pause_ns = op->pause_ns ? min_u64(op->pause_ns * 2, PAUSE_MAX_NS)
				    : PAUSE_MIN_NS;
	op->due_ns = min_u64(now + op->pause_ns, until);
	list_add_tail(&http->resting, &op->list);
	set_timer(http, op->due_ns);
}

static struct slot *free_slot(struct http *http)
{
	for (unsigned i = 0; i < http->nslots; i++)
		if (!http->slots[i].op)
			return &http->slots[i];
	return NULL;
}

/* Slots that prefetch leaves to demand. */
static unsigned reserve(const struct http *http)
{
	return http->nslots > 1 ? (http->nslots + 3) / 4 : 0;
}

static void start_queue(struct http *http, struct list *queue, unsigned nmost)
{
	while (http->nbusy < nmost && !list_is_empty(queue)) {
		struct http_op *op = list_first(queue, struct http_op, list);
		struct blk_req *req = op->req;
		struct slot *slot = free_slot(http);
		int err;

		list_del(&op->list);
		err = http_get_prepare(&slot->get, req->offset + op->did,
				       req->len - op->did, req->iov, req->niov,
				       op->did);
		if (!err)
			err = http_loop_start(http->http_loop, &slot->get);
		if (err < 0) {
			end(http, op, err);
			continue;
		}
		slot->op = op;
		http->nbusy++;
	}
}

static void dispatch(struct http *http)
{
	start_queue(http, &http->queue, http->nslots);
	start_queue(http, &http->low, http->nslots - reserve(http));
}

static void enqueue(struct http *http, struct http_op *op)
{
	list_add_tail(op->req->flags & BLK_LOW ? &http->low : &http->queue,
		      &op->list);
}

/* End what has waited in @queue for too long. */
static void give_up(struct http *http, struct list *queue, uint64_t now)
{
	struct list *l, *tmp;

	list_for_each(l, tmp, queue)
	{
		struct http_op *op = container_of(l, struct http_op, list);
		uint64_t until = give_up_at(http, op);

		if (until <= now) {
			list_del(l);
			end(http, op, -ETIMEDOUT);
		} else if (until != UINT64_MAX) {
			set_timer(http, until);
		}
	}
}

static void on_timer(struct loop_timer *timer)
{
	struct http *http = container_of(timer, struct http, timer);
	uint64_t now = clock_ns();
	struct list *l, *tmp;

	list_for_each(l, tmp, &http->resting)
	{
		struct http_op *op = container_of(l, struct http_op, list);

		if (op->due_ns > now) {
			set_timer(http, op->due_ns);
			continue;
		}
		list_del(l);
		enqueue(http, op);
	}
	give_up(http, &http->queue, now);
	give_up(http, &http->low, now);
	dispatch(http);
}

/* A place that a redirect had led to may be gone; ask the first one again. */
static bool can_go_back(struct http *http, int err)
{
	if ((err != -EACCES && err != -ENOENT) ||
	    !strcmp(http->source.url, http->origin))
		return false;
	memcpy(http->source.url, http->origin, sizeof(http->origin));
	return true;
}

static void on_done(void *owner, struct http_get *get, CURLcode code)
{
	struct http *http = owner;
	struct slot *slot = container_of(get, struct slot, get);
	struct http_op *op = slot->op;
	int err = http_get_judge(get, code, NULL);

	slot->op = NULL;
	http->nbusy--;
	if (get->got) { /* it is getting on */
		op->did += get->got;
		op->trouble_ns = op->pause_ns = 0;
		http->trouble_ns = 0;
	}
	if (!err)
		end(http, op, 0);
	else if (err == -EAGAIN || can_go_back(http, err))
		rest(http, op);
	else
		end(http, op, err);
	loop_defer(http->loop, &http->task); /* a slot is free */
}

static void task_run(struct loop_task *task)
{
	struct http *http = container_of(task, struct http, task);
	struct list ended;

	dispatch(http);
	list_init(&ended);
	list_splice(&ended, &http->ended);
	/* Last, as the owner of the last request may free us then. */
	while (!list_is_empty(&ended)) {
		struct http_op *op = list_first(&ended, struct http_op, list);
		struct blk_req *req = op->req;
		int res = op->res;

		list_del(&op->list);
		pool_give(&http->ops, op);
		blk_end(req, res);
	}
}

static void http_submit(struct blk *blk, struct blk_req *req)
{
	struct http *http = (struct http *)blk;
	struct http_op *op;

	if (req->op == BLK_STATUS) {
		blk_end_as_data(req);
		return;
	}
	if (req->op != BLK_READ) { /* a flush, of nothing */
		blk_end(req, 0);
		return;
	}
	op = pool_take(&http->ops);
	if (!op) {
		blk_end(req, -ENOMEM);
		return;
	}
	*op = (struct http_op){.req = req, .since_ns = clock_ns()};
	list_init(&op->list);
	enqueue(http, op);
	dispatch(http);
}

static void http_free(struct blk *blk)
{
	struct http *http = (struct http *)blk;

	loop_timer_cancel(&http->timer);
	loop_task_cancel(&http->task);
	http->http_loop = http_loop_free(http->http_loop);
	for (unsigned i = 0; i < http->nslots; i++)
		http_get_release(&http->slots[i].get);
	free(http->slots);
	curl_slist_free_all(http->source.headers);
	pool_release(&http->ops);
	free(http);
}

static const struct blk_ops http_ops = {
	.name = "http",
	.submit = http_submit,
	.free = http_free,
};

struct options {
	uint64_t connections, timeout_s, reconnect_s;
};

static int take_options(struct http *http, struct options *ret, struct why *w)
{
	char *url = http->source.url;

	if (address_take_number(url, '#', "connections", 1,
				HTTP_CONNECTIONS_MAX, &ret->connections) < 0 ||
	    address_take_number(url, '#', "timeout", 1, SECONDS_MAX,
				&ret->timeout_s) < 0 ||
	    address_take_number(url, '#', "reconnect", 0, SECONDS_MAX,
				&ret->reconnect_s) < 0 ||
	    address_take(url, '#', "cacert", http->source.cacert,
			 sizeof(http->source.cacert)) < 0)
		return why(w, -EINVAL, "want #connections=1..%u, seconds",
			   HTTP_CONNECTIONS_MAX);
	if (strchr(url, '#'))
		return why(w, -EINVAL, "no such option: %s", strchr(url, '#'));
	http->source.timeout_s = (long)ret->timeout_s;
	http->reconnect_ns = ret->reconnect_s * NS_PER_S;
	return 0;
}

static void init_libcurl(void)
{
	(void)curl_global_init(CURL_GLOBAL_DEFAULT);
}

/* What http_free() lets go of, made in its reverse order. */
static int make(struct http *http, unsigned connections, bool is_http2,
		struct why *w)
{
	unsigned n = is_http2 ? connections * STREAMS : connections;
	int err = http_loop_new(http->loop, connections, on_done, http,
				&http->http_loop);

	http->slots = calloc(n, sizeof(*http->slots));
	if (!http->slots)
		err = -ENOMEM;
	while (!err && http->nslots < n) {
		err = http_get_init(&http->slots[http->nslots].get,
				    &http->source);
		http->nslots += !err;
	}
	return err < 0 ? why(w, err, "libcurl") : 0;
}

int http_open(struct loop *loop, const char *address, unsigned flags,
	      struct store_version *version, struct blk **ret, struct why *w)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	struct options options = {
		.connections = HTTP_CONNECTIONS,
		.timeout_s = HTTP_TIMEOUT_S,
		.reconnect_s = HTTP_RECONNECT_S,
	};
	struct http *http = calloc(1, sizeof(*http));
	char shown[WHY_MAX];
	bool is_http2 = false;
	int err = 0;

	address_public(address, shown, sizeof(shown));
	if (!http)
		return why(w, -ENOMEM, "%s", shown);
	(void)pthread_once(&once, init_libcurl);
	http->loop = loop;
	list_init(&http->queue);
	list_init(&http->low);
	list_init(&http->resting);
	list_init(&http->ended);
	loop_task_init(&http->task, task_run);
	loop_timer_init(&http->timer, on_timer);
	/* As many as the layers above submit: theirs are the limits. */
	pool_init(&http->ops, sizeof(struct http_op), SIZE_MAX);

	if ((size_t)snprintf(http->source.url, ADDRESS_MAX, "%s", address) >=
	    ADDRESS_MAX)
		err = why(w, -EINVAL, "too long");
	if (!err && (flags & STORE_WRITE))
		err = why(w, -EROFS, "web servers are only read from");
	if (!err)
		err = take_options(http, &options, w);
	memcpy(http->origin, http->source.url, sizeof(http->origin));
	if (!err)
		err = http_probe(&http->source, &is_http2, w);
	if (!err)
		err = make(http, (unsigned)options.connections, is_http2, w);
	if (err < 0) {
		http_free(&http->blk);
		return why_in(w, err, "%s", shown);
	}
	http->blk = (struct blk){
		.ops = &http_ops,
		.size = http->source.size,
		.block = 1,
	};
	if (version)
		http_version(&http->source, version);
	*ret = &http->blk;
	return 0;
}
