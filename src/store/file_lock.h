/* SPDX-License-Identifier: Apache-2.0 */
/* file_lock.h - keep other writers off an image, in the way QEMU does */
#ifndef STORE_FILE_LOCK_H
#define STORE_FILE_LOCK_H

/**
 * file_lock() - say that the open file @fd is written to by nobody else
 *
 * Held until the last descriptor of this open is closed; not by the path's
 * other opens.
 *
 * Return: 0, also where the file system knows no locks; -EBUSY: somebody
 * writes to it, or reads it and wants it to stay as it is.
 */
int file_lock(int fd) __attribute__((warn_unused_result));

#endif
