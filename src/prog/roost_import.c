/* SPDX-License-Identifier: Apache-2.0 */
/*
 * roost_import.c - roost image import: qemu-img makes a raw golden image
 *
 * The format is always said, since an image whose format is guessed can claim
 * to be another one and name files of the host as its backing. The copy is
 * made under another name, and renamed when it is whole and on the medium.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/why.h"
#include "prog/disk_spec.h"
#include "prog/roost.h"

#define NAME_ENDINGS ".qcow2.vmdk.raw.img.vdi.vhdx"

/* The only store, or the one asked for; its directory. free() it. */
static int find_store(struct roost *roost, const char *name, char **ret_name,
		      char **ret_dir)
{
	json_t *answer = NULL, *stores, *store, *found = NULL;
	size_t i;
	int code =
		roost_ask(roost, json_pack("{s:s}", "op", "store-ls"), &answer);

	if (code)
		return code;
	stores = json_object_get(answer, "stores");
	json_array_foreach(stores, i, store)
	{
		if (name ? !strcmp(roost_text(store, "name"), name)
			 : json_array_size(stores) == 1)
			found = store;
	}
	if (!found && name) {
		roost_say("there is no store '%s': roost store ls", name);
		code = ROOST_NOT_FOUND;
	} else if (!found) {
		roost_say(json_array_size(stores)
				  ? "say which store, with --store NAME"
				  : "there is no store yet: roost store add "
				    "NAME DIRECTORY");
		code = ROOST_USAGE;
	} else if (strstr(roost_text(found, "address"), "://")) {
		roost_say("store '%s' is no directory of this host: put the "
			  "raw image there, then roost image add NAME %s/...",
			  roost_text(found, "name"),
			  roost_text(found, "address"));
		code = ROOST_FAILED;
	} else {
		*ret_name = strdup(roost_text(found, "name"));
		*ret_dir = strdup(roost_text(found, "address"));
		code = *ret_name && *ret_dir ? ROOST_OK : ROOST_FAILED;
	}
	json_decref(answer);
	return code;
}

/* "debian12" of "/tmp/debian12.qcow2". free() it. */
static char *name_after(const char *file)
{
	const char *slash = strrchr(file, '/');
	char *name = strdup(slash ? slash + 1 : file);
	char *dot = name ? strrchr(name, '.') : NULL;

	if (dot && dot != name && strstr(NAME_ENDINGS, dot))
		*dot = 0;
	return name;
}

static int convert(const char *file, const char *format, const char *to,
		   bool is_quiet)
{
	pid_t pid;
	int status;

	(void)fflush(NULL);
	pid = fork();
	if (pid < 0) {
		roost_say("fork: %s", strerror(errno));
		return ROOST_FAILED;
	}
	if (!pid) {
		/* Progress is for people, so it goes where they look. */
		(void)dup2(STDERR_FILENO, STDOUT_FILENO);
		(void)execlp("qemu-img", "qemu-img", "convert",
			     is_quiet ? "-q" : "-p", "-f", format, "-O", "raw",
			     "-t", "none", "-S", "64k", "--", file, to,
			     (char *)NULL);
		roost_say("qemu-img: %s: apt-get install qemu-utils",
			  strerror(errno));
		_exit(127);
	}
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return ROOST_FAILED;
	if (!WIFEXITED(status) || WEXITSTATUS(status)) {
		roost_say("qemu-img could not read %s as %s", file, format);
		return ROOST_FAILED;
	}
	return ROOST_OK;
}

/* Whole and on the medium, and nobody writes to it by mistake. */
static int finish(const char *from, const char *to)
{
	CLEANUP(cleanup_fd) int fd = open(from, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || fsync(fd) < 0 || fchmod(fd, 0444) < 0 ||
	    rename(from, to) < 0) {
		roost_say("%s: %s", to, strerror(errno));
		return ROOST_FAILED;
	}
	return ROOST_OK;
}

static int import(struct roost *roost, const char *file, const char *format,
		  const char *name, const char *store, const char *dir)
{
	CLEANUP(cleanup_free) char *to = NULL;
	CLEANUP(cleanup_free) char *part = NULL;
	int code;

	if (asprintf(&to, "%s/%s.raw", dir, name) < 0) {
		to = NULL;
		return ROOST_FAILED;
	}
	if (asprintf(&part, "%s.part", to) < 0) {
		part = NULL;
		return ROOST_FAILED;
	}
	if (!access(to, F_OK)) {
		roost_say("%s is there already: --name calls it another name",
			  to);
		return ROOST_IN_USE;
	}
	code = convert(file, format, part, roost->is_json);
	if (!code)
		code = finish(part, to);
	if (code) {
		(void)unlink(part);
		return code;
	}
	code = roost_do(roost,
			json_pack("{s:s, s:s, s:s, s:s}", "op", "image-add",
				  "name", name, "address", to, "store", store));
	if (code)
		(void)unlink(to);
	else if (!roost->is_json)
		printf("image '%s' is %s\n", name, to);
	return code;
}

int verb_image_import(struct roost *roost)
{
	const char *file = roost->words[0];
	const char *format = roost_value(roost, "format");
	CLEANUP(cleanup_free) char *store = NULL;
	CLEANUP(cleanup_free) char *dir = NULL;
	CLEANUP(cleanup_free) char *name = NULL;
	struct why w = {0};
	int code;

	if (!format) {
		roost_say(
			"say what %s is, with --format raw, qcow2, vmdk, ...: "
			"it is never guessed, as an image could lie",
			file);
		return ROOST_USAGE;
	}
	if (access(file, R_OK) < 0) {
		roost_say("%s: %s", file, strerror(errno));
		return ROOST_FAILED;
	}
	name = roost_value(roost, "name") ? strdup(roost_value(roost, "name"))
					  : name_after(file);
	if (!name)
		return ROOST_FAILED;
	if (disk_name_check(name, &w) < 0) {
		roost_say("'%s': %s: give one with --name", name, w.text);
		return ROOST_USAGE;
	}
	code = find_store(roost, roost_value(roost, "store"), &store, &dir);
	return code ? code : import(roost, file, format, name, store, dir);
}
