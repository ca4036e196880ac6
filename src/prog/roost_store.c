/* SPDX-License-Identifier: Apache-2.0 */
/* roost_store.c - roost store add, ls, rm */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "prog/roost.h"
#include "prog/roost_table.h"

int verb_store_add(struct roost *roost)
{
	const char *address = roost->words[1];
	char whole[PATH_MAX];
	struct stat st;

	if (!strstr(address, "://")) {
		/* The daemon runs somewhere else: say all of the path. */
		if (!realpath(address, whole) || stat(whole, &st) < 0) {
			roost_say("%s: %s: make the directory first", address,
				  strerror(errno));
			return ROOST_FAILED;
		}
		if (!S_ISDIR(st.st_mode)) {
			roost_say("%s is no directory", whole);
			return ROOST_FAILED;
		}
		address = whole;
	}
	return roost_do(roost,
			json_pack("{s:s, s:s, s:s}", "op", "store-add", "name",
				  roost->words[0], "address", address));
}

int verb_store_rm(struct roost *roost)
{
	return roost_do(roost, json_pack("{s:s, s:s}", "op", "store-rm", "name",
					 roost->words[0]));
}

int verb_store_ls(struct roost *roost)
{
	struct table table = {0};
	json_t *answer = NULL, *store;
	size_t i;
	int code =
		roost_ask(roost, json_pack("{s:s}", "op", "store-ls"), &answer);

	if (code)
		return code;
	if (roost->is_json)
		return roost_print_json(answer);
	table_row(&table, 2, "NAME", "ADDRESS");
	json_array_foreach(json_object_get(answer, "stores"), i, store)
	{
		table_row(&table, 2, roost_text(store, "name"),
			  roost_text(store, "address"));
	}
	table_print(&table);
	json_decref(answer);
	return ROOST_OK;
}
