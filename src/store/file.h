/* SPDX-License-Identifier: Apache-2.0 */
/*
 * file.h - a store in a file or on a block device of this host, or on NFS
 *
 * Any byte can be asked for (block is 1). The size is the one at open: a file
 * that shrinks later gives -EIO behind its new end, never zeroes.
 *
 * Direct (STORE_DIRECT): requests go past the page cache where offset, length
 * and buffers are aligned as the device wants it; others go through the page
 * cache, and so does everything where the file system has no O_DIRECT (tmpfs).
 *
 * Locks: a file opened for writing is locked as QEMU locks its images (OFD
 * locks on the bytes 100 and 200 onwards), so neither a QEMU nor a second
 * writer of ours can have it at the same time. Readers take no lock. A file
 * system that cannot lock is used without.
 */
#ifndef STORE_FILE_H
#define STORE_FILE_H

struct blk;
struct loop;
struct store_version;
struct why;

/**
 * file_open() - open @path; the parameters are those of store_open()
 *
 * Return: 0; -EBUSY: somebody else writes to it; -EINVAL: it is neither a file
 * nor a block device; what open(2) says.
 */
int file_open(struct loop *loop, const char *path, unsigned flags,
	      struct store_version *version, struct blk **ret, struct why *why)
	__attribute__((warn_unused_result));

#endif
