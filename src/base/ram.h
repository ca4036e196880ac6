/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ram.h - a guest's memory, and the only way to touch it
 *
 * A table of regions, each mapped from a descriptor that the guest's owner
 * gave. A guest-physical address is a gpa_t and never a pointer; every access
 * names a range, and a range that wraps or that is not wholly in the table is
 * -EFAULT. What was read is a copy: the guest can change the bytes at any
 * time, so nobody looks twice.
 *
 * Ranges may cross from one region into the next where they adjoin.
 *
 * A pointer of ram_iov() is good until its region is unmapped: whoever has
 * handed iovecs to a layer unmaps only when the layer has ended with them.
 */
#ifndef BASE_RAM_H
#define BASE_RAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

/** gpa_t - a guest-physical address, of no use as a pointer */
typedef struct {
	uint64_t a;
} gpa_t;

#define RAM_REGIONS_MAX                                                        \
	128 /* QEMU hot-plugs up to 256 slots, seldom over 8                   \
	     */

/* Pages of the dirty log, as vhost-user's migration counts them. */
#define RAM_LOG_PAGE 4096u

/** struct ram_region - one stretch of guest memory */
struct ram_region {
	uint64_t at; /* guest-physical */
	uint64_t len; /* bytes */
	uint8_t *host; /* where @at is */
	void *map; /* what mmap() returned */
	size_t map_len;
};

/**
 * struct ram - hold it by value, ram_init() it
 * @regions:	in order of @at; none overlap
 * @log:	one bit for each RAM_LOG_PAGE written to, or NULL; not owned
 * @log_len:	bytes of @log
 */
struct ram {
	struct ram_region regions[RAM_REGIONS_MAX];
	unsigned nregions;
	uint8_t *log;
	uint64_t log_len;
};

void ram_init(struct ram *ram);

/** ram_release() - unmap all; the table is empty then */
void ram_release(struct ram *ram);

/**
 * ram_map() - add a region
 * @at, @len:	where the guest sees it; bytes
 * @fd:		the memory; may be closed after
 * @offset:	of the region in @fd
 *
 * Return: 0; -EINVAL: empty, wraps, or more than @fd has; -EEXIST: overlaps
 * another; -ENOSPC: the table is full; or what mmap() said.
 */
int ram_map(struct ram *ram, gpa_t at, uint64_t len, int fd, uint64_t offset)
	__attribute__((warn_unused_result));

/** ram_unmap() - remove the region of just @at and @len; 0 or -ENOENT */
int ram_unmap(struct ram *ram, gpa_t at, uint64_t len);

/**
 * ram_map_unit() - in what steps @fd can be mapped: huge pages come whole
 *
 * Return: bytes; 0: not at all, since whoever answers its page faults (FUSE,
 * NFS) could have a touch of it hang for as long as he likes.
 */
uint64_t ram_map_unit(int fd);

/** ram_read() - copy out; 0 or -EFAULT */
int ram_read(const struct ram *ram, gpa_t at, void *to, size_t len)
	__attribute__((warn_unused_result));

/** ram_write() - copy in; 0 or -EFAULT; nothing is written then */
int ram_write(const struct ram *ram, gpa_t at, const void *from, size_t len)
	__attribute__((warn_unused_result));

/**
 * ram_iov() - where a range is in our own memory
 * @iov:	filled with one entry for each region that the range is in
 * @max:	entries that fit
 *
 * Return: entries filled, 0 for a range of no bytes; -EFAULT; -E2BIG: more
 * than @max.
 */
int ram_iov(const struct ram *ram, gpa_t at, uint64_t len, struct iovec *iov,
	    int max) __attribute__((warn_unused_result));

/**
 * ram_dirty() - note in the log, if there is one, that bytes were written
 *
 * @at is a pointer out of ram_iov(). ram_write() does it by itself.
 */
void ram_dirty(const struct ram *ram, const void *at, uint64_t len);

/** ram_dirty_gpa() - likewise, by the guest's address, which may be any */
void ram_dirty_gpa(const struct ram *ram, gpa_t at, uint64_t len);

#endif
