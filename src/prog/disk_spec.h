/* SPDX-License-Identifier: Apache-2.0 */
/*
 * disk_spec.h - what an operator says about a disk
 *
 * The same keys are written in three places, and one table reads them all:
 *
 *	--disk vm7=/srv/a.raw,overlay=/var/lib/roost/vm7.qcow2,serial=x7
 *	[disk vm7]  file = /srv/a.raw  overlay = ...  serial = x7
 *	{"op": "disk-add", "name": "vm7", "file": "/srv/a.raw", ...}
 *
 * On the command line a comma ends a value; a comma that belongs to it is
 * written twice, as QEMU has it.
 */
#ifndef PROG_DISK_SPEC_H
#define PROG_DISK_SPEC_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct why;

#define DISK_NAME_MAX	 64 /* bytes without the final 0 */
#define DISK_ADDRESS_MAX 4095 /* bytes of a path or address */

enum disk_switch { DISK_AUTO, DISK_ON, DISK_OFF };

/**
 * struct disk_spec - a disk to be; texts are owned, NULL where not given
 * @name:	the name of its NBD export, and of it in every verb
 * @file:	path or address of the image; without @overlay, of the disk
 * @format:	"raw", which is what NULL means, or "qcow2"; never guessed
 * @image:	name of the golden image that @file is of, for people
 * @overlay:	path of a qcow2 file that takes the writes; made if missing
 * @boot:	directory where map and segment are written if it cannot be
 *		beside the image
 * @serial:	what the guest sees as the disk's serial number
 * @vhost_user:	path of a socket where it is a vhost-user-blk back-end too
 * @size:	bytes of an overlay that is yet to be made; 0: as @file
 * @is_ro:	nobody writes to it
 * @is_ephemeral: what is written is gone when the disk is removed
 * @cache, @record, @prefetch: DISK_AUTO: on for a disk that leaves its @file
 *		unwritten, the cache only if @file is not on this host
 * @compress:	the boot segments that are written; DISK_AUTO: off
 */
struct disk_spec {
	char *name;
	char *file;
	char *format;
	char *image;
	char *overlay;
	char *boot;
	char *serial;
	char *vhost_user;
	uint64_t size;
	bool is_ro;
	bool is_ephemeral;
	enum disk_switch cache;
	enum disk_switch record;
	enum disk_switch prefetch;
	enum disk_switch compress;
};

/** disk_spec_release() - @spec may be empty or half filled */
void disk_spec_release(struct disk_spec *spec);

/** disk_name_check() - may this be a disk's, image's or store's name */
int disk_name_check(const char *name, struct why *why)
	__attribute__((warn_unused_result));

/**
 * disk_spec_set() - one key
 * @value:	NULL for a switch named alone, which means on
 *
 * Return: 0; -ENOKEY: there is no such key, and @why may guess which was
 * meant; -EINVAL for a value; -EEXIST for a key given twice; -ENOMEM.
 */
int disk_spec_set(struct disk_spec *spec, const char *key, const char *value,
		  struct why *why) __attribute__((warn_unused_result));

/** disk_spec_check() - is it complete, and do the keys go together */
int disk_spec_check(const struct disk_spec *spec, struct why *why)
	__attribute__((warn_unused_result));

/** disk_spec_parse() - NAME=FILE[,KEY[=VALUE]]...; @ret is zeroed before */
int disk_spec_parse(const char *text, struct disk_spec *ret, struct why *why)
	__attribute__((warn_unused_result));

/** disk_spec_from_json() - an object of keys; "op" is passed over */
int disk_spec_from_json(const json_t *object, struct disk_spec *ret,
			struct why *why) __attribute__((warn_unused_result));

/** disk_spec_to_json() - what disk_spec_from_json() reads; NULL: no memory */
json_t *disk_spec_to_json(const struct disk_spec *spec);

#endif
