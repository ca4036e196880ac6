/* SPDX-License-Identifier: Apache-2.0 */
/*
 * roost_complete.c - what may come next on a command line, for the shell
 *
 * roost __complete WORD... prints a candidate per line: nouns, verbs, options,
 * names that the daemon knows; or "@file" where a file is wanted.
 */
#include <stdio.h>
#include <string.h>

#include "prog/roost.h"

/* Lists of names, by what the word is called in the table of verbs. */
static const struct {
	const char *noun, *op, *list;
} names[] = {
	{"disk", "disk-ls", "disks"},	 {"image", "image-ls", "images"},
	{"store", "store-ls", "stores"}, {"boot", "image-ls", "images"},
	{"run", "image-ls", "images"},
};

static void print_names(struct roost *roost, const char *noun)
{
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		json_t *answer = NULL, *object;
		size_t at;

		if (strcmp(names[i].noun, noun) ||
		    roost_ask(roost, json_pack("{s:s}", "op", names[i].op),
			      &answer))
			continue;
		json_array_foreach(json_object_get(answer, names[i].list), at,
				   object)
		{
			puts(roost_text(object, "name"));
		}
		json_decref(answer);
	}
}

static const struct roost_verb *find(int nwords, char **words, int *used)
{
	for (size_t i = 0; i < roost_nverbs; i++) {
		const struct roost_verb *v = &roost_verbs[i];

		if (nwords && !strcmp(v->noun, words[0]) &&
		    (!v->verb || (nwords > 1 && !strcmp(v->verb, words[1])))) {
			*used = v->verb ? 2 : 1;
			return v;
		}
	}
	return NULL;
}

static void print_verbs(int nwords, char **words)
{
	const char *last = "";

	for (size_t i = 0; i < roost_nverbs; i++) {
		const struct roost_verb *v = &roost_verbs[i];

		if (!nwords && strcmp(last, v->noun))
			puts(v->noun);
		else if (nwords == 1 && v->verb && !strcmp(v->noun, words[0]))
			puts(v->verb);
		last = v->noun;
	}
}

/* Does the last word want a value? Then print what it can be. */
static bool print_values(struct roost *roost, const struct roost_verb *v,
			 const char *last)
{
	for (int i = 0; i < ROOST_OPTIONS_MAX && v->options[i].name; i++) {
		const struct roost_option *o = &v->options[i];

		if (!o->arg || strncmp(last, "--", 2) ||
		    strcmp(last + 2, o->name))
			continue;
		if (!strcmp(o->name, "image") || !strcmp(o->name, "store"))
			print_names(roost, o->name);
		else if (!strcmp(o->arg, "FILE") || !strcmp(o->arg, "DIR") ||
			 !strcmp(o->arg, "PATH"))
			puts("@file");
		else if (!strcmp(o->name, "format"))
			puts("raw\nqcow2\nvmdk\nvdi\nvhdx\nvpc");
		else if (!strcmp(o->arg, "on|off"))
			puts("on\noff");
		return true;
	}
	return false;
}

int roost_complete(struct roost *roost, int nwords, char **words)
{
	int used = 0;
	const struct roost_verb *v = find(nwords, words, &used);

	if (!v) {
		print_verbs(nwords, words);
		return ROOST_OK;
	}
	if (nwords > used && print_values(roost, v, words[nwords - 1]))
		return ROOST_OK;
	/* Alone, as the shell then looks for files itself. */
	if (nwords == used && v->words && !strncmp(v->words, "FILE", 4)) {
		puts("@file");
		return ROOST_OK;
	}
	for (int i = 0; i < ROOST_OPTIONS_MAX && v->options[i].name; i++)
		printf("--%s\n", v->options[i].name);
	puts("--json\n--control\n--help");
	if (nwords == used && v->words && v->run != verb_disk_create &&
	    v->run != verb_store_add && v->run != verb_image_add)
		print_names(roost,
			    v->run == verb_boot_mark_done ? "disk" : v->noun);
	return ROOST_OK;
}
