/* SPDX-License-Identifier: Apache-2.0 */
/* map_check.h - are the invariants of a boot workload map true? */
#ifndef BOOT_MAP_CHECK_H
#define BOOT_MAP_CHECK_H

struct boot_map;

/**
 * map_check_counts() - the fields that say how much there is: the image's size
 * and version, the counts, the segment's size; the arrays are not looked at
 *
 * Return: NULL or what is wrong, a few words.
 */
const char *map_check_counts(const struct boot_map *map);

/**
 * map_check() - everything, of a map that has its segment
 * @ret_wrong:	on success NULL or what is wrong
 *
 * Return: 0 (whatever is wrong); -ENOMEM.
 */
int map_check(const struct boot_map *map, const char **ret_wrong)
	__attribute__((warn_unused_result));

#endif
