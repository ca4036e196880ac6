/* SPDX-License-Identifier: Apache-2.0 */
/*
 * inherit.h - what the process before this one has handed over: see upgrade.h
 *
 * $ROOST_HANDOVER is "PID:FD", and FD a memfd with JSON:
 *
 *	{"handover": 1, "confined": "0.1", "sockets": [200, 201],
 *	 "disks": ["vm7"], "clients": [{"fd": 204, "export": "vm7",
 *	 "size": 4096, "flags": 1, "structured": true, "meta": 0, "rx": ""}],
 *	 "cache": {"memory": 202, "state": 203}}
 *
 * sockets: that listen, each known by its address. disks: that were open.
 * confined: by which version's list of system calls we are; that outlives an
 * execve(2). registry: "stores", "images" and "disks" that verbs had added, if
 * there is no state file. clients: NBD connections, see struct nbd_kept; rx is
 *in hex. cache: see cache/handover.h; not there if there was none to have.
 *
 * It comes from another version, perhaps: what is not understood is left
 * alone, and the daemon starts without, as after a kill.
 */
#ifndef PROG_INHERIT_H
#define PROG_INHERIT_H

#include <stdbool.h>

#define INHERIT_ENV	"ROOST_HANDOVER"
#define INHERIT_VERSION 1
/* Descriptors that are handed over are from here on: below is room for the
 * sockets of the service manager, which have their places. */
#define INHERIT_FD_FIRST 200

struct addrinfo;
struct cache;
struct config;
struct nbd_server;
struct registry;

/** inherit_load() - at the start of the program; clears the environment */
void inherit_load(void);

/** inherit_is_there() - something was handed over */
bool inherit_is_there(void);

/**
 * inherit_unix(), inherit_tcp() - the socket that listens there
 *
 * Return: it, or -1: none was handed over, or the path is not its any more.
 */
int inherit_unix(const char *path);
int inherit_tcp(const struct addrinfo *ai);

/** inherit_disk() - was the disk called @name open? */
bool inherit_disk(const char *name);

/** inherit_is_confined() - to the system calls of this very version */
bool inherit_is_confined(void);

/** inherit_cache() - go on with what was cached, if it can be */
void inherit_cache(struct cache *cache);

/**
 * inherit_registry() - what verbs had added, where no state file keeps it
 *
 * A disk that the configuration has by now is that one.
 */
void inherit_registry(struct registry *registry, struct config *config);

/** inherit_clients() - go on with the clients of NBD whose disks are there */
void inherit_clients(struct nbd_server *server);

/** inherit_end() - close the sockets that nobody listens at any more */
void inherit_end(void);

#endif
