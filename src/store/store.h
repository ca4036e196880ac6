/* SPDX-License-Identifier: Apache-2.0 */
/*
 * store.h - open where blocks rest, by address
 *
 *	/srv/a.img, file:///srv/a.img		file, NFS: store/file.h
 *	nbd://HOST[:PORT]/EXPORT, nbds://...	NBD over TCP: store/nbd_store.h
 *	nbd+unix:///EXPORT?socket=PATH		NBD over a unix socket
 *	http://..., https://...			range requests: store/http.h
 */
#ifndef STORE_STORE_H
#define STORE_STORE_H

#include <stdint.h>

struct blk;
struct loop;
struct why;

#define STORE_WRITE  (1u << 0) /* for writing too */
#define STORE_DIRECT (1u << 1) /* past the host's page cache where possible */

/* Bytes of a version's text with the final 0; longer ones are hashed. */
#define STORE_VERSION_MAX 128

/**
 * struct store_version - tells two contents of one address apart
 * @text:	"mtime:..." of a file, "etag:..." or "modified:..." over HTTP,
 *		empty where the store has no such thing (NBD)
 */
struct store_version {
	char text[STORE_VERSION_MAX];
};

/**
 * store_open() - connect and find out the size
 * @loop:	where the result will be used. Only kept: the loop is first
 *		touched by the first request.
 * @address:	as above; always raw bytes, never probed for a format
 * @flags:	STORE_WRITE | STORE_DIRECT
 * @version:	NULL, or filled on success
 * @ret:	on success the store, owned by the caller: blk_free() it.
 *		Untouched on failure.
 *
 * Blocks (connects, stats): call it on a worker (base/work.h), or at start.
 *
 * Return: 0; -ENOENT: there is no such file, export or object; other negative
 * errno. @why says which.
 */
int store_open(struct loop *loop, const char *address, unsigned flags,
	       struct store_version *version, struct blk **ret, struct why *why)
	__attribute__((warn_unused_result));

#endif
