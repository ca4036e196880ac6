/* SPDX-License-Identifier: Apache-2.0 */
/* boot_place.c - where the boot map and segment of an image are written */
#include "prog/boot_place.h"

#include <ctype.h>
#include <errno.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/crc32c.h"
#include "wire/address.h"

#define NAME_BYTES_MAX 128 /* of a file's name, leaving room for endings */
#define CIFS_MAGIC     0xff534d42
#define SMB2_MAGIC     0xfe534d42

/* The path of an address on this host; false if it is not on it. */
static bool local_path(const char *address, char path[static ADDRESS_MAX])
{
	char scheme[ADDRESS_SCHEME_MAX];

	if (address_scheme(address, scheme) < 0)
		return false;
	if (!*scheme) {
		(void)snprintf(path, ADDRESS_MAX, "%s", address);
		return true;
	}
	return !strcmp(scheme, "file") && !address_path(address, path);
}

bool boot_is_network(const char *address)
{
	char path[ADDRESS_MAX];
	struct statfs fs;

	if (!local_path(address, path))
		return true;
	if (statfs(path, &fs) < 0)
		return false;
	switch ((unsigned long)fs.f_type) {
	case NFS_SUPER_MAGIC:
	case CIFS_MAGIC:
	case SMB2_MAGIC:
	case CEPH_SUPER_MAGIC:
	case FUSE_SUPER_MAGIC:
	case V9FS_MAGIC:
		return true;
	default:
		return false;
	}
}

/*
 * The last part of the path of an address: "a.raw" of nbd://h/x/a.raw?y. An
 * export without a name is known by where it is.
 */
static void name_of(const char *address, char name[static NAME_BYTES_MAX])
{
	const char *at = strstr(address, "://"), *path = address, *start;
	size_t len, n = 0;

	if (at)
		path = at + 3 + strcspn(at + 3, "/?#");
	len = at ? strcspn(path, "?#") : strlen(path);
	while (len && path[len - 1] == '/')
		len--;
	for (start = path + len; start > path && start[-1] != '/';)
		start--;
	for (; start < path + len && n < NAME_BYTES_MAX - 1; start++) {
		unsigned char c = (unsigned char)*start;

		name[n++] = (char)(isalnum(c) || strchr("._-+@", c) ? c : '_');
	}
	name[n] = 0;
	if (!n || *name == '.')
		(void)snprintf(name, NAME_BYTES_MAX, "image-%08x",
			       crc32c(0, address, strlen(address)));
}

/* The directory of a local image, if map and segment can be written there. */
static char *dir_beside(const char *address)
{
	char path[ADDRESS_MAX];
	char *slash;

	if (!local_path(address, path))
		return NULL;
	slash = strrchr(path, '/');
	if (!slash)
		(void)snprintf(path, sizeof(path), ".");
	else
		slash[slash == path] = 0;
	return access(path, W_OK | X_OK) < 0 ? NULL : strdup(path);
}

int boot_place_find(const char *address, const char *disk_dir,
		    const char *own_dir, struct boot_place *ret)
{
	CLEANUP(cleanup_free) char *dir = NULL;
	CLEANUP(cleanup_free) char *named = NULL;
	char name[NAME_BYTES_MAX];

	name_of(address, name);
	if (disk_dir)
		dir = strdup(disk_dir);
	else
		dir = dir_beside(address);
	if (!dir && own_dir) {
		if (asprintf(&named, "%s-%08x", name,
			     crc32c(0, address, strlen(address))) < 0)
			named = NULL;
		dir = strdup(own_dir);
	} else {
		named = strdup(name);
	}
	if (!named || (!dir && (disk_dir || own_dir)))
		return -ENOMEM;
	ret->name = take_ptr(&named);
	ret->dir = take_ptr(&dir);
	return 0;
}

void boot_place_release(struct boot_place *place)
{
	free(place->name);
	free(place->dir);
	*place = (struct boot_place){0};
}
