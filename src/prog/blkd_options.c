/* SPDX-License-Identifier: Apache-2.0 */
/*
 * blkd_options.c - the command line of roost-blkd, from the table of settings
 *
 * --name VALUE and --name=VALUE, as everywhere; not by getopt_long(), because
 * that accepts shortened names, which change their meaning when a setting is
 * added, and cannot guess what was meant.
 */
#include "prog/blkd_options.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "prog/config.h"
#include "prog/refuse.h"

#define HELP_COLUMN 27 /* where the explanations begin */

static void help(void)
{
	printf("roost-blkd - serve disks over NBD and vhost-user-blk\n\n"
	       "usage: roost-blkd --foreground --listen unix:SOCK "
	       "--disk NAME=FILE[,ro][,overlay=FILE]\n"
	       "       roost-blkd --config /etc/roost/blkd.conf\n\n");
	for (const struct config_key *key = config_keys; key->name; key++) {
		int n = printf("  --%s %s", key->name,
			       key->arg ? key->arg : "");

		printf("%*s%s\n", n < HELP_COLUMN ? HELP_COLUMN - n : 1, "",
		       key->help);
	}
	printf("  --config FILE            read settings from a file\n"
	       "  --help, --version\n\n"
	       "A disk's keys: ro, overlay=FILE, ephemeral, size=SIZE, "
	       "format=raw|qcow2, serial=TEXT,\n"
	       "cache=on|off, boot=DIR, record=on|off, prefetch=on|off, "
	       "compress=on|off.\n"
	       "A comma in a value is doubled.\n"
	       "roost-blkd(8) and blkd.conf(5) tell all.\n");
}

static int set(struct config *config, const char *name, const char *value,
	       struct why *w)
{
	int err;

	if (strcmp(name, "config")) {
		err = config_set(config, name, value, w);
		if (err == -ENOKEY)
			(void)why_in(w, err, "--%s", name);
		return err;
	}
	return value ? config_load(config, value, w)
		     : refuse(w, "--config needs a file");
}

/* Does --@name take its value from the next argument? */
static bool takes_value(const char *name)
{
	for (const struct config_key *key = config_keys; key->name; key++)
		if (!strcmp(key->name, name))
			return key->arg != NULL;
	return !strcmp(name, "config");
}

int blkd_options(int argc, char **argv, struct config *config, struct why *w)
{
	for (int i = 1; i < argc; i++) {
		const char *arg = argv[i], *value = NULL;
		CLEANUP(cleanup_free) char *name = NULL;
		int err;

		if (!strcmp(arg, "--help") || !strcmp(arg, "-h")) {
			help();
			return 1;
		}
		if (!strcmp(arg, "--version") || !strcmp(arg, "-V")) {
			printf("roost-blkd %s\n", ROOST_VERSION);
			return 1;
		}
		if (strncmp(arg, "--", 2) || !arg[2])
			return refuse(w,
				      "'%.64s': a disk is given as "
				      "--disk NAME=FILE",
				      arg);
		name = strndup(arg + 2, strcspn(arg + 2, "="));
		if (!name)
			return -ENOMEM;
		if (arg[2 + strlen(name)] == '=')
			value = arg + 3 + strlen(name);
		else if (takes_value(name) && i + 1 < argc)
			value = argv[++i];
		err = set(config, name, value, w);
		if (err < 0)
			return err;
	}
	return 0;
}
