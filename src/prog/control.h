/* SPDX-License-Identifier: Apache-2.0 */
/*
 * control.h - the socket on which roost and others tell the daemon what to do
 *
 * JSON objects, one per line: each request has one answer, in order.
 *
 *	{"op": "disk-ls"}
 *	{"ok": true, "disks": [...]}
 *	{"op": "disk-rm", "name": "x"}
 *	{"ok": false, "error": "there is no disk 'x'", "code": "ENOENT"}
 *
 * Who may connect is a matter of the socket file's mode; who has connected is
 * still not trusted with the daemon's memory or time: lines, clients and
 * nesting are bounded, and a client that does not read its answer waits alone.
 * doc/CONTROL.md has all requests.
 */
#ifndef PROG_CONTROL_H
#define PROG_CONTROL_H

#include <jansson.h>
#include <stdbool.h>

struct blkd;
struct control;
struct control_conn;
struct why;

#define CONTROL_LINE_MAX    65536 /* bytes of a request */
#define CONTROL_CLIENTS_MAX 64
#define CONTROL_SOCKET_MODE 0660

/** struct control_op - a request that is known; the table ends with NULL */
struct control_op {
	const char *name;
	/**
	 * run() - do what @request asks
	 *
	 * Ends in one control_answer() or control_fail() for @conn, at once or
	 * in a later turn of the loop. @request is lent until it returns.
	 */
	void (*run)(struct control_conn *conn, const json_t *request);
};

extern const struct control_op control_ops[];

/** control_new() - listen at @path, or on @fd if that is not -1 */
int control_new(struct blkd *blkd, const char *path, int fd,
		struct control **ret, struct why *why)
	__attribute__((warn_unused_result));

/**
 * control_stop() - no new clients and no new requests
 *
 * Those begun are answered as far as they end before control_free().
 */
void control_stop(struct control *control);

/** control_free() - stopped before, and no request is open. Return: NULL. */
struct control *control_free(struct control *control);

/** control_is_idle() - no request is open; NULL is idle */
bool control_is_idle(const struct control *control);

/** control_blkd() - the daemon that @conn speaks to */
struct blkd *control_blkd(struct control_conn *conn);

/** control_answer() - {"ok": true} and what is in @answer, consumed or NULL */
void control_answer(struct control_conn *conn, json_t *answer);

/** control_fail() - {"ok": false, ...}; @why's text, or that of @err */
void control_fail(struct control_conn *conn, int err, const struct why *why);

#endif
