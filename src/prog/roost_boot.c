/* SPDX-License-Identifier: Apache-2.0 */
/*
 * roost_boot.c - roost boot ls, show, drop, mark-done
 *
 * show and drop work on the map's file themselves. IMAGE is a map's file, or
 * an image's file, which need no daemon, or a name that the daemon knows: of
 * an image or of a disk.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/why.h"
#include "boot/draw.h"
#include "boot/map.h"
#include "boot/map_fmt.h"
#include "prog/boot_place.h"
#include "prog/number.h"
#include "prog/roost.h"
#include "prog/roost_table.h"

static const char map_ending[] = ".bootmap";

static bool ends_in(const char *text, const char *end)
{
	size_t n = strlen(text), m = strlen(end);

	return n >= m && !strcmp(text + n - m, end);
}

int verb_boot_mark_done(struct roost *roost)
{
	return roost_do(roost, json_pack("{s:s, s:s}", "op", "boot-mark-done",
					 "name", roost->words[0]));
}

int verb_boot_ls(struct roost *roost)
{
	struct table table = {0};
	json_t *answer = NULL, *image;
	size_t i;
	int code =
		roost_ask(roost, json_pack("{s:s}", "op", "boot-ls"), &answer);

	if (code)
		return code;
	if (roost->is_json)
		return roost_print_json(answer);
	table_row(&table, 5, "IMAGE", "BOOT SET", "BOOTS", "LAST BOOT ENDED",
		  "ADDRESS");
	json_array_foreach(json_object_get(answer, "images"), i, image)
	{
		char size[NUMBER_TEXT_MAX], boots[24];

		(void)snprintf(boots, sizeof(boots), "%llu",
			       roost_number(image, "map_boots"));
		table_row(&table, 5, roost_text(image, "name"),
			  number_print(roost_number(image, "map_blocks") *
					       BOOT_BLOCK,
				       size),
			  boots,
			  *roost_text(image, "boot_end")
				  ? roost_text(image, "boot_end")
				  : "-",
			  roost_text(image, "address"));
	}
	table_print(&table);
	json_decref(answer);
	return ROOST_OK;
}

/* The map's file as the daemon knows it. free() it. */
static int ask_map(struct roost *roost, const char *name, char **ret)
{
	json_t *answer = NULL, *map;
	size_t i;
	int code =
		roost_ask(roost, json_pack("{s:s}", "op", "boot-ls"), &answer);

	if (code)
		return code;
	code = ROOST_NOT_FOUND;
	json_array_foreach(json_object_get(answer, "maps"), i, map)
	{
		if (strcmp(roost_text(map, "image"), name) &&
		    strcmp(roost_text(map, "disk"), name))
			continue;
		if (asprintf(ret, "%s/%s", roost_text(map, "dir"),
			     roost_text(map, "map")) < 0)
			*ret = NULL;
		code = *ret ? ROOST_OK : ROOST_FAILED;
		break;
	}
	json_decref(answer);
	if (code == ROOST_NOT_FOUND)
		roost_say("no disk of an image '%s' learns boots: roost disk "
			  "ls shows the disks, roost boot show FILE reads a "
			  "map",
			  name);
	return code;
}

static int find_map(struct roost *roost, const char *what, char **ret)
{
	struct boot_place place = {0};

	if (access(what, F_OK) < 0 && !strchr(what, '/'))
		return ask_map(roost, what, ret);
	if (ends_in(what, map_ending)) {
		*ret = strdup(what);
	} else if (!boot_place_find(what, NULL, NULL, &place)) {
		*ret = place.dir ? boot_map_name(what) : NULL;
		boot_place_release(&place);
		if (!*ret)
			*ret = boot_map_name(what);
	}
	return *ret ? ROOST_OK : ROOST_FAILED;
}

