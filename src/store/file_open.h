/* SPDX-License-Identifier: Apache-2.0 */
/* file_open.h - open a file or block device and find out what it can do */
#ifndef STORE_FILE_OPEN_H
#define STORE_FILE_OPEN_H

#include <stdbool.h>
#include <stdint.h>

struct store_version;
struct why;

/**
 * struct file_fds - what file_fds_open() found
 * @buffered:	descriptor through the page cache
 * @direct:	descriptor past it, or -1
 * @memory_align: what @direct wants of addresses and lengths of buffers
 * @offset_align: what @direct wants of offset and length
 * @size:	bytes
 * @can:	as blk.can
 * @can_zero_range: zeroing without a hole is quick
 * @can_seek_hole: looking for holes is quick and says something
 */
struct file_fds {
	int buffered;
	int direct;
	uint32_t memory_align;
	uint32_t offset_align;
	uint64_t size;
	uint32_t can;
	bool can_zero_range;
	bool can_seek_hole;
};

/** file_fds_open() - see file_open(); file_fds_release() what it returns */
int file_fds_open(const char *path, unsigned flags,
		  struct store_version *version, struct file_fds *ret,
		  struct why *why) __attribute__((warn_unused_result));

void file_fds_release(struct file_fds *fds);

#endif
