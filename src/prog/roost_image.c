/* SPDX-License-Identifier: Apache-2.0 */
/* roost_image.c - roost image add, ls, show, rm; import is roost_import.c */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "prog/number.h"
#include "prog/roost.h"
#include "prog/roost_table.h"

int verb_image_add(struct roost *roost)
{
	const char *address = roost->words[1];
	char whole[PATH_MAX];

	if (!strstr(address, "://")) {
		if (!realpath(address, whole)) {
			roost_say("%s: %s", address, strerror(errno));
			return ROOST_FAILED;
		}
		address = whole;
	}
	return roost_do(roost,
			json_pack("{s:s, s:s, s:s}", "op", "image-add", "name",
				  roost->words[0], "address", address));
}

static const char *size_of(const json_t *image, char text[NUMBER_TEXT_MAX])
{
	struct stat st;

	if (stat(roost_text(image, "address"), &st) < 0)
		return "-";
	return number_print((uint64_t)st.st_size, text);
}

static void image_row(struct table *table, const json_t *image)
{
	char size[NUMBER_TEXT_MAX];

	table_row(table, 4, roost_text(image, "name"), size_of(image, size),
		  *roost_text(image, "store") ? roost_text(image, "store")
					      : "-",
		  roost_text(image, "address"));
}

int verb_image_ls(struct roost *roost)
{
	struct table table = {0};
	json_t *answer = NULL, *image;
	size_t i;
	int code =
		roost_ask(roost, json_pack("{s:s}", "op", "image-ls"), &answer);

	if (code)
		return code;
	if (roost->is_json)
		return roost_print_json(answer);
	table_row(&table, 4, "NAME", "SIZE", "STORE", "ADDRESS");
	json_array_foreach(json_object_get(answer, "images"), i, image)
	{
		image_row(&table, image);
	}
	table_print(&table);
	json_decref(answer);
	return ROOST_OK;
}

/* The image called @name; json_decref() it. */
static int find_image(struct roost *roost, const char *name, json_t **ret)
{
	json_t *answer = NULL, *image;
	size_t i;
	int code =
		roost_ask(roost, json_pack("{s:s}", "op", "image-ls"), &answer);

	if (code)
		return code;
	json_array_foreach(json_object_get(answer, "images"), i, image)
	{
		if (!strcmp(roost_text(image, "name"), name)) {
			*ret = json_incref(image);
			json_decref(answer);
			return ROOST_OK;
		}
	}
	json_decref(answer);
	roost_say("there is no image '%s': roost image ls shows what there is",
		  name);
	return ROOST_NOT_FOUND;
}

int verb_image_show(struct roost *roost)
{
	char size[NUMBER_TEXT_MAX];
	json_t *image = NULL;
	int code = find_image(roost, roost->words[0], &image);

	if (code)
		return code;
	if (roost->is_json)
		return roost_print_json(image);
	printf("name     %s\naddress  %s\nstore    %s\nsize     %s\n",
	       roost_text(image, "name"), roost_text(image, "address"),
	       *roost_text(image, "store") ? roost_text(image, "store") : "-",
	       size_of(image, size));
	printf("\nroost boot show %s shows what its boots read;\n"
	       "roost disk create NAME --image %s makes a disk of it.\n",
	       roost_text(image, "name"), roost_text(image, "name"));
	json_decref(image);
	return ROOST_OK;
}

int verb_image_rm(struct roost *roost)
{
	json_t *image = NULL;
	int code = find_image(roost, roost->words[0], &image);

	if (!code)
		code = roost_do(roost, json_pack("{s:s, s:s}", "op", "image-rm",
						 "name", roost->words[0]));
	/* Only what import has made is ours to delete. */
	if (!code && *roost_text(image, "store") &&
	    !roost_value(roost, "keep") &&
	    unlink(roost_text(image, "address")) < 0 && errno != ENOENT) {
		roost_say("the image is forgotten, but its file is left: %s: "
			  "%s",
			  roost_text(image, "address"), strerror(errno));
		code = ROOST_FAILED;
	}
	json_decref(image);
	return code;
}
