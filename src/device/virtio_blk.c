/* SPDX-License-Identifier: Apache-2.0 */
/* virtio_blk.c - from the guest's request to blk_req, and the status back */
#include "device/virtio_blk.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/array.h"
#include "base/iov.h"
#include "wire/bytes.h"

#define SECTOR 512u

/* Types of request; the header is {le32 type, le32 reserved, le64 sector}. */
#define T_IN	       0u
#define T_OUT	       1u
#define T_FLUSH	       4u
#define T_GET_ID       8u
#define T_DISCARD      11u
#define T_WRITE_ZEROES 13u
#define HEADER_LEN     16u

/* A range is {le64 sector, le32 nsectors, le32 flags}. */
#define RANGE_LEN   16u
#define RANGE_UNMAP 1u

#define S_OK	 0u
#define S_IOERR	 1u
#define S_UNSUPP 2u

/* Offsets in the configuration space: 5.2.4 */
#define CONFIG_CAPACITY		0
#define CONFIG_SIZE_MAX		8
#define CONFIG_SEG_MAX		12
#define CONFIG_BLK_SIZE		20
#define CONFIG_PHYSICAL_EXP	24
#define CONFIG_MIN_IO		26
#define CONFIG_OPT_IO		28
#define CONFIG_WCE		32
#define CONFIG_NUM_QUEUES	34
#define CONFIG_MAX_DISCARD	36
#define CONFIG_MAX_DISCARD_SEG	40
#define CONFIG_DISCARD_ALIGN	44
#define CONFIG_MAX_ZEROES	48
#define CONFIG_MAX_ZEROES_SEG	52
#define CONFIG_ZEROES_MAY_UNMAP 56
static_assert(CONFIG_ZEROES_MAY_UNMAP + 4 == VIRTIO_BLK_CONFIG_LEN, "5.2.4");

/* What storage below likes best: the page of memory, the block of a cache. */
#define PHYSICAL_BLOCK 4096u
#define OPTIMAL_IO     (64u * 1024)

static bool has(uint64_t features, unsigned bit)
{
	return features >> bit & 1;
}

static uint32_t block_size(const struct virtio_blk *dev)
{
	return dev->blk->block > SECTOR ? dev->blk->block : SECTOR;
}

void virtio_blk_init(struct virtio_blk *dev, struct blk *blk, bool is_read_only,
		     const char *serial, uint16_t nqueues)
{
	bool is_ro = is_read_only || !(blk->can & BLK_CAN_WRITE);
	uint64_t f = 1ull << VIRTIO_VERSION_1 | 1ull << VIRTIO_RING_INDIRECT |
		     1ull << VIRTIO_RING_EVENT_IDX | 1ull << VIRTIO_BLK_MQ |
		     1ull << VIRTIO_BLK_SIZE_MAX | 1ull << VIRTIO_BLK_SEG_MAX |
		     1ull << VIRTIO_BLK_BLK_SIZE | 1ull << VIRTIO_BLK_TOPOLOGY |
		     1ull << VIRTIO_BLK_FLUSH;

	assert(nqueues);
	if (is_ro)
		f |= 1ull << VIRTIO_BLK_RO;
	else
		f |= 1ull << VIRTIO_BLK_CONFIG_WCE;
	if (!is_ro && (blk->can & BLK_CAN_DISCARD))
		f |= 1ull << VIRTIO_BLK_DISCARD;
	if (!is_ro && (blk->can & BLK_CAN_ZERO))
		f |= 1ull << VIRTIO_BLK_WRITE_ZEROES;
	*dev = (struct virtio_blk){
		.blk = blk,
		.features = f,
		.nqueues = nqueues,
		.is_read_only = is_ro,
	};
	if (serial)
		memcpy(dev->serial, serial, strnlen(serial, VIRTIO_BLK_ID_LEN));
	virtio_blk_reset(dev);
}

static void update_write_back(struct virtio_blk *dev)
{
	dev->is_write_back =
		has(dev->negotiated, VIRTIO_BLK_FLUSH) &&
		(dev->wce || !has(dev->negotiated, VIRTIO_BLK_CONFIG_WCE));
}

void virtio_blk_reset(struct virtio_blk *dev)
{
	dev->negotiated = 0;
	dev->wce = true;
	update_write_back(dev);
}

int virtio_blk_set_features(struct virtio_blk *dev, uint64_t features)
{
	if (features & ~dev->features)
		return -EINVAL;
	dev->negotiated = features;
	update_write_back(dev);
	return 0;
}

