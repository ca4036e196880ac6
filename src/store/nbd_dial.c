/* SPDX-License-Identifier: Apache-2.0 */
/*
 * nbd_dial.c - connect to an NBD server, here and now or on a thread
 *
 * A struct nbd_dial has two owners, the loop and the thread; the last one to
 * let go frees it. The thread writes @h and @err, then @is_ended; the loop
 * reads them after it has seen @is_ended.
 */
#include "store/nbd_dial.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/array.h"
#include "base/clock.h"
#include "base/why.h"

#define MOST (32 * MIB) /* every server takes that much, says the protocol */

struct nbd_dial {
	atomic_int owners;
	atomic_bool is_ended;
	int ended_fd; /* eventfd, for the loop */
	int cancel_fd; /* eventfd, for the thread */
	char *uri; /* owned */
	uint64_t timeout_ms;
	struct nbd_handle *h; /* owned until it is handed on */
	int err;
};

/* What libnbd said last, on this thread. */
static int said(struct why *w)
{
	int err = nbd_get_errno();
	const char *text = nbd_get_error();

	/* Not all of its errors have a number. */
	return why(w, err > 0 ? -err : -EPROTO, "%s", text ? text : "libnbd");
}

/* Turn the handshake until it has ended, one way or the other. */
static int shake_hands(struct nbd_handle *h, uint64_t timeout_ms, int cancel_fd,
		       struct why *w)
{
	uint64_t until = clock_ns() + timeout_ms * NS_PER_MS;

	while (nbd_aio_is_connecting(h)) {
		unsigned direction = nbd_aio_get_direction(h);
		struct pollfd fds[] = {
			{.fd = nbd_aio_get_fd(h)},
			{.fd = cancel_fd, .events = POLLIN},
		};
		uint64_t now = clock_ns();
		int n, err = 0;

		if (direction & LIBNBD_AIO_DIRECTION_READ)
			fds[0].events |= POLLIN;
		if (direction & LIBNBD_AIO_DIRECTION_WRITE)
			fds[0].events |= POLLOUT;
		if (now >= until)
			return why(w, -ETIMEDOUT, "the server does not answer");
		n = poll(fds, ARRAY_SIZE(fds),
			 (int)min_u64((until - now) / NS_PER_MS + 1, 1u << 30));
		if (n < 0 && errno != EINTR)
			return why(w, -errno, "poll");
		if (n <= 0)
			continue;
		if (fds[1].revents)
			return -ECANCELED;
		if (!fds[0].revents)
			continue;
		if ((direction & LIBNBD_AIO_DIRECTION_READ) &&
		    (fds[0].revents & ~POLLOUT))
			err = nbd_aio_notify_read(h);
		else
			err = nbd_aio_notify_write(h);
		if (err < 0)
			return said(w);
	}
	return nbd_aio_is_ready(h) ? 0 : said(w);
}

static int dial(const char *uri, uint64_t timeout_ms, int cancel_fd,
		struct nbd_handle **ret, struct why *w)
{
	struct nbd_handle *h = nbd_create();
	int err;

	if (!h)
		return said(w);
	/* The address is the operator's: it may name files with keys. */
	if (nbd_set_uri_allow_local_file(h, true) < 0 ||
	    nbd_add_meta_context(h, LIBNBD_CONTEXT_BASE_ALLOCATION) < 0 ||
	    nbd_aio_connect_uri(h, uri) < 0)
		err = said(w);
	else
		err = shake_hands(h, timeout_ms, cancel_fd, w);
	if (err < 0) {
		nbd_close(h);
		return err;
	}
	*ret = h;
	return 0;
}

int nbd_dial_now(const struct nbd_where *where, struct nbd_handle **ret,
		 struct why *w)
{
	return dial(where->uri, where->timeout_ms, -1, ret, w);
}

static void disown(struct nbd_dial *d)
{
	if (atomic_fetch_sub(&d->owners, 1) > 1)
		return;
	if (d->h)
		nbd_close(d->h);
	if (d->ended_fd >= 0)
		(void)close(d->ended_fd);
	if (d->cancel_fd >= 0)
		(void)close(d->cancel_fd);
	free(d->uri);
	free(d);
}

static void raise_event(int fd)
{
	uint64_t one = 1;

	/* Cannot fail: it would take 2^64 - 1 of them. */
	if (write(fd, &one, sizeof(one)) < 0)
		abort();
}

