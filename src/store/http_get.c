/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http_get.c - one range of an object, straight into the buffers of who asks
 *
 * The headers are looked at once, when the first byte of the body comes: not a
 * byte of an answer that is not exactly what was asked for gets to a buffer.
 */
#include "store/http_get.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/iov.h"
#include "base/why.h"

/* Of an error's page: read it to its end, as the connection can be used
 * again then; but not a whole image in place of a range. */
#define DROP_MAX (64 * 1024u)

#define BUFFER_SIZE (64 * 1024L)
#define REDIRECTS   5L

static long status_of(const struct http_get *get)
{
	long status = 0;

	(void)curl_easy_getinfo(get->easy, CURLINFO_RESPONSE_CODE, &status);
	return status;
}

static bool has_changed(const struct http_get *get)
{
	const struct http_source *source = get->source;

	if (!source->is_known)
		return false;
	if (*source->etag)
		return strcmp(get->etag, source->etag) != 0;
	return *source->modified && strcmp(get->modified, source->modified);
}

static int judge_headers(const struct http_get *get)
{
	const struct content_range *range = &get->range;

	switch (status_of(get)) {
	case 206:
		if (has_changed(get))
			return -ESTALE;
		if (!get->has_range || get->is_encoded ||
		    range->first != get->offset ||
		    range->last != get->offset + get->len - 1)
			return -EPROTO;
		if (get->source->is_known && range->total != get->source->size)
			return -ESTALE;
		return 0;
	case 200:
		return has_changed(get) ? -ESTALE : -EPROTO;
	case 401:
	case 403:
	case 407:
		return -EACCES;
	case 404:
	case 410:
		return -ENOENT;
	case 412: /* If-Match says that it has changed */
	case 416: /* it ends before the range */
		return -ESTALE;
	case 408:
	case 425:
	case 429:
	case 500:
	case 502:
	case 503:
	case 504:
	case 509:
	case 529:
		return -EAGAIN;
	}
	return -EPROTO;
}

static int judge_once(struct http_get *get)
{
	if (!get->is_judged) {
		get->is_judged = true;
		get->err = judge_headers(get);
	}
	return get->err;
}

static size_t on_body(char *data, size_t size, size_t n, void *user)
{
	struct http_get *get = user;

	n *= size;
	if (judge_once(get) < 0) {
		get->dropped += n;
		return get->dropped <= DROP_MAX ? n : 0;
	}
	if (n > get->len - get->got) {
		get->err = -EPROTO;
		return 0;
	}
	iov_put(get->iov, get->niov, get->at + get->got, data, n);
	get->got += n;
	return n;
}

/* Is it the header @name? Then its value, without the blanks around it. */
static bool is_header(const char *line, size_t n, const char *name,
		      const char **value, size_t *nvalue)
{
	size_t nname = strlen(name);

	if (n <= nname || line[nname] != ':' ||
	    strncasecmp(line, name, nname) != 0)
		return false;
	line += nname + 1;
	n -= nname + 1;
	while (n && strchr(" \t", *line)) {
		line++;
		n--;
	}
	while (n && strchr(" \t\r\n", line[n - 1]))
		n--;
	*value = line;
	*nvalue = n;
	return true;
}

static void keep(char to[static HTTP_TAG_MAX], const char *value, size_t n)
{
	if (n >= HTTP_TAG_MAX)
		n = HTTP_TAG_MAX - 1;
	memcpy(to, value, n);
	to[n] = 0;
}

static void forget_headers(struct http_get *get)
{
	get->has_range = false;
	get->is_encoded = false;
	get->etag[0] = 0;
	get->modified[0] = 0;
	get->is_judged = false;
	get->err = 0;
}

static size_t on_header(char *line, size_t size, size_t n, void *user)
{
	struct http_get *get = user;
	const char *value;
	size_t nvalue;

	n *= size;
	if (n > 5 && !memcmp(line, "HTTP/", 5))
		forget_headers(get); /* of a redirect, or "100 Continue" */
	else if (is_header(line, n, "content-range", &value, &nvalue))
		get->has_range =
			content_range_parse(value, nvalue, &get->range) == 0;
	else if (is_header(line, n, "etag", &value, &nvalue))
		keep(get->etag, value, nvalue);
	else if (is_header(line, n, "last-modified", &value, &nvalue))
		keep(get->modified, value, nvalue);
	else if (is_header(line, n, "content-encoding", &value, &nvalue))
		get->is_encoded =
			nvalue != 8 || strncasecmp(value, "identity", 8) != 0;
	return n;
}