void virtio_blk_config(const struct virtio_blk *dev,
		       uint8_t config[static VIRTIO_BLK_CONFIG_LEN])
{
	uint32_t block = block_size(dev), exp = 0;

	while (block << exp < PHYSICAL_BLOCK)
		exp++;
	memset(config, 0, VIRTIO_BLK_CONFIG_LEN);
	put_le64(config + CONFIG_CAPACITY, dev->blk->size / SECTOR);
	put_le32(config + CONFIG_SIZE_MAX, VIRTIO_BLK_SEGMENT_LEN);
	put_le32(config + CONFIG_SEG_MAX, VIRTIO_BLK_SEGMENTS);
	put_le32(config + CONFIG_BLK_SIZE, block);
	config[CONFIG_PHYSICAL_EXP] = (uint8_t)exp;
	put_le16(config + CONFIG_MIN_IO, (uint16_t)(PHYSICAL_BLOCK / block));
	put_le32(config + CONFIG_OPT_IO, OPTIMAL_IO / block);
	config[CONFIG_WCE] = dev->wce;
	put_le16(config + CONFIG_NUM_QUEUES, dev->nqueues);
	if (has(dev->features, VIRTIO_BLK_DISCARD)) {
		put_le32(config + CONFIG_MAX_DISCARD,
			 VIRTIO_BLK_RANGE_LEN / SECTOR);
		put_le32(config + CONFIG_MAX_DISCARD_SEG, VIRTIO_BLK_RANGES);
		put_le32(config + CONFIG_DISCARD_ALIGN, block / SECTOR);
	}
	if (has(dev->features, VIRTIO_BLK_WRITE_ZEROES)) {
		put_le32(config + CONFIG_MAX_ZEROES,
			 VIRTIO_BLK_RANGE_LEN / SECTOR);
		put_le32(config + CONFIG_MAX_ZEROES_SEG, VIRTIO_BLK_RANGES);
		config[CONFIG_ZEROES_MAY_UNMAP] = 1;
	}
}

int virtio_blk_write_config(struct virtio_blk *dev, uint32_t offset,
			    const uint8_t *bytes, uint32_t len)
{
	if (!has(dev->features, VIRTIO_BLK_CONFIG_WCE))
		return -EINVAL;
	if (offset != CONFIG_WCE || len != 1)
		return -EINVAL;
	dev->wce = bytes[0] & 1;
	update_write_back(dev);
	return 0;
}

/* Copy @len bytes from the start of the buffers to read. */
static void copy_out(const struct virtio_blk_req *r, void *to, size_t len)
{
	iov_get(r->iov, r->chain.nread, 0, to, len);
	__atomic_signal_fence(__ATOMIC_ACQ_REL); /* it is a copy from here */
}

/* Take the first @len bytes off the buffers to read. */
static struct iovec *drop_front(struct virtio_blk_req *r, uint64_t len)
{
	struct iovec *iov = r->iov;

	r->chain.read_len -= len;
	while (len && iov->iov_len <= len) {
		len -= iov->iov_len;
		r->chain.nread--;
		iov++;
	}
	if (len) {
		iov->iov_base = (uint8_t *)iov->iov_base + len;
		iov->iov_len -= len;
	}
	return iov;
}

/* The status: the last byte that may be written. */
static uint8_t *take_status(struct virtio_blk_req *r)
{
	struct iovec *last = &r->iov[r->chain.nread + r->chain.nwrite - 1];

	r->chain.write_len--;
	last->iov_len--;
	if (!last->iov_len)
		r->chain.nwrite--;
	return (uint8_t *)last->iov_base + last->iov_len;
}

static void finish(struct virtio_blk_req *r, int res)
{
	if (!res)
		*r->status = S_OK;
	else
		*r->status = res == -EOPNOTSUPP ? S_UNSUPP : S_IOERR;
	if (res)
		r->written = 0;
	r->done(r, r->written + 1);
}

static void on_done(struct blk_req *req, int res)
{
	finish(container_of(req, struct virtio_blk_req, req), res);
}

static void submit_data(struct virtio_blk_req *r, enum blk_op op,
			uint64_t sector, const struct iovec *iov, int niov,
			uint64_t len)
{
	struct virtio_blk *dev = r->dev;

	if (len > VIRTIO_BLK_DATA_LEN || len % SECTOR ||
	    sector > UINT64_MAX / SECTOR) {
		finish(r, -EINVAL);
		return;
	}
	if (op == BLK_READ)
		r->written = (uint32_t)len;
	r->req = (struct blk_req){
		.op = op,
		.flags = op == BLK_WRITE && !dev->is_write_back ? BLK_FUA : 0,
		.offset = sector * SECTOR,
		.len = len,
		.iov = iov,
		.niov = niov,
		.done = on_done,
	};
	blk_submit(dev->blk, &r->req);
}

static void on_range_done(struct blk_req *req, int res);

