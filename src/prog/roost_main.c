/* SPDX-License-Identifier: Apache-2.0 */
/* roost_main.c - read the command line against the table of verbs */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/array.h"
#include "prog/roost.h"
#include "prog/suggest.h"

#define HELP_COLUMN 24

static const struct roost_option common[] = {
	{"json", NULL, "print for programs"},
	{"control", "SOCK", "the daemon's control socket ($ROOST_CONTROL)"},
	{"help", NULL, "explain, and do nothing"},
};

static void print_column(int n, const char *help)
{
	printf("%*s%s\n", n < HELP_COLUMN ? HELP_COLUMN - n : 1, "", help);
}

static void help(void)
{
	printf("roost - golden images, and disks that boot as from memory\n\n"
	       "usage: roost NOUN VERB [NAME...] [--OPTION [VALUE]]...\n\n");
	for (size_t i = 0; i < roost_nverbs; i++) {
		const struct roost_verb *v = &roost_verbs[i];
		int n = printf("  %s%s%s", v->noun, v->verb ? " " : "",
			       v->verb ? v->verb : "");

		print_column(n, v->help);
	}
	printf("\nroost NOUN VERB --help explains a verb. Everywhere: --json, "
	       "--control SOCK.\n"
	       "Exit codes: 0 done, 1 failed, 2 usage, 3 no daemon, 4 not "
	       "found, 5 in use or there already.\n");
}

static void help_of(const struct roost_verb *v)
{
	printf("roost %s%s%s%s%s%s%s\n\n%s\n", v->noun, v->verb ? " " : "",
	       v->verb ? v->verb : "", v->words ? " " : "",
	       v->words ? v->words : "",
	       v->options[0].name ? " [OPTION]..." : "",
	       v->takes_rest ? " [-- QEMU-ARGUMENT...]" : "", v->help);
	if (v->options[0].name)
		printf("\n");
	for (int i = 0; i < ROOST_OPTIONS_MAX && v->options[i].name; i++) {
		const struct roost_option *o = &v->options[i];

		print_column(printf("  --%s %s", o->name, o->arg ? o->arg : ""),
			     o->help);
	}
}

static const struct roost_verb *find_verb(int argc, char **argv, int *used)
{
	struct suggest meant = {.word = argc > 1 ? argv[1] : ""};
	char text[SUGGEST_TEXT_MAX];
	bool has_noun = false;

	for (size_t i = 0; i < roost_nverbs; i++) {
		const struct roost_verb *v = &roost_verbs[i];

		if (strcmp(v->noun, argv[1])) {
			suggest_offer(&meant, v->noun);
			continue;
		}
		if (!has_noun)
			meant = (struct suggest){.word = argc > 2 ? argv[2]
								  : ""};
		has_noun = true;
		if (!v->verb || (argc > 2 && !strcmp(v->verb, argv[2]))) {
			*used = v->verb ? 3 : 2;
			return v;
		}
		suggest_offer(&meant, v->verb);
	}
	if (has_noun && argc > 2 && *argv[2] != '-')
		roost_say("%s cannot '%s'%s: roost --help lists what there is",
			  argv[1], argv[2], suggest_text(&meant, text));
	else if (has_noun)
		roost_say("%s needs a verb: roost --help lists what there is",
			  argv[1]);
	else
		roost_say("what is '%s'?%s roost --help lists what there is",
			  argv[1], suggest_text(&meant, text));
	return NULL;
}

/* Where the value of --@name goes, and whether it has one. */
static int find_option(const struct roost_verb *verb, const char *name,
		       const struct roost_option **ret)
{
	struct suggest meant = {.word = name};
	char text[SUGGEST_TEXT_MAX];

	for (int i = 0; i < ROOST_OPTIONS_MAX && verb->options[i].name; i++) {
		suggest_offer(&meant, verb->options[i].name);
		if (!strcmp(verb->options[i].name, name)) {
			*ret = &verb->options[i];
			return i;
		}
	}
	for (size_t i = 0; i < ARRAY_SIZE(common); i++) {
		suggest_offer(&meant, common[i].name);
		if (!strcmp(common[i].name, name)) {
			*ret = &common[i];
			return ROOST_OPTIONS_MAX + (int)i;
		}
	}
	roost_say("there is no option --%s here%s", name,
		  suggest_text(&meant, text));
	return -1;
}

static int take_option(struct roost *roost, int argc, char **argv, int *i)
{
	char *name = argv[*i] + 2, *eq = strchr(name, '=');
	const struct roost_option *option;
	const char *value = eq ? eq + 1 : NULL;
	int at;

	if (eq)
		*eq = 0;
	at = find_option(roost->verb, name, &option);
	if (at < 0)
		return ROOST_USAGE;
	if (option->arg && !value && *i + 1 < argc)
		value = argv[++*i];
	if (!option->arg != !value) {
		roost_say("--%s %s", name,
			  option->arg ? "needs a value" : "takes no value");
		return ROOST_USAGE;
	}
	if (at < ROOST_OPTIONS_MAX)
		roost->values[at] = value ? value : "";
	else if (!strcmp(name, "json"))
		roost->is_json = true;
	else if (!strcmp(name, "control"))
		roost->control = value;
	else {
		help_of(roost->verb);
		exit(ROOST_OK);
	}
	return ROOST_OK;
}

static int read_args(struct roost *roost, int argc, char **argv, int i)
{
	const struct roost_verb *v = roost->verb;

	for (; i < argc; i++) {
		if (!strcmp(argv[i], "--") && v->takes_rest) {
			roost->rest = argv + i + 1;
			roost->nrest = argc - i - 1;
			break;
		}
		if (!strncmp(argv[i], "--", 2) && argv[i][2]) {
			int err = take_option(roost, argc, argv, &i);

			if (err)
				return err;
		} else if (roost->nwords == v->max_words) {
			roost_say("'%s' is too much: roost %s%s%s --help",
				  argv[i], v->noun, v->verb ? " " : "",
				  v->verb ? v->verb : "");
			return ROOST_USAGE;
		} else {
			roost->words[roost->nwords++] = argv[i];
		}
	}
	if (roost->nwords < v->min_words) {
		roost_say("missing %s: roost %s%s%s --help", v->words, v->noun,
			  v->verb ? " " : "", v->verb ? v->verb : "");
		return ROOST_USAGE;
	}
	return ROOST_OK;
}

int main(int argc, char **argv)
{
	struct roost roost = {.fd = -1, .control = getenv("ROOST_CONTROL")};
	int used = 0, code;

	if (argc < 2 || !strcmp(argv[1], "--help") || !strcmp(argv[1], "-h")) {
		help();
		return argc < 2 ? ROOST_USAGE : ROOST_OK;
	}
	if (!strcmp(argv[1], "--version")) {
		printf("roost %s\n", ROOST_VERSION);
		return ROOST_OK;
	}
	if (!roost.control)
		roost.control = ROOST_CONTROL_PATH;
	if (!strcmp(argv[1], "__complete"))
		return roost_complete(&roost, argc - 2, argv + 2);
	roost.verb = find_verb(argc, argv, &used);
	if (!roost.verb)
		return ROOST_USAGE;
	code = read_args(&roost, argc, argv, used);
	if (code)
		return code;
	code = roost.verb->run(&roost);
	if (roost.fd >= 0)
		(void)close(roost.fd);
	if (fflush(stdout) || ferror(stdout)) {
		roost_say("cannot write the output");
		return ROOST_FAILED;
	}
	return code;
}