static void *thread_main(void *arg)
{
	struct nbd_dial *d = arg;

	d->err = dial(d->uri, d->timeout_ms, d->cancel_fd, &d->h, NULL);
	atomic_store(&d->is_ended, true);
	raise_event(d->ended_fd);
	disown(d);
	return NULL;
}

int nbd_dial_start(const struct nbd_where *where, struct nbd_dial **ret)
{
	struct nbd_dial *d = calloc(1, sizeof(*d));
	sigset_t all, saved;
	pthread_t thread;
	int err = 0;

	if (!d)
		return -ENOMEM;
	atomic_init(&d->owners, 1);
	d->uri = strdup(where->uri);
	d->timeout_ms = where->timeout_ms;
	d->ended_fd = eventfd(0, EFD_CLOEXEC);
	d->cancel_fd = eventfd(0, EFD_CLOEXEC);
	if (!d->uri)
		err = -ENOMEM;
	else if (d->ended_fd < 0 || d->cancel_fd < 0)
		err = -EMFILE;
	if (err < 0) {
		disown(d);
		return err;
	}

	/* Signals are for the program's main thread. */
	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &saved);
	atomic_store(&d->owners, 2);
	err = -pthread_create(&thread, NULL, thread_main, d);
	(void)pthread_sigmask(SIG_SETMASK, &saved, NULL);
	if (err < 0) {
		atomic_store(&d->owners, 1);
		disown(d);
		return err;
	}
	(void)pthread_detach(thread);
	*ret = d;
	return 0;
}

int nbd_dial_fd(const struct nbd_dial *d)
{
	return d->ended_fd;
}

int nbd_dial_end(struct nbd_dial *d, struct nbd_handle **ret)
{
	int err = -EINPROGRESS;

	if (atomic_load(&d->is_ended)) {
		err = d->err;
		if (!err) {
			*ret = d->h;
			d->h = NULL;
		}
	} else {
		raise_event(d->cancel_fd);
	}
	disown(d);
	return err;
}

struct nbd_dial *nbd_dial_drop(struct nbd_dial *d)
{
	if (d) {
		raise_event(d->cancel_fd);
		disown(d);
	}
	return NULL;
}

/* Of a server that does not advertise its block sizes: no limits. */
static int64_t block_size(struct nbd_handle *h, int which, int64_t otherwise)
{
	int64_t n = nbd_get_block_size(h, which);

	return n > 0 ? n : otherwise;
}

int nbd_export_get(struct nbd_handle *h, struct nbd_export *ret, struct why *w)
{
	int64_t size = nbd_get_size(h);
	int64_t block = block_size(h, LIBNBD_SIZE_MINIMUM, 1);
	int64_t most = block_size(h, LIBNBD_SIZE_MAXIMUM, MOST);

	if (size < 0)
		return said(w);
	if (block > 4096 || (block & (block - 1)) || size % block ||
	    most < block)
		return why(w, -EPROTO,
			   "cannot use blocks of %lld to %lld bytes of an "
			   "export of %lld",
			   (long long)block, (long long)most, (long long)size);
	most = (int64_t)min_u64((uint64_t)most, MOST);
	*ret = (struct nbd_export){
		.size = (uint64_t)size,
		.block = (uint32_t)block,
		.most = (uint32_t)(most & ~(block - 1)),
		.is_read_only = nbd_is_read_only(h) != 0,
		.can_multi_conn = nbd_can_multi_conn(h) > 0,
		.can_flush = nbd_can_flush(h) > 0,
		.can_fua = nbd_can_fua(h) > 0,
		.can_trim = nbd_can_trim(h) > 0,
		.can_zero = nbd_can_zero(h) > 0,
		.can_fast_zero = nbd_can_fast_zero(h) > 0,
		.can_cache = nbd_can_cache(h) > 0,
		.can_status = nbd_can_meta_context(
				      h, LIBNBD_CONTEXT_BASE_ALLOCATION) > 0,
	};
	return 0;
}

bool nbd_export_is_as_good(const struct nbd_export *now,
			   const struct nbd_export *was)
{
	return now->size == was->size && now->block <= was->block &&
	       now->most >= was->most &&
	       now->is_read_only <= was->is_read_only &&
	       now->can_multi_conn >= was->can_multi_conn &&
	       now->can_flush >= was->can_flush &&
	       now->can_fua >= was->can_fua && now->can_trim >= was->can_trim &&
	       now->can_zero >= was->can_zero &&
	       now->can_fast_zero >= was->can_fast_zero &&
	       now->can_cache >= was->can_cache &&
	       now->can_status >= was->can_status;
}
