/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http_loop.h - libcurl's transfers, driven by the loop
 *
 * libcurl says which sockets it waits for and when it wants to be called, and
 * we set watches and a timer accordingly. The watches outlive the sockets by a
 * turn, so this lives in memory of its own, which is freed when the last one
 * is released.
 */
#ifndef STORE_HTTP_LOOP_H
#define STORE_HTTP_LOOP_H

#include <curl/curl.h>

struct http_get;
struct http_loop;
struct loop;

/**
 * http_loop_new() - the loop is not touched before http_loop_start()
 * @connections: at most, to one host
 * @done:	called on the loop when a transfer has ended; never from within
 *		a function of this file. The get is free for the next one.
 * @owner:	passed on to @done
 *
 * Return: 0; -ENOMEM.
 */
int http_loop_new(struct loop *loop, unsigned connections,
		  void (*done)(void *owner, struct http_get *get,
			       CURLcode code),
		  void *owner, struct http_loop **ret)
	__attribute__((warn_unused_result));

/** http_loop_start() - begin the transfer that @get is prepared for */
int http_loop_start(struct http_loop *http_loop, struct http_get *get)
	__attribute__((warn_unused_result));

/** http_loop_free() - nothing is in flight. Return: NULL. */
struct http_loop *http_loop_free(struct http_loop *http_loop);

#endif
