/* SPDX-License-Identifier: Apache-2.0 */
/* nbd_buf.c - free lists of buffers, by size */
#include "serve/nbd_buf.h"

#include <assert.h>
#include <stdlib.h>

#include "base/array.h"

static const size_t sizes[NBD_BUF_KINDS] = {
	4 * KIB, 16 * KIB, 64 * KIB, 256 * KIB, 1 * MIB,
};

static_assert(sizeof(struct nbd_buf) + NBD_BUF_HEAD <= NBD_BUF_ALIGN,
	      "the struct and the head fit before the payload");

static int kind_of(size_t len)
{
	for (int i = 0; i < NBD_BUF_KINDS; i++)
		if (len <= sizes[i])
			return i;
	return -1;
}

struct nbd_buf *nbd_buf_take(struct nbd_bufs *bufs, size_t len)
{
	int kind = kind_of(len);
	struct nbd_buf *buf;
	size_t size;
	void *p;

	if (kind >= 0 && bufs->free[kind]) {
		buf = bufs->free[kind];
		bufs->free[kind] = buf->next;
		bufs->kept -= sizes[kind];
		return buf;
	}
	/* Over the largest kind a request takes so long that a malloc is
	 * nothing beside it, and the memory is better not kept. */
	size = kind >= 0 ? sizes[kind] : round_up(len, NBD_BUF_ALIGN);
	if (posix_memalign(&p, NBD_BUF_ALIGN, NBD_BUF_ALIGN + size))
		return NULL;
	buf = p;
	buf->at = (uint8_t *)p + NBD_BUF_ALIGN;
	buf->kind = kind;
	return buf;
}

void nbd_buf_give(struct nbd_bufs *bufs, struct nbd_buf *buf)
{
	if (!buf)
		return;
	if (buf->kind < 0 || bufs->kept + sizes[buf->kind] > bufs->kept_max) {
		free(buf);
		return;
	}
	bufs->kept += sizes[buf->kind];
	buf->next = bufs->free[buf->kind];
	bufs->free[buf->kind] = buf;
}

void nbd_bufs_release(struct nbd_bufs *bufs)
{
	for (int i = 0; i < NBD_BUF_KINDS; i++) {
		while (bufs->free[i]) {
			struct nbd_buf *next = bufs->free[i]->next;

			free(bufs->free[i]);
			bufs->free[i] = next;
		}
	}
	bufs->kept = 0;
}
