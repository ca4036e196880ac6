/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http_probe.c - what one byte of an object tells about the whole
 *
 * Its size, what names its version, whether the server speaks HTTP/2, and
 * where redirects lead.
 */
#include "store/http_probe.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <xxhash.h>

#include "base/why.h"
#include "store/http_get.h"
#include "store/store.h"

static bool is_strong(const char *etag)
{
	return *etag == '"';
}

/* So that a changed object is not even sent. Servers that know nothing of
 * these send it, and then http_get sees it. */
static int add_condition(struct http_source *source)
{
	char line[HTTP_TAG_MAX + 32];

	if (is_strong(source->etag))
		(void)snprintf(line, sizeof(line), "If-Match: %s",
			       source->etag);
	else if (!*source->etag && *source->modified)
		(void)snprintf(line, sizeof(line), "If-Unmodified-Since: %s",
			       source->modified);
	else
		return 0;
	source->headers = curl_slist_append(NULL, line);
	return source->headers ? 0 : -ENOMEM;
}

/* Later requests go straight to where a redirect has led, unless it takes a
 * password that only the first address has. */
static void follow(struct http_source *source, struct http_get *get)
{
	char *url = NULL;
	size_t n;

	if (curl_easy_getinfo(get->easy, CURLINFO_EFFECTIVE_URL, &url) ||
	    !url || strchr(source->url, '@'))
		return;
	n = strlen(url);
	if (n < sizeof(source->url))
		memcpy(source->url, url, n + 1);
}

/* Of a failure that may pass, where nobody tries again. */
static int final_error(const struct http_get *get, CURLcode code)
{
	long err = 0;

	if (code == CURLE_OPERATION_TIMEDOUT)
		return -ETIMEDOUT;
	(void)curl_easy_getinfo(get->easy, CURLINFO_OS_ERRNO, &err);
	return code != CURLE_OK && err > 0 ? -(int)err : -EIO;
}

int http_probe(struct http_source *source, bool *ret_is_http2, struct why *w)
{
	struct http_get get;
	char byte;
	struct iovec iov = {&byte, 1};
	CURLcode code;
	long version = 0;
	int err = http_get_init(&get, source);

	if (err < 0)
		return why(w, err, "libcurl");
	err = http_get_prepare(&get, 0, 1, &iov, 1, 0);
	if (err < 0) {
		http_get_release(&get);
		return why(w, err, "libcurl");
	}
	code = curl_easy_perform(get.easy);
	err = http_get_judge(&get, code, w);
	if (err == -ESTALE) { /* nothing is known that could have changed */
		(void)why(w, 0, "it is empty");
		err = -EINVAL;
	}
	if (err == -EAGAIN)
		err = final_error(&get, code);
	if (!err) {
		(void)curl_easy_getinfo(get.easy, CURLINFO_HTTP_VERSION,
					&version);
		*ret_is_http2 = version >= CURL_HTTP_VERSION_2_0;
		source->size = get.range.total;
		memcpy(source->etag, get.etag, sizeof(get.etag));
		memcpy(source->modified, get.modified, sizeof(get.modified));
		source->is_known = true;
		follow(source, &get);
		err = add_condition(source);
	}
	http_get_release(&get);
	return err;
}

void http_version(const struct http_source *source, struct store_version *ret)
{
	const char *kind = *source->etag ? "etag" : "modified";
	const char *text = *source->etag ? source->etag : source->modified;
	int n;

	*ret = (struct store_version){0};
	if (!*text)
		return;
	n = snprintf(ret->text, sizeof(ret->text), "%s:%s", kind, text);
	if (n >= (int)sizeof(ret->text)) {
		XXH128_hash_t hash = XXH3_128bits(text, strlen(text));

		(void)snprintf(ret->text, sizeof(ret->text),
			       "%s-xxh128:%016llx%016llx", kind,
			       (unsigned long long)hash.high64,
			       (unsigned long long)hash.low64);
	}
}
