/* SPDX-License-Identifier: Apache-2.0 */
/* blkd_overlay.c - when a disk has an overlay, where, and how it is opened */
#include "prog/blkd_overlay.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/why.h"
#include "prog/config.h"
#include "prog/disk_spec.h"
#include "prog/refuse.h"
#include "store/qcow2.h"

/* Ephemeral overlays of a daemon without a directory for overlays. Not /tmp:
 * that may be memory. */
#define EPHEMERAL_DIR "/var/tmp"

bool overlay_is_all(const struct disk_spec *spec)
{
	return spec->format && !strcmp(spec->format, "qcow2");
}

int overlay_path(const struct disk_spec *spec, const struct config *config,
		 char **ret)
{
	const char *dir = config->overlays ? config->overlays : EPHEMERAL_DIR;

	*ret = NULL;
	if (spec->overlay)
		*ret = strdup(spec->overlay);
	else if (overlay_is_all(spec))
		*ret = strdup(spec->file);
	else if (!spec->is_ephemeral)
		return 0;
	/* With our pid: what a killed daemon left is nobody's to reuse. */
	else if (asprintf(ret, "%s/roost-%s-%d.qcow2", dir, spec->name,
			  getpid()) < 0)
		*ret = NULL;
	return *ret ? 0 : -ENOMEM;
}

static int create(const char *path, const struct disk_spec *spec, uint64_t size,
		  struct why *w)
{
	CLEANUP(cleanup_free) char *whole = NULL;
	const char *backing = overlay_is_all(spec) ? NULL : spec->file;

	/* In the header a relative path would be relative to the overlay. */
	if (backing && *backing != '/' && !strstr(backing, "://")) {
		whole = realpath(backing, NULL);
		if (!whole)
			return why(w, -errno, "%s", backing);
		backing = whole;
	}
	return qcow2_create(path, size, backing, w);
}

int overlay_probe(const char *path, const struct disk_spec *spec,
		  uint64_t base_size, uint64_t *ret_size, struct why *w)
{
	uint64_t size = spec->size ? spec->size : base_size;
	struct qcow2_header header;
	int err;

	size = (size + 511) & ~511ull; /* the format counts in sectors */
	if (size < base_size)
		return refuse(w,
			      "size: smaller than the image, which has "
			      "%llu bytes",
			      (unsigned long long)base_size);
	if (!spec->is_ephemeral) {
		if (access(path, F_OK) < 0 && errno == ENOENT) {
			if (!size)
				return refuse(w,
					      "%s is not there, and no "
					      "size= says how large to "
					      "make it",
					      path);
			err = create(path, spec, size, w);
			if (err < 0)
				return err;
		}
		err = qcow2_info(path, &header, w);
		if (err < 0)
			return err;
		size = header.size;
	}
	*ret_size = size;
	return 0;
}

int overlay_open(struct loop *loop, const char *path,
		 const struct disk_spec *spec, uint64_t size, bool is_resumed,
		 struct blk **base, struct blk **ret, struct why *w)
{
	unsigned flags = spec->is_ephemeral ? QCOW2_EPHEMERAL : 0;
	int err;

	if (spec->is_ephemeral && !(is_resumed && access(path, F_OK) == 0)) {
		(void)unlink(path);
		err = create(path, spec, size, w);
		if (err < 0)
			return err;
	}
	err = qcow2_open(loop, path, flags, *base, ret, w);
	if (!err)
		*base = NULL;
	return err;
}