static int load(const char *path, struct boot_map **ret)
{
	CLEANUP(cleanup_fd) int fd = open(path, O_RDONLY | O_CLOEXEC);
	CLEANUP(cleanup_free) uint8_t *bytes = NULL;
	struct why w = {0};
	struct stat st;
	size_t len = 0;
	ssize_t n = 0;

	if (fd < 0 && errno == ENOENT) {
		roost_say("%s is not there: no boot has been learned yet",
			  path);
		return ROOST_NOT_FOUND;
	}
	if (fd < 0 || fstat(fd, &st) < 0) {
		roost_say("%s: %s", path, strerror(errno));
		return ROOST_FAILED;
	}
	if (st.st_size > (off_t)MAP_FMT_MAX) {
		roost_say("%s is larger than a boot map can be", path);
		return ROOST_FAILED;
	}
	bytes = malloc((size_t)st.st_size + 1);
	while (bytes && len < (size_t)st.st_size &&
	       (n = read(fd, bytes + len, (size_t)st.st_size - len)) > 0)
		len += (size_t)n;
	if (!bytes || n < 0 || map_fmt_decode(bytes, len, ret, &w) < 0) {
		roost_say("%s: %s", path, *w.text ? w.text : "cannot be read");
		return ROOST_FAILED;
	}
	return ROOST_OK;
}

static int draw(const struct boot_map *map, const char *image, const char *path)
{
	FILE *out = fopen(path, "we");
	int err = out ? draw_svg(map, image, out) : -errno;

	if (out && (ferror(out) | fclose(out)))
		err = -EIO;
	if (err < 0)
		roost_say("%s: %s", path, strerror(-err));
	return err < 0 ? ROOST_FAILED : ROOST_OK;
}

int verb_boot_show(struct roost *roost)
{
	const char *svg = roost_value(roost, "svg");
	CLEANUP(cleanup_free) char *path = NULL;
	const char *image = roost->words[0];
	struct boot_map *map = NULL;
	int code = find_map(roost, image, &path);

	if (!code)
		code = load(path, &map);
	if (!code && svg)
		code = draw(map, image, svg);
	if (!code && roost->is_json)
		code = roost_print_json(
			draw_json(map, image, (uint64_t)time(NULL)));
	else if (!code)
		draw_text(map, image, (uint64_t)time(NULL), stdout);
	boot_map_free(map);
	return code;
}

/* All segments that belong to the map @path; how many could not go. */
static int remove_segments(const char *path)
{
	CLEANUP(cleanup_free) char *dir = strdup(path);
	CLEANUP(cleanup_free) char *prefix = NULL;
	char *slash = dir ? strrchr(dir, '/') : NULL;
	struct dirent *entry;
	int bad = 0;
	DIR *d;

	if (!dir)
		return 1;
	if (asprintf(
		    &prefix, "%.*s.bootseg-",
		    (int)(strlen(slash ? slash + 1 : dir) - strlen(map_ending)),
		    slash ? slash + 1 : dir) < 0) {
		prefix = NULL;
		return 1;
	}
	if (slash)
		*slash = 0;
	d = opendir(slash ? (*dir ? dir : "/") : ".");
	if (!d)
		return 1;
	while ((entry = readdir(d)))
		if (!strncmp(entry->d_name, prefix, strlen(prefix)))
			bad += unlinkat(dirfd(d), entry->d_name, 0) < 0;
	(void)closedir(d);
	return bad;
}

int verb_boot_drop(struct roost *roost)
{
	CLEANUP(cleanup_free) char *path = NULL;
	int code = find_map(roost, roost->words[0], &path);

	if (code)
		return code;
	/* The map first: without it nobody looks for a segment. */
	if (unlink(path) < 0) {
		code = errno == ENOENT ? ROOST_NOT_FOUND : ROOST_FAILED;
		roost_say("%s: %s", path, strerror(errno));
		return code;
	}
	if (remove_segments(path)) {
		roost_say("some segments of %s could not be removed", path);
		return ROOST_FAILED;
	}
	return roost->is_json ? roost_print_json(json_object()) : ROOST_OK;
}
