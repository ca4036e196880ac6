/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http_get.h - one range of an object, straight into the buffers of who asks
 *
 * A struct http_get is one libcurl handle, used for one range after the other.
 * Who performs it (curl_easy_perform, curl_multi) is not its business.
 */
#ifndef STORE_HTTP_GET_H
#define STORE_HTTP_GET_H

#include <curl/curl.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "wire/address.h"
#include "wire/content_range.h"

struct why;

#define HTTP_TAG_MAX 512u /* bytes of an ETag that count, with the final 0 */

/**
 * struct http_source - the object, and how to get it
 * @url:	where it is now: a redirect may have led there
 * @etag, @modified: as at open; empty if there was none
 * @size:	bytes; meaningless before @is_known
 * @headers:	sent with each request; owned
 */
struct http_source {
	char url[ADDRESS_MAX];
	char etag[HTTP_TAG_MAX];
	char modified[HTTP_TAG_MAX];
	uint64_t size;
	bool is_known; /* the four above are */
	char cacert[ADDRESS_MAX]; /* empty: the system's */
	long timeout_s;
	struct curl_slist *headers;
};

/** struct http_get - a member of its owner's struct */
struct http_get {
	CURL *easy;
	const struct http_source *source;
	char text[CURL_ERROR_SIZE]; /* libcurl's words on the last error */

	uint64_t offset, len; /* what is asked for */
	const struct iovec *iov; /* where it goes to */
	int niov;
	uint64_t at; /* bytes of @iov before it */
	uint64_t got;

	/* Of the answer's headers: */
	struct content_range range;
	bool has_range;
	bool is_encoded; /* compressed, though nobody asked for that */
	char etag[HTTP_TAG_MAX];
	char modified[HTTP_TAG_MAX];

	bool is_judged; /* the headers were looked at */
	int err; /* what they came to */
	uint64_t dropped; /* bytes of a body that nobody wants */
};

/** http_get_init() - @source is borrowed. Return: 0; -ENOMEM. */
int http_get_init(struct http_get *get, const struct http_source *source)
	__attribute__((warn_unused_result));

void http_get_release(struct http_get *get);

/** http_get_prepare() - set up @get->easy for a range, to be performed */
int http_get_prepare(struct http_get *get, uint64_t offset, uint64_t len,
		     const struct iovec *iov, int niov, uint64_t at)
	__attribute__((warn_unused_result));

/**
 * http_get_judge() - what came of it
 * @code:	what libcurl says; @get->got bytes are right in any case
 * @why:	NULL, or told
 *
 * Return: 0: all is there; -EAGAIN: may succeed another time; -ESTALE: the
 * object has changed; -ENOENT, -EACCES: not there, not for us; -EPROTO: the
 * server does something else.
 */
int http_get_judge(struct http_get *get, CURLcode code, struct why *why)
	__attribute__((warn_unused_result));

#endif
