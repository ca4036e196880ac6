/* SPDX-License-Identifier: Apache-2.0 */
/*
 * blkd.h - the block daemon: what its parts share
 *
 * One thread, one loop: disks, doors and control all live on it, so nothing
 * here is locked. What blocks (opening a store, writing the state file) is
 * given to workers and ends on the loop.
 *
 * Start: the sockets listen first, so that a client that comes early waits in
 * their queue; then the disks open, side by side on the workers; then the
 * doors accept. End (SIGTERM, quit, the one client of --stdio gone): the doors
 * drain, then the disks close, then the loop stops.
 */
#ifndef PROG_BLKD_H
#define PROG_BLKD_H

#include <stdbool.h>

#include "base/list.h"
#include "base/loop.h"

struct cache;
struct config;
struct control;
struct door;
struct nbd_creds;
struct nbd_server;
struct registry;
struct scrape;
struct why;
struct workers;

#define BLKD_WORKERS 4

/**
 * struct blkd - the daemon
 * @disks:	of struct disk, in the order they came
 * @doors:	of struct door: sockets that listen
 * @is_serving:	the doors accept
 * @is_ending:	no new disks, no new clients
 * @is_upgrading: and then another process goes on: see upgrade.h
 * @exit_code:	what the process ends with
 */
struct blkd {
	struct config *config;
	int control_fd; /* from the service manager, or -1 */
	struct loop *loop;
	struct workers *workers;
	struct nbd_creds *creds;
	struct nbd_server *nbd;
	struct cache *cache;
	struct registry *registry;
	struct control *control;
	struct scrape *scrape;
	struct list disks;
	struct list doors;
	uint64_t start_ns;
	bool is_serving;
	bool is_ending;
	bool is_upgrading;
	int exit_code;

	/* The end: what is still to close. */
	struct loop_task end_task;
	struct loop_timer end_timer;
	bool is_drained; /* the NBD server has stopped */
	bool is_cache_stopping, is_cache_stopped;
};

/** blkd_run() - serve until told to end. Return: the exit code. */
int blkd_run(struct config *config);

/** blkd_end() - begin to end; more calls change nothing */
void blkd_end(struct blkd *blkd);

#endif
