/* SPDX-License-Identifier: Apache-2.0 */
/*
 * nbd_dial.h - connect to an NBD server, here and now or on a thread
 *
 * Looking up a name and shaking hands may block, so a connection that is made
 * while the loop runs is made on a thread of its own, which nobody waits for.
 */
#ifndef STORE_NBD_DIAL_H
#define STORE_NBD_DIAL_H

#include <libnbd.h>
#include <stdbool.h>
#include <stdint.h>

struct nbd_dial;
struct why;

/** struct nbd_where - what to connect to, and how long that may take */
struct nbd_where {
	const char *uri; /* for libnbd */
	uint64_t timeout_ms; /* for the server, to connect or to answer */
	uint64_t patience_ms; /* of a request while there is no server */
};

/** struct nbd_export - what a server says of an export */
struct nbd_export {
	uint64_t size;
	uint32_t block; /* bytes; 1 if it does not say */
	uint32_t most; /* bytes that one request may carry */
	bool is_read_only;
	bool can_multi_conn;
	bool can_flush;
	bool can_fua;
	bool can_trim;
	bool can_zero;
	bool can_fast_zero;
	bool can_cache;
	bool can_status;
};

/** nbd_dial_now() - connect; nbd_close() what it returns */
int nbd_dial_now(const struct nbd_where *where, struct nbd_handle **ret,
		 struct why *why) __attribute__((warn_unused_result));

/** nbd_dial_start() - connect on a thread; @where is copied */
int nbd_dial_start(const struct nbd_where *where, struct nbd_dial **ret)
	__attribute__((warn_unused_result));

/** nbd_dial_fd() - can be read from (POLLIN) when the thread has ended */
int nbd_dial_fd(const struct nbd_dial *dial);

/** nbd_dial_end() - after that: the handle or the error; frees @dial */
int nbd_dial_end(struct nbd_dial *dial, struct nbd_handle **ret)
	__attribute__((warn_unused_result));

/** nbd_dial_drop() - the connection is not wanted any more. Return: NULL. */
struct nbd_dial *nbd_dial_drop(struct nbd_dial *dial);

/** nbd_export_get() - of a connected handle; -EPROTO if it makes no sense */
int nbd_export_get(struct nbd_handle *h, struct nbd_export *ret,
		   struct why *why) __attribute__((warn_unused_result));

/** nbd_export_is_as_good() - of the same size, and can do all that @was can */
bool nbd_export_is_as_good(const struct nbd_export *now,
			   const struct nbd_export *was);

#endif
