/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config.h - all that an operator can tell the block daemon before it starts
 *
 * Each setting has one name, in the file as on the command line:
 *
 *	[daemon]
 *	cache-size = 4G			--cache-size 4G
 *
 * The file is read where --config stands, and what is given later replaces
 * what was given before; listen adds up.
 */
#ifndef PROG_CONFIG_H
#define PROG_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/log.h"
#include "prog/disk_spec.h"
#include "prog/listen_spec.h"

struct why;

#define CONFIG_LISTENS_MAX     64
#define CONFIG_CACHE_SIZE      (1ull << 30) /* bytes, where nothing is said */
#define CONFIG_CACHE_FILE_SIZE (16ull << 30) /* likewise */
#define CONFIG_DRAIN_MS	       10000 /* a hung store does not hold us for ever */

enum config_tls { CONFIG_TLS_OFF, CONFIG_TLS_ON, CONFIG_TLS_REQUIRE };

/** struct config_store - a place where images lie: [store NAME] */
struct config_store {
	char *name;
	char *address; /* directory, or what an image's name is put behind */
};

/** struct config - texts are owned, NULL where not given */
struct config {
	struct listen_spec listens[CONFIG_LISTENS_MAX];
	size_t nlistens;
	struct disk_spec *disks;
	size_t ndisks;
	struct config_store *stores;
	size_t nstores;
	char *control; /* path of the control socket */
	char *state; /* file with what verbs have added */
	char *overlays; /* directory of overlays that verbs make */
	char *cache_file; /* of the file tier, or NULL */
	char *boot; /* directory for maps and segments, see disk_spec.boot */
	char *metrics; /* HOST:PORT of Prometheus' scrapes */
	char *tls_psk, *tls_certs;
	char *pid_file;
	char *user; /* to become when started as root */
	uint64_t cache_size, cache_file_size; /* bytes */
	enum config_tls tls;
	enum log_level log_level;
	bool tls_verify;
	bool is_foreground;
	bool is_stdio;
	bool no_seccomp;
};

/** struct config_key - a setting; the table ends with a NULL name */
struct config_key {
	const char *name;
	const char *arg; /* what its value is called in --help; NULL: none */
	const char *help;
	int (*set)(struct config *config, const char *value, struct why *why);
};

extern const struct config_key config_keys[];

/** config_init() - the defaults */
void config_init(struct config *config);
void config_release(struct config *config);

/** config_set() - one setting by name; -ENOKEY if there is none such */
int config_set(struct config *config, const char *name, const char *value,
	       struct why *why) __attribute__((warn_unused_result));

/** config_log_level() - by its name. Return: 0 or -EINVAL. */
int config_log_level(const char *text, enum log_level *ret, struct why *why)
	__attribute__((warn_unused_result));

/** config_add_disk() - takes what is in @spec over, and empties it */
int config_add_disk(struct config *config, struct disk_spec *spec,
		    struct why *why) __attribute__((warn_unused_result));

/** config_find_disk() - by name, or NULL */
struct disk_spec *config_find_disk(struct config *config, const char *name);

/** config_read() - a file's text; @path is for messages: "blkd.conf:12: ..." */
int config_read(struct config *config, const char *path, const void *text,
		size_t len, struct why *why)
	__attribute__((warn_unused_result));

/** config_load() - read the file at @path */
int config_load(struct config *config, const char *path, struct why *why)
	__attribute__((warn_unused_result));

#endif
