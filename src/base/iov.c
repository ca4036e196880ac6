/* SPDX-License-Identifier: Apache-2.0 */
/* iov.c - one walk over the entries; what is done at each differs */
#include "base/iov.h"

#include <string.h>

#include "base/array.h"

/* The piece of entry @i that lies @at bytes in and is at most @len long;
 * moves @at and @len past it. */
static struct iovec piece(const struct iovec *iov, uint64_t *at, uint64_t *len)
{
	struct iovec p = {0};

	if (*at >= iov->iov_len) {
		*at -= iov->iov_len;
		return p;
	}
	p.iov_base = (char *)iov->iov_base + *at;
	p.iov_len = min_u64(iov->iov_len - *at, *len);
	*at = 0;
	*len -= p.iov_len;
	return p;
}

void iov_put(const struct iovec *iov, int niov, uint64_t at, const void *buf,
	     uint64_t len)
{
	const char *from = buf;

	for (int i = 0; i < niov && len; i++) {
		struct iovec p = piece(&iov[i], &at, &len);

		if (p.iov_len)
			memcpy(p.iov_base, from, p.iov_len);
		from += p.iov_len;
	}
}

void iov_get(const struct iovec *iov, int niov, uint64_t at, void *buf,
	     uint64_t len)
{
	char *to = buf;

	for (int i = 0; i < niov && len; i++) {
		struct iovec p = piece(&iov[i], &at, &len);

		if (p.iov_len)
			memcpy(to, p.iov_base, p.iov_len);
		to += p.iov_len;
	}
}

void iov_zero(const struct iovec *iov, int niov, uint64_t at, uint64_t len)
{
	for (int i = 0; i < niov && len; i++) {
		struct iovec p = piece(&iov[i], &at, &len);

		if (p.iov_len)
			memset(p.iov_base, 0, p.iov_len);
	}
}

int iov_slice(const struct iovec *iov, int niov, uint64_t at, uint64_t len,
	      struct iovec *out)
{
	int n = 0;

	for (int i = 0; i < niov && len; i++) {
		struct iovec p = piece(&iov[i], &at, &len);

		if (p.iov_len)
			out[n++] = p;
	}
	return n;
}
