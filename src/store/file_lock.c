/* SPDX-License-Identifier: Apache-2.0 */
/*
 * file_lock.c - QEMU's image locks
 *
 * Of a permission with the number N, byte 100 + N is locked (shared) by those
 * who use it, and byte 200 + N by those who do not want others to use it. So
 * everybody locks their bytes first, and then looks whether anybody has locked
 * the opposite ones: of two at the same time at least one sees the other.
 */
#include "store/file_lock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include "base/array.h"

#define USED_BASE     100
#define UNSHARED_BASE 200

/* Numbers of QEMU's permissions: BLK_PERM_x is 1 << N. */
enum perm {
	PERM_READ = 0,
	PERM_WRITE = 1,
	PERM_RESIZE = 3,
};

static const enum perm uses[] = {PERM_READ, PERM_WRITE};
static const enum perm unshared[] = {PERM_WRITE, PERM_RESIZE};

static int lock_byte(int fd, int cmd, short type, int byte, struct flock *lk)
{
	*lk = (struct flock){
		.l_type = type,
		.l_whence = SEEK_SET,
		.l_start = byte,
		.l_len = 1,
	};
	return fcntl(fd, cmd, lk) < 0 ? -errno : 0;
}

static int take(int fd, int byte)
{
	struct flock lk;

	return lock_byte(fd, F_OFD_SETLK, F_RDLCK, byte, &lk);
}

/* 0 if nobody but us has locked @byte. */
static int look(int fd, int byte)
{
	struct flock lk;
	int err = lock_byte(fd, F_OFD_GETLK, F_WRLCK, byte, &lk);

	if (err < 0)
		return err;
	return lk.l_type == F_UNLCK ? 0 : -EBUSY;
}

int file_lock(int fd)
{
	int err = 0;

	for (size_t i = 0; !err && i < ARRAY_SIZE(uses); i++)
		err = take(fd, USED_BASE + (int)uses[i]);
	for (size_t i = 0; !err && i < ARRAY_SIZE(unshared); i++)
		err = take(fd, UNSHARED_BASE + (int)unshared[i]);
	for (size_t i = 0; !err && i < ARRAY_SIZE(uses); i++)
		err = look(fd, UNSHARED_BASE + (int)uses[i]);
	for (size_t i = 0; !err && i < ARRAY_SIZE(unshared); i++)
		err = look(fd, USED_BASE + (int)unshared[i]);

	/* Somebody has a byte for themselves alone: no QEMU does that. */
	if (err == -EAGAIN || err == -EACCES)
		err = -EBUSY;
	return err == -EBUSY ? err : 0;
}