/* One range after the other, also if each ends at once. */
static void submit_ranges(struct virtio_blk_req *r)
{
	enum blk_op op = r->req.op;

	r->is_submitting = true;
	while (r->next_range < r->nranges && !r->err) {
		unsigned i = r->next_range++;

		r->is_range_done = false;
		r->req = (struct blk_req){
			.op = op,
			.flags = r->ranges[i].flags,
			.offset = r->ranges[i].offset,
			.len = r->ranges[i].len,
			.done = on_range_done,
		};
		blk_submit(r->dev->blk, &r->req);
		if (!r->is_range_done) { /* goes on when it ends */
			r->is_submitting = false;
			return;
		}
	}
	r->is_submitting = false;
	finish(r, r->err);
}

static void on_range_done(struct blk_req *req, int res)
{
	struct virtio_blk_req *r =
		container_of(req, struct virtio_blk_req, req);

	r->err = res;
	r->is_range_done = true;
	if (!r->is_submitting)
		submit_ranges(r);
}

/* Fill r->ranges from the guest's. 0 or what the request ends with. */
static int parse_ranges(struct virtio_blk_req *r, enum blk_op op)
{
	uint8_t bytes[HEADER_LEN + VIRTIO_BLK_RANGES * RANGE_LEN];
	uint64_t len = r->chain.read_len - HEADER_LEN;

	if (!len || len % RANGE_LEN || len > sizeof(bytes) - HEADER_LEN)
		return -EINVAL;
	copy_out(r, bytes, HEADER_LEN + len);
	r->nranges = (uint16_t)(len / RANGE_LEN);
	for (unsigned i = 0; i < r->nranges; i++) {
		const uint8_t *at = bytes + HEADER_LEN + i * RANGE_LEN;
		uint64_t sector = get_le64(at);
		uint64_t n = (uint64_t)get_le32(at + 8) * SECTOR;
		uint32_t flags = get_le32(at + 12);

		if (flags & ~RANGE_UNMAP)
			return -EOPNOTSUPP;
		if (op == BLK_DISCARD && flags)
			return -EOPNOTSUPP;
		if (n > VIRTIO_BLK_RANGE_LEN || sector > UINT64_MAX / SECTOR)
			return -EINVAL;
		r->ranges[i].offset = sector * SECTOR;
		r->ranges[i].len = n;
		r->ranges[i].flags = 0;
		if (op == BLK_ZERO && !(flags & RANGE_UNMAP))
			r->ranges[i].flags |= BLK_NO_HOLE;
		if (op == BLK_ZERO && !r->dev->is_write_back)
			r->ranges[i].flags |= BLK_FUA;
	}
	return 0;
}

static void start_ranges(struct virtio_blk_req *r, enum blk_op op,
			 unsigned feature)
{
	int err = -EOPNOTSUPP;

	if (has(r->dev->features, feature))
		err = parse_ranges(r, op);
	if (err < 0) {
		finish(r, err);
		return;
	}
	r->req.op = op;
	submit_ranges(r);
}

static void get_id(struct virtio_blk_req *r)
{
	uint64_t len = min_u64(r->chain.write_len, VIRTIO_BLK_ID_LEN);

	iov_put(r->in, r->chain.nwrite, 0, r->dev->serial, len);
	r->written = (uint32_t)len;
	finish(r, 0);
}

int virtio_blk_submit(struct virtio_blk *dev, struct virtio_blk_req *r)
{
	uint8_t header[HEADER_LEN];
	const struct iovec *out;
	uint64_t sector;

	if (!r->chain.write_len)
		return -EBADMSG;
	r->in = &r->iov[r->chain.nread];
	r->status = take_status(r);
	r->dev = dev;
	r->written = 0;
	r->err = 0;
	r->nranges = r->next_range = 0;
	if (r->chain.read_len < HEADER_LEN) {
		finish(r, -EINVAL);
		return 0;
	}
	copy_out(r, header, HEADER_LEN);
	sector = get_le64(header + 8);

	switch (get_le32(header)) {
	case T_IN:
		submit_data(r, BLK_READ, sector, r->in, r->chain.nwrite,
			    r->chain.write_len);
		break;
	case T_OUT:
		if (dev->is_read_only) {
			finish(r, -EROFS);
			break;
		}
		out = drop_front(r, HEADER_LEN);
		submit_data(r, BLK_WRITE, sector, out, r->chain.nread,
			    r->chain.read_len);
		break;
	case T_FLUSH:
		r->req = (struct blk_req){.op = BLK_FLUSH, .done = on_done};
		blk_submit(dev->blk, &r->req);
		break;
	case T_GET_ID:
		get_id(r);
		break;
	case T_DISCARD:
		start_ranges(r, BLK_DISCARD, VIRTIO_BLK_DISCARD);
		break;
	case T_WRITE_ZEROES:
		start_ranges(r, BLK_ZERO, VIRTIO_BLK_WRITE_ZEROES);
		break;
	default:
		finish(r, -EOPNOTSUPP);
	}
	return 0;
}
