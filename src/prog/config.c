/* SPDX-License-Identifier: Apache-2.0 */
/* config.c - the table of the daemon's settings */
#include "prog/config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "prog/number.h"
#include "prog/refuse.h"
#include "prog/suggest.h"

int config_log_level(const char *text, enum log_level *ret, struct why *w)
{
	static const struct {
		const char *name;
		enum log_level level;
	} levels[] = {
		{"error", LOG_LEVEL_ERROR},
		{"warning", LOG_LEVEL_WARNING},
		{"info", LOG_LEVEL_INFO},
		{"debug", LOG_LEVEL_DEBUG},
	};

	for (size_t i = 0; i < ARRAY_SIZE(levels); i++)
		if (!strcmp(text, levels[i].name)) {
			*ret = levels[i].level;
			return 0;
		}
	return refuse(w, "'%.32s': write error, warning, info or debug", text);
}

static int set_text(char **text, const char *value, struct why *w)
{
	char *copy;

	if (!value || !*value)
		return refuse(w, "a value is missing");
	copy = strdup(value);
	if (!copy)
		return -ENOMEM;
	free(*text);
	*text = copy;
	return 0;
}

static int set_switch(bool *flag, const char *value, struct why *w)
{
	*flag = true;
	return value ? number_switch(value, flag, w) : 0;
}

static int set_listen(struct config *config, const char *value, struct why *w)
{
	int err;

	if (config->nlistens == CONFIG_LISTENS_MAX)
		return refuse(w, "more than %d addresses", CONFIG_LISTENS_MAX);
	err = listen_spec_parse(value, &config->listens[config->nlistens], w);
	config->nlistens += !err;
	return err;
}

static int set_disk(struct config *config, const char *value, struct why *w)
{
	struct disk_spec spec = {0};
	int err = disk_spec_parse(value, &spec, w);

	if (!err)
		err = config_add_disk(config, &spec, w);
	disk_spec_release(&spec);
	return err;
}

static int set_cache_size(struct config *config, const char *value,
			  struct why *w)
{
	return number_size(value, &config->cache_size, w);
}

static int set_cache_file_size(struct config *config, const char *value,
			       struct why *w)
{
	return number_size(value, &config->cache_file_size, w);
}

static int set_log_level(struct config *config, const char *value,
			 struct why *w)
{
	return config_log_level(value, &config->log_level, w);
}

static int set_tls(struct config *config, const char *value, struct why *w)
{
	if (!strcmp(value, "off"))
		config->tls = CONFIG_TLS_OFF;
	else if (!strcmp(value, "on"))
		config->tls = CONFIG_TLS_ON;
	else if (!strcmp(value, "require"))
		config->tls = CONFIG_TLS_REQUIRE;
	else
		return refuse(w, "'%.32s': off, on or require", value);
	return 0;
}

/* Whoever names keys wants them used: no --tls is needed beside them. */
static int set_tls_psk(struct config *config, const char *value, struct why *w)
{
	if (config->tls == CONFIG_TLS_OFF)
		config->tls = CONFIG_TLS_REQUIRE;
	return set_text(&config->tls_psk, value, w);
}

static int set_tls_certs(struct config *config, const char *value,
			 struct why *w)
{
	if (config->tls == CONFIG_TLS_OFF)
		config->tls = CONFIG_TLS_REQUIRE;
	return set_text(&config->tls_certs, value, w);
}

#define SET_TEXT(member)                                                       \
	static int set_##member(struct config *config, const char *value,      \
				struct why *w)                                 \
	{                                                                      \
		return set_text(&config->member, value, w);                    \
	}
#define SET_SWITCH(member)                                                     \
	static int set_##member(struct config *config, const char *value,      \
				struct why *w)                                 \
	{                                                                      \
		return set_switch(&config->member, value, w);                  \
	}

SET_TEXT(control)
SET_TEXT(state)
SET_TEXT(overlays)
SET_TEXT(cache_file)
SET_TEXT(boot)
SET_TEXT(metrics)
SET_TEXT(pid_file)
SET_TEXT(user)
SET_SWITCH(tls_verify)
SET_SWITCH(is_foreground)
SET_SWITCH(is_stdio)
SET_SWITCH(no_seccomp)

