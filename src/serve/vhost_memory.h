/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vhost_memory.h - what a vhost-user front-end shares with us
 *
 * The guest's memory, known by two addresses: the guest's own, which are in
 * the descriptors, and the front-end's, by which it says where the rings are.
 * And the log of what we write there, for a migration.
 */
#ifndef SERVE_VHOST_MEMORY_H
#define SERVE_VHOST_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/ram.h"
#include "wire/vhost_user_msg.h"

/** struct vhost_shared - a mapping of a descriptor; {0} is none */
struct vhost_shared {
	void *at;
	size_t len;
};

/** vhost_shared_map() - @len bytes from @offset on, a multiple of 4096 */
int vhost_shared_map(struct vhost_shared *shared, int fd, uint64_t offset,
		     uint64_t len) __attribute__((warn_unused_result));

/** vhost_shared_unmap() - fine if it is none */
void vhost_shared_unmap(struct vhost_shared *shared);

/** struct vhost_memory - hold it by value, vhost_memory_init() it */
struct vhost_memory {
	struct ram ram;
	struct vhost_user_region regions[RAM_REGIONS_MAX]; /* of ram */
	unsigned nregions;
	struct vhost_shared log; /* ram.log is in it while it is on */
};

void vhost_memory_init(struct vhost_memory *mem);

/** vhost_memory_clear() - unmap the guest's memory; the log stays */
void vhost_memory_clear(struct vhost_memory *mem);

/** vhost_memory_release() - unmap all */
void vhost_memory_release(struct vhost_memory *mem);

/** vhost_memory_add() - map @region of @fd; as ram_map() */
int vhost_memory_add(struct vhost_memory *mem,
		     const struct vhost_user_region *region, int fd)
	__attribute__((warn_unused_result));

/** vhost_memory_remove() - what was added so; 0 or -ENOENT */
int vhost_memory_remove(struct vhost_memory *mem,
			const struct vhost_user_region *region)
	__attribute__((warn_unused_result));

/** vhost_memory_find() - the guest's address of the front-end's @user */
int vhost_memory_find(const struct vhost_memory *mem, uint64_t user, gpa_t *ret)
	__attribute__((warn_unused_result));

/** vhost_memory_set_log() - another log; on or off as the one before */
int vhost_memory_set_log(struct vhost_memory *mem, int fd, uint64_t offset,
			 uint64_t len) __attribute__((warn_unused_result));

/** vhost_memory_log() - note what is written from now on, or do not */
void vhost_memory_log(struct vhost_memory *mem, bool is_on);

#endif
