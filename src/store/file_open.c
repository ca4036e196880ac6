/* SPDX-License-Identifier: Apache-2.0 */
/* file_open.c - open a file or block device and find out what it can do */
#include "store/file_open.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "base/array.h"
#include "base/blk.h"
#include "base/cleanup.h"
#include "base/why.h"
#include "store/file_lock.h"
#include "store/store.h"

#define DIRECT_ALIGN 4096u /* suits whatever does not say what it wants */

/* Where it takes a message to a server to find a hole. */
static bool is_remote(int fd)
{
	static const long magics[] = {
		NFS_SUPER_MAGIC,  SMB_SUPER_MAGIC,  SMB2_SUPER_MAGIC,
		CIFS_SUPER_MAGIC, FUSE_SUPER_MAGIC, CEPH_SUPER_MAGIC,
		AFS_SUPER_MAGIC,  V9FS_MAGIC,
	};
	struct statfs fs;

	if (fstatfs(fd, &fs) < 0)
		return true;
	for (size_t i = 0; i < ARRAY_SIZE(magics); i++)
		if ((uint32_t)fs.f_type == (uint32_t)magics[i])
			return true;
	return false;
}

/* The same file again, past the page cache; none is no error. */
static void open_direct(const char *path, int mode, const struct stat *st,
			struct file_fds *fds)
{
	int fd = open(path, mode | O_DIRECT | O_CLOEXEC | O_NOCTTY);
	struct stat now;
	struct statx stx;

	if (fd < 0)
		return;
	if (fstat(fd, &now) < 0 || now.st_dev != st->st_dev ||
	    now.st_ino != st->st_ino) { /* replaced in between */
		(void)close(fd);
		return;
	}
	fds->memory_align = fds->offset_align = DIRECT_ALIGN;
	if (statx(fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &stx) == 0 &&
	    (stx.stx_mask & STATX_DIOALIGN)) {
		if (!stx.stx_dio_offset_align) { /* this file cannot */
			(void)close(fd);
			return;
		}
		fds->memory_align = stx.stx_dio_mem_align;
		fds->offset_align = stx.stx_dio_offset_align;
	}
	fds->direct = fd;
}

static int find_size(int fd, const struct stat *st, uint64_t *ret)
{
	uint64_t size = (uint64_t)st->st_size;

	if (S_ISDIR(st->st_mode))
		return -EISDIR;
	if (!S_ISREG(st->st_mode) && !S_ISBLK(st->st_mode))
		return -EINVAL;
	if (S_ISBLK(st->st_mode) && ioctl(fd, BLKGETSIZE64, &size) < 0)
		return -errno;
	*ret = size;
	return 0;
}

int file_fds_open(const char *path, unsigned flags,
		  struct store_version *version, struct file_fds *ret,
		  struct why *w)
{
	int mode = flags & STORE_WRITE ? O_RDWR : O_RDONLY;
	/* O_NONBLOCK so that a pipe does not make us wait for its writer; off
	 * again at once, or io_uring would not wait for the disk. */
	CLEANUP(cleanup_fd)
	int fd = open(path, mode | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	struct file_fds fds = {.direct = -1};
	struct stat st;
	int err;

	if (fd < 0)
		return why(w, -errno, "%s", path);
	if (fstat(fd, &st) < 0 || fcntl(fd, F_SETFL, 0) < 0)
		return why(w, -errno, "%s", path);
	/* Nobody asks when an image was last read, and to keep it costs a
	 * little with each read. Only the file's owner may say so. */
	(void)fcntl(fd, F_SETFL, O_NOATIME);
	err = find_size(fd, &st, &fds.size);
	if (err == -EINVAL)
		return why(w, err, "%s: neither a file nor a block device",
			   path);
	if (err < 0)
		return why(w, err, "%s", path);
	if (flags & STORE_WRITE) {
		err = file_lock(fd);
		if (err < 0)
			return why(w, err, "%s: in use by another program",
				   path);
		fds.can = BLK_CAN_WRITE | BLK_CAN_DISCARD | BLK_CAN_ZERO |
			  BLK_CAN_FAST_ZERO;
	}
	if (flags & STORE_DIRECT)
		open_direct(path, mode, &st, &fds);
	if (fds.direct < 0)
		fds.can |= BLK_CAN_CACHE;
	/* A device writes the zeroes out itself then: not quick. */
	fds.can_zero_range = S_ISREG(st.st_mode);
	fds.can_seek_hole = S_ISREG(st.st_mode) && !is_remote(fd);

	if (version) {
		*version = (struct store_version){0};
		if (S_ISREG(st.st_mode)) /* a device's says nothing */
			(void)snprintf(version->text, sizeof(version->text),
				       "mtime:%lld.%09ld:%llu",
				       (long long)st.st_mtim.tv_sec,
				       st.st_mtim.tv_nsec,
				       (unsigned long long)st.st_ino);
	}
	fds.buffered = take_fd(&fd);
	*ret = fds;
	return 0;
}

void file_fds_release(struct file_fds *fds)
{
	cleanup_fd(&fds->buffered);
	cleanup_fd(&fds->direct);
}
