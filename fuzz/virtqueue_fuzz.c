/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtqueue_fuzz.c - the input is a guest's memory, rings and all
 *
 * Chains are taken and handed to a virtio block device until the queue is
 * empty, broken, or has had enough. Every iovec must be in guest memory, every
 * request that was taken must end once.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/blk.h"
#include "device/virtio_blk.h"
#include "device/virtqueue.h"
#include "store/mem.h"

#define MEM_LEN 16384u
#define QUEUE	16u
#define USED_AT 0x400u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint8_t *mem;
static struct ram ram;
static struct blk *blk;
static struct virtio_blk dev;
static struct virtq vq;
static unsigned answered;

static void on_done(struct virtio_blk_req *req, uint32_t written)
{
	answered++;
	virtq_push(&vq, req->chain.head, written);
}

static void set_up(void)
{
	int fd = memfd_create("guest", MFD_CLOEXEC);

	if (fd < 0 || ftruncate(fd, MEM_LEN) < 0)
		abort();
	ram_init(&ram);
	/* Two regions that adjoin for the guest and do not for us. */
	if (ram_map(&ram, (gpa_t){0}, MEM_LEN / 2, fd, 0) < 0 ||
	    ram_map(&ram, (gpa_t){MEM_LEN / 2}, MEM_LEN / 2, fd, MEM_LEN / 2) <
		    0)
		abort();
	mem = mmap(NULL, MEM_LEN, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (mem == MAP_FAILED || mem_new(65536, 512, &blk) < 0)
		abort();
	virtio_blk_init(&dev, blk, false, "fuzz", 1);
	close(fd);
}

static void check(const struct virtq_chain *c, const struct iovec *iov)
{
	uint64_t sum[2] = {0};

	for (int i = 0; i < c->nread + c->nwrite; i++) {
		const uint8_t *at = iov[i].iov_base;
		bool is_in = false;

		for (unsigned k = 0; k < ram.nregions; k++) {
			const struct ram_region *r = &ram.regions[k];

			/* Joined ones may span both, if they lie so. */
			if (at >= r->host && at < r->host + r->len)
				is_in = true;
		}
		if (!is_in || !iov[i].iov_len || iov[i].iov_len > MEM_LEN)
			abort();
		sum[i >= c->nread] += iov[i].iov_len;
	}
	if (sum[0] != c->read_len || sum[1] != c->write_len)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct virtio_blk_req r;
	struct virtq_layout layout = {
		.size = QUEUE,
		.has_indirect = true,
		.desc = {0},
		.avail = {QUEUE * 16},
		.used = {USED_AT},
	};

	if (!mem)
		set_up();
	if (size < 2)
		return 0;
	layout.has_event_idx = data[0] & 1;
	layout.has_indirect = data[0] & 2;
	if (virtio_blk_set_features(&dev, data[0] & 4 ? dev.features : 0) < 0)
		abort();
	memset(mem, 0, MEM_LEN);
	memcpy(mem, data + 1, size - 1 < MEM_LEN ? size - 1 : MEM_LEN);
	vq = (struct virtq){0};
	if (virtq_start(&vq, &ram, &layout) < 0)
		abort();
	for (unsigned n = 0; n < 3 * QUEUE && virtq_avail(&vq) > 0; n++) {
		r.done = on_done;
		if (virtq_pop(&vq, &r.chain, r.iov, VIRTIO_BLK_IOVS) < 0)
			break;
		check(&r.chain, r.iov);
		answered = 0;
		if (virtio_blk_submit(&dev, &r) < 0) {
			if (answered)
				abort();
			virtq_drop(&vq, r.chain.head);
		} else if (answered != 1) {
			abort();
		}
		virtq_publish(&vq);
		(void)virtq_needs_signal(&vq);
		(void)virtq_listen(&vq);
	}
	if (vq.out)
		abort();
	virtq_stop(&vq);
	return 0;
}
