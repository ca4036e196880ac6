/* SPDX-License-Identifier: Apache-2.0 */
/*
 * boot_place.h - where the boot map and segment of an image are written
 *
 *	boot=DIR of the disk			DIR/a.raw.bootmap
 *	an image in a directory of this host	beside it: /srv/a.raw.bootmap
 *	else the daemon's --boot DIR		DIR/a.raw-1f2e3d4c.bootmap
 *
 * The names of the first two are those that others find beside the image, so
 * that a directory which is also served as a store shares what was learned. In
 * the daemon's own directory images of many stores meet, so a hash of the
 * address keeps them apart.
 */
#ifndef PROG_BOOT_PLACE_H
#define PROG_BOOT_PLACE_H

#include <stdbool.h>

/**
 * struct boot_place - texts are owned
 * @name:	of the files, without .bootmap and so on
 * @dir:	NULL: there is no place, and boots are not learned
 */
struct boot_place {
	char *name;
	char *dir;
};

/**
 * boot_place_find() - for the image at @address
 * @disk_dir:	the disk's boot=, or NULL
 * @own_dir:	the daemon's, or NULL
 *
 * Blocks: looks at directories. Return: 0 or -ENOMEM.
 */
int boot_place_find(const char *address, const char *disk_dir,
		    const char *own_dir, struct boot_place *ret)
	__attribute__((warn_unused_result));

void boot_place_release(struct boot_place *place);

/** boot_is_network() - is @address across a network, NFS included? Blocks. */
bool boot_is_network(const char *address);

#endif
