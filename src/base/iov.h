/* SPDX-License-Identifier: Apache-2.0 */
/* iov.h - copy between a buffer and the middle of an iovec */
#ifndef BASE_IOV_H
#define BASE_IOV_H

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

/**
 * iov_put() - copy @len bytes from @buf to @at bytes into @iov
 *
 * The caller knows that they fit.
 */
void iov_put(const struct iovec *iov, int niov, uint64_t at, const void *buf,
	     uint64_t len);

/** iov_get() - likewise from @iov to @buf */
void iov_get(const struct iovec *iov, int niov, uint64_t at, void *buf,
	     uint64_t len);

/** iov_zero() - clear @len bytes from @at on */
void iov_zero(const struct iovec *iov, int niov, uint64_t at, uint64_t len);

/**
 * iov_slice() - the entries that cover @len bytes from @at on
 * @out:	filled; has room for @niov entries
 *
 * Return: how many.
 */
int iov_slice(const struct iovec *iov, int niov, uint64_t at, uint64_t len,
	      struct iovec *out);

#endif