/* The options that stay; any that fails makes the sum other than 0. */
static unsigned set_up(struct http_get *get)
{
	const struct http_source *source = get->source;
	CURL *easy = get->easy;
	bool is_safe = !strncasecmp(source->url, "https:", 6);
	unsigned bad = 0;

#define SET(option, value)                                                     \
	(bad |= (unsigned)curl_easy_setopt(easy, CURLOPT_##option, value))
	SET(PRIVATE, (void *)get);
	SET(NOSIGNAL, 1L);
	SET(ERRORBUFFER, get->text);
	SET(USERAGENT, "roost");
	SET(PROTOCOLS_STR, "http,https");
	SET(REDIR_PROTOCOLS_STR, is_safe ? "https" : "http,https");
	SET(FOLLOWLOCATION, 1L);
	SET(MAXREDIRS, REDIRECTS);
	SET(NETRC, (long)CURL_NETRC_OPTIONAL);
	SET(HTTP_VERSION, (long)CURL_HTTP_VERSION_2TLS);
	SET(PIPEWAIT, 1L); /* rather than a connection of its own */
	SET(BUFFERSIZE, BUFFER_SIZE);
	SET(CONNECTTIMEOUT, source->timeout_s);
	SET(LOW_SPEED_LIMIT, 1L);
	SET(LOW_SPEED_TIME, source->timeout_s);
	SET(HEADERFUNCTION, on_header);
	SET(HEADERDATA, (void *)get);
	SET(WRITEFUNCTION, on_body);
	SET(WRITEDATA, (void *)get);
	if (*source->cacert)
		SET(CAINFO, source->cacert);
#undef SET
	return bad;
}

int http_get_init(struct http_get *get, const struct http_source *source)
{
	*get = (struct http_get){
		.easy = curl_easy_init(),
		.source = source,
	};
	if (!get->easy || set_up(get)) {
		http_get_release(get);
		return -ENOMEM;
	}
	return 0;
}

void http_get_release(struct http_get *get)
{
	curl_easy_cleanup(get->easy);
	get->easy = NULL;
}

int http_get_prepare(struct http_get *get, uint64_t offset, uint64_t len,
		     const struct iovec *iov, int niov, uint64_t at)
{
	char range[48];

	(void)snprintf(range, sizeof(range), "%llu-%llu",
		       (unsigned long long)offset,
		       (unsigned long long)(offset + len - 1));
	get->offset = offset;
	get->len = len;
	get->iov = iov;
	get->niov = niov;
	get->at = at;
	get->got = 0;
	get->dropped = 0;
	get->text[0] = 0;
	forget_headers(get);
	if (curl_easy_setopt(get->easy, CURLOPT_RANGE, range) ||
	    curl_easy_setopt(get->easy, CURLOPT_URL, get->source->url) ||
	    curl_easy_setopt(get->easy, CURLOPT_HTTPHEADER,
			     get->source->headers))
		return -ENOMEM;
	return 0;
}

static int judge_code(const struct http_get *get, CURLcode code, struct why *w)
{
	int err = -EAGAIN;

	switch (code) {
	case CURLE_PEER_FAILED_VERIFICATION:
	case CURLE_SSL_CACERT_BADFILE:
		err = -EACCES;
		break;
	case CURLE_OUT_OF_MEMORY:
		err = -ENOMEM;
		break;
	case CURLE_URL_MALFORMAT:
	case CURLE_UNSUPPORTED_PROTOCOL:
	case CURLE_TOO_MANY_REDIRECTS:
		err = -EPROTO;
		break;
	default: /* the network, or the server: it may get better */
		break;
	}
	(void)why(w, 0, "%s",
		  *get->text ? get->text : curl_easy_strerror(code));
	return err;
}

int http_get_judge(struct http_get *get, CURLcode code, struct why *w)
{
	long status = status_of(get);
	int err;

	if (code != CURLE_OK && !status)
		return judge_code(get, code, w);
	/* With a status, the answer's headers are complete. If all bytes are
	 * there it is no matter what followed them. */
	err = judge_once(get);
	if (code != CURLE_OK && !err && get->got != get->len)
		return judge_code(get, code, w);
	if (!err && get->got != get->len) {
		(void)why(w, 0, "the answer is too short");
		return -EAGAIN;
	}
	if (err == -EPROTO && status == 200)
		(void)why(w, 0, "the server does not do ranges");
	else if (err == -EPROTO && status == 206)
		(void)why(w, 0, "the server sends another range");
	else if (err < 0)
		(void)why(w, 0, "the server says %ld", status);
	return err;
}
