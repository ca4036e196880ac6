/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http_probe.h - what one byte of an object tells about the whole
 */
#ifndef STORE_HTTP_PROBE_H
#define STORE_HTTP_PROBE_H

#include <stdbool.h>

struct http_source;
struct store_version;
struct why;

/**
 * http_probe() - ask for the first byte, and wait for it
 * @source:	has the address, to which the size, the version and a header
 *		that asks for this version only are added. Where a redirect has
 *		led becomes its address.
 * @ret_is_http2: on success whether requests can share a connection
 *
 * Return: 0, or as http_open()
 */
int http_probe(struct http_source *source, bool *ret_is_http2, struct why *why)
	__attribute__((warn_unused_result));

/** http_version() - name the version that http_probe() found; empty if none */
void http_version(const struct http_source *source, struct store_version *ret);

#endif
