/* SPDX-License-Identifier: Apache-2.0 */
/*
 * blkd_scrape.h - the metrics over HTTP, for Prometheus
 *
 * Whatever is asked gets the metrics and a closed connection: there is nothing
 * else here, and nothing can be changed. So a request needs no parsing but to
 * its end, and its bytes are thrown away.
 */
#ifndef PROG_BLKD_SCRAPE_H
#define PROG_BLKD_SCRAPE_H

struct blkd;
struct scrape;
struct why;

#define SCRAPE_REQUEST_MAX 8192 /* bytes */
#define SCRAPE_CLIENTS_MAX 8
#define SCRAPE_TIMEOUT_MS  5000 /* for a client to ask and to read */

/** scrape_new() - listen at HOST:PORT */
int scrape_new(struct blkd *blkd, const char *address, struct scrape **ret,
	       struct why *why) __attribute__((warn_unused_result));

/** scrape_free() - clients are cut off; NULL is fine. Return: NULL. */
struct scrape *scrape_free(struct scrape *scrape);

#endif
