/* SPDX-License-Identifier: Apache-2.0 */
/*
 * roost.h - the command line: roost NOUN VERB [NAME...] [--OPTION [VALUE]]...
 *
 * A verb is a row of the table in roost_verbs.c and a function. It asks the
 * daemon over the control socket, prints what people want to read, or with
 * --json the daemon's answer as it is.
 *
 * Exit codes are part of the interface, for scripts: enum roost_exit.
 */
#ifndef PROG_ROOST_H
#define PROG_ROOST_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

struct roost;
struct why;

#define ROOST_CONTROL_PATH "/run/roost/blkd.sock"
#define ROOST_OPTIONS_MAX  12
#define ROOST_WORDS_MAX	   8

enum roost_exit {
	ROOST_OK = 0,
	ROOST_FAILED = 1, /* what was asked for did not work */
	ROOST_USAGE = 2, /* what was asked for makes no sense */
	ROOST_NO_DAEMON = 3, /* nobody listens at the control socket */
	ROOST_NOT_FOUND = 4, /* there is nothing of that name */
	ROOST_IN_USE = 5, /* it exists already, or somebody uses it */
};

/** struct roost_option - @arg NULL: a switch */
struct roost_option {
	const char *name, *arg, *help;
};

/**
 * struct roost_verb - a row of the table
 * @noun, @verb: as typed; @verb is NULL where the noun says all
 * @words:	what the further words are: "NAME"; for --help
 * @min_words, @max_words: how many there may be
 * @takes_rest:	words after -- are for another program
 */
struct roost_verb {
	const char *noun, *verb;
	const char *words;
	int min_words, max_words;
	const char *help;
	struct roost_option options[ROOST_OPTIONS_MAX];
	bool takes_rest;
	int (*run)(struct roost *roost);
};

extern const struct roost_verb roost_verbs[];
extern const size_t roost_nverbs;

/**
 * struct roost - one command line, read
 * @values:	of the verb's options, in their order; NULL: not given; "" for
 *		a switch
 * @rest:	what follows --; ends with NULL
 */
struct roost {
	const struct roost_verb *verb;
	const char *words[ROOST_WORDS_MAX];
	int nwords;
	const char *values[ROOST_OPTIONS_MAX];
	char **rest;
	int nrest;
	const char *control; /* path of the control socket */
	bool is_json;
	int fd; /* connected to the daemon, or -1 */
};

/** roost_value() - of an option of the verb, by name; NULL: not given */
const char *roost_value(const struct roost *roost, const char *option);

/**
 * roost_ask() - send a request to the daemon and wait for its answer
 * @request:	consumed; NULL stands for one that had no memory
 * @ret:	the answer, if it is a good one: json_decref() it
 *
 * What goes wrong is printed.
 *
 * Return: ROOST_OK; what to exit with.
 */
int roost_ask(struct roost *roost, json_t *request, json_t **ret)
	__attribute__((warn_unused_result));

/** roost_do() - ask, and have nothing to print but with --json */
int roost_do(struct roost *roost, json_t *request)
	__attribute__((warn_unused_result));

/** roost_print_json() - @answer, consumed, for --json. Return: ROOST_OK. */
int roost_print_json(json_t *answer);

/** roost_say() - an error, for people: "roost: ..." on standard error */
void roost_say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/** roost_text(), roost_number(), roost_flag() - a member, or "", 0, false */
const char *roost_text(const json_t *object, const char *key);
unsigned long long roost_number(const json_t *object, const char *key);
bool roost_flag(const json_t *object, const char *key);

/** roost_complete() - candidates for the word after @words, for the shell */
int roost_complete(struct roost *roost, int nwords, char **words);

/* The verbs. */
int verb_store_add(struct roost *roost);
int verb_store_ls(struct roost *roost);
int verb_store_rm(struct roost *roost);
int verb_image_import(struct roost *roost);
int verb_image_add(struct roost *roost);
int verb_image_ls(struct roost *roost);
int verb_image_show(struct roost *roost);
int verb_image_rm(struct roost *roost);
int verb_disk_create(struct roost *roost);
int verb_disk_ls(struct roost *roost);
int verb_disk_rm(struct roost *roost);
int verb_disk_attach(struct roost *roost);
int verb_disk_grow(struct roost *roost);
int verb_boot_ls(struct roost *roost);
int verb_boot_show(struct roost *roost);
int verb_boot_drop(struct roost *roost);
int verb_boot_mark_done(struct roost *roost);
int verb_status(struct roost *roost);
int verb_top(struct roost *roost);
int verb_metrics(struct roost *roost);
int verb_log_level(struct roost *roost);
int verb_quit(struct roost *roost);
int verb_upgrade(struct roost *roost);
int verb_run(struct roost *roost);

#endif