const struct config_key config_keys[] = {
	{"listen", "ADDRESS",
	 "unix:PATH, tcp:HOST:PORT, vhost-user:PATH,disk=NAME", set_listen},
	{"disk", "NAME=FILE,...",
	 "a disk; FILE is a path or an nbd, http or https address", set_disk},
	{"stdio", NULL, "serve NBD to one client on standard input and output",
	 set_is_stdio},
	{"foreground", NULL, "do not go to the background", set_is_foreground},
	{"cache-size", "SIZE", "memory for cached blocks (1G)", set_cache_size},
	{"cache-file", "PATH", "keep here what the memory has to give up",
	 set_cache_file},
	{"cache-file-size", "SIZE", "of that file (16G)", set_cache_file_size},
	{"control", "PATH", "socket that roost speaks to", set_control},
	{"state", "FILE", "keep what roost adds here, over restarts",
	 set_state},
	{"overlays", "DIR", "where roost makes the overlays of disks",
	 set_overlays},
	{"boot", "DIR", "for boot maps that cannot be beside their image",
	 set_boot},
	{"metrics", "HOST:PORT", "serve Prometheus' metrics over HTTP",
	 set_metrics},
	{"tls", "MODE", "off, on or require", set_tls},
	{"tls-psk", "FILE", "keys shared with clients, from psktool",
	 set_tls_psk},
	{"tls-certs", "DIR", "server-cert.pem, server-key.pem, ca-cert.pem",
	 set_tls_certs},
	{"tls-verify", NULL, "clients must show a certificate too",
	 set_tls_verify},
	{"pid-file", "FILE", "write the process id here once serving",
	 set_pid_file},
	{"user", "NAME", "become this user when started as root", set_user},
	{"log-level", "LEVEL", "error, warning, info or debug", set_log_level},
	{"no-seccomp", NULL, "do not confine system calls", set_no_seccomp},
	{NULL, NULL, NULL, NULL},
};

void config_init(struct config *config)
{
	*config = (struct config){
		.cache_size = CONFIG_CACHE_SIZE,
		.cache_file_size = CONFIG_CACHE_FILE_SIZE,
		.log_level = LOG_LEVEL_INFO,
	};
}

void config_release(struct config *config)
{
	for (size_t i = 0; i < config->nlistens; i++)
		listen_spec_release(&config->listens[i]);
	for (size_t i = 0; i < config->ndisks; i++)
		disk_spec_release(&config->disks[i]);
	for (size_t i = 0; i < config->nstores; i++) {
		free(config->stores[i].name);
		free(config->stores[i].address);
	}
	free(config->disks);
	free(config->stores);
	free(config->control);
	free(config->state);
	free(config->overlays);
	free(config->cache_file);
	free(config->boot);
	free(config->metrics);
	free(config->tls_psk);
	free(config->tls_certs);
	free(config->pid_file);
	free(config->user);
	config_init(config);
}

int config_set(struct config *config, const char *name, const char *value,
	       struct why *w)
{
	struct suggest meant = {.word = name};
	char text[SUGGEST_TEXT_MAX];

	for (const struct config_key *key = config_keys; key->name; key++) {
		int err;

		suggest_offer(&meant, key->name);
		if (strcmp(key->name, name))
			continue;
		if (key->arg && !value)
			return refuse(w, "%s: a value is missing", name);
		err = key->set(config, value, w);
		return err < 0 ? why_in(w, err, "%s", name) : 0;
	}
	(void)why(w, 0, "unknown key '%.32s'%s", name,
		  suggest_text(&meant, text));
	return -ENOKEY;
}

struct disk_spec *config_find_disk(struct config *config, const char *name)
{
	for (size_t i = 0; i < config->ndisks; i++)
		if (!strcmp(config->disks[i].name, name))
			return &config->disks[i];
	return NULL;
}

int config_add_disk(struct config *config, struct disk_spec *spec,
		    struct why *w)
{
	struct disk_spec *more;

	if (config_find_disk(config, spec->name))
		return refuse(w, "there are two disks called '%s'", spec->name);
	more = reallocarray(config->disks, config->ndisks + 1, sizeof(*more));
	if (!more)
		return -ENOMEM;
	config->disks = more;
	more[config->ndisks++] = *spec;
	*spec = (struct disk_spec){0};
	return 0;
}
