/* SPDX-License-Identifier: Apache-2.0 */
/* virtio_blk_test.c - what a guest asks and what it is answered */
#undef NDEBUG
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/array.h"
#include "device/virtio_blk.h"
#include "store/faulty.h"
#include "store/mem.h"
#include "wire/bytes.h"

#define SIZE	1048576u
#define OK	0
#define IOERR	1
#define UNSUPP	2
#define NOTHING 0xaa /* what the status is before */

#define IN	     0u
#define OUT	     1u
#define FLUSH	     4u
#define GET_ID	     8u
#define DISCARD	     11u
#define WRITE_ZEROES 13u

static struct virtio_blk dev;
static struct virtio_blk_req r;
static int answered;
static uint32_t written_seen;
static uint8_t header[16], status;

static void on_done(struct virtio_blk_req *req, uint32_t written)
{
	assert(req == &r);
	answered++;
	written_seen = written;
}

/*
 * Ask, see it answered exactly once; return the status. @piece: bytes of each
 * buffer the header and the status are cut into, 0 for whole ones.
 */
static int ask_in_pieces(uint32_t type, uint64_t sector, void *data,
			 uint32_t len, bool is_write_by_device, unsigned piece)
{
	int n = 0;

	put_le32(header, type);
	put_le32(header + 4, 0xdead); /* reserved: ignored */
	put_le64(header + 8, sector);
	status = NOTHING;
	answered = 0;
	memset(&r, 0xee, sizeof(r));
	r.done = on_done;
	if (!piece)
		piece = sizeof(header);
	for (unsigned at = 0; at < sizeof(header); at += piece)
		r.iov[n++] = (struct iovec){
			header + at, min_u64(piece, sizeof(header) - at)};
	r.chain = (struct virtq_chain){
		.nread = n,
		.read_len = sizeof(header),
		.write_len = 1,
		.nwrite = 1,
	};
	if (len) {
		r.iov[n++] = (struct iovec){data, len};
		if (is_write_by_device) {
			r.chain.nwrite++;
			r.chain.write_len += len;
		} else {
			r.chain.nread++;
			r.chain.read_len += len;
		}
	}
	r.iov[n] = (struct iovec){&status, 1};
	assert(virtio_blk_submit(&dev, &r) == 0);
	assert(answered == 1 && status != NOTHING);
	return status;
}

static int ask(uint32_t type, uint64_t sector, void *data, uint32_t len)
{
	return ask_in_pieces(type, sector, data, len,
			     type == IN || type == GET_ID, 0);
}

static struct blk *start(bool is_read_only)
{
	struct blk *blk = NULL;

	assert(mem_new(SIZE, 512, &blk) == 0);
	virtio_blk_init(&dev, blk, is_read_only, "serial-1", 2);
	assert(virtio_blk_set_features(&dev, dev.features) == 0);
	return blk;
}

static void reads_what_was_written(void)
{
	struct blk *blk = start(false);
	uint8_t in[4096], out[4096];

	memset(in, 'x', sizeof(in));
	assert(ask(OUT, 8, in, sizeof(in)) == OK && written_seen == 1);
	for (unsigned piece = 1; piece <= 16; piece++) {
		memset(out, 0, sizeof(out));
		assert(ask_in_pieces(IN, 8, out, sizeof(out), true, piece) ==
		       OK);
		assert(written_seen == sizeof(out) + 1);
		assert(!memcmp(in, out, sizeof(in)));
	}
	assert(ask(FLUSH, 0, NULL, 0) == OK);
	assert(ask(IN, 0, NULL, 0) == OK && written_seen == 1);
	blk_free(blk);
}

static void takes_header_and_data_in_one_buffer(void)
{
	struct blk *blk = start(false);
	uint8_t out[16 + 512], in[513];

	put_le32(out, OUT);
	put_le64(out + 8, 1);
	memset(out + 16, 'y', 512);
	answered = 0;
	r = (struct virtio_blk_req){
		.done = on_done,
		.chain = {.nread = 1,
			  .nwrite = 1,
			  .read_len = sizeof(out),
			  .write_len = 1},
		.iov = {{out, sizeof(out)}, {&status, 1}},
	};
	status = NOTHING;
	assert(virtio_blk_submit(&dev, &r) == 0 && answered == 1);
	assert(status == OK);

	/* And data and status in one. */
	put_le32(header, IN);
	put_le64(header + 8, 1);
	r = (struct virtio_blk_req){
		.done = on_done,
		.chain = {.nread = 1,
			  .nwrite = 1,
			  .read_len = 16,
			  .write_len = sizeof(in)},
		.iov = {{header, 16}, {in, sizeof(in)}},
	};
	assert(virtio_blk_submit(&dev, &r) == 0 && answered == 2);
	assert(in[512] == OK && !memcmp(in, out + 16, 512));
	assert(written_seen == 513);
	blk_free(blk);
}

static void refuses_what_has_no_place_for_a_status(void)
{
	struct blk *blk = start(false);

	answered = 0;
	r = (struct virtio_blk_req){
		.done = on_done,
		.chain = {.nread = 1, .read_len = 16},
		.iov = {{header, 16}},
	};
	assert(virtio_blk_submit(&dev, &r) == -EBADMSG && !answered);
	blk_free(blk);
}

static void answers_what_makes_no_sense(void)
{
	struct blk *blk = start(false);
	uint8_t buf[1024] = {0};

	assert(ask(99, 0, buf, 512) == UNSUPP && written_seen == 1);
	assert(ask(2, 0, NULL, 0) == UNSUPP); /* SCSI */
	assert(ask(14, 0, buf, 16) == UNSUPP); /* secure erase */
	assert(ask(IN, SIZE / 512, buf, 512) == IOERR);
	assert(ask(IN, SIZE / 512 - 1, buf, 1024) == IOERR);
	assert(ask(OUT, UINT64_MAX, buf, 512) == IOERR);
	assert(ask(OUT, UINT64_MAX / 512, buf, 512) == IOERR);
	assert(ask(IN, 0, buf, 511) == IOERR);
	assert(ask(OUT, 0, buf, 1) == IOERR);
	/* Data where the device writes, and the other way round. */
	assert(ask_in_pieces(OUT, 0, buf, 512, true, 0) == OK);
	assert(ask_in_pieces(IN, 0, buf, 512, false, 0) == OK);

	/* A header cut short. */
	answered = 0;
	status = NOTHING;
	r = (struct virtio_blk_req){
		.done = on_done,
		.chain = {.nread = 1,
			  .nwrite = 1,
			  .read_len = 15,
			  .write_len = 1},
		.iov = {{header, 15}, {&status, 1}},
	};
	assert(virtio_blk_submit(&dev, &r) == 0 && answered == 1);
	assert(status == IOERR);
	blk_free(blk);
}

static void says_its_serial(void)
{
	struct blk *blk = start(false);
	char id[32];

	memset(id, 'z', sizeof(id));
	assert(ask(GET_ID, 0, id, 20) == OK && written_seen == 21);
	assert(!strcmp(id, "serial-1") && id[20] == 'z');
	assert(ask(GET_ID, 0, id, 32) == OK && written_seen == 21);
	assert(ask(GET_ID, 0, id, 3) == OK && written_seen == 4);
	assert(ask(GET_ID, 0, NULL, 0) == OK);
	blk_free(blk);
}

static void range(uint8_t *at, uint64_t sector, uint32_t n, uint32_t flags)
{
	put_le64(at, sector);
	put_le32(at + 8, n);
	put_le32(at + 12, flags);
}

static void discards_and_zeroes_ranges(void)
{
	struct blk *blk = start(false);
	uint8_t ones[8192], buf[8192], ranges[17 * 16];

	memset(ones, 1, sizeof(ones));
	for (int unmap = 0; unmap < 2; unmap++) {
		assert(ask(OUT, 0, ones, sizeof(ones)) == OK);
		range(ranges, 2, 4, unmap);
		range(ranges + 16, 10, 1, 0);
		assert(ask(WRITE_ZEROES, 0, ranges, 32) == OK);
		assert(ask(IN, 0, buf, sizeof(buf)) == OK);
		for (unsigned i = 0; i < 16; i++)
			assert(buf[i * 512] == !((i >= 2 && i < 6) || i == 10));
	}
	range(ranges, 0, 16, 0);
	assert(ask(DISCARD, 0, ranges, 16) == OK);

	range(ranges, 0, 1, 1);
	assert(ask(DISCARD, 0, ranges, 16) == UNSUPP); /* unmap: 5.2.6.2 */
	range(ranges, 0, 1, 2);
	assert(ask(WRITE_ZEROES, 0, ranges, 16) == UNSUPP);
	range(ranges, SIZE / 512, 1, 0);
	assert(ask(WRITE_ZEROES, 0, ranges, 16) == IOERR);
	range(ranges, UINT64_MAX, UINT32_MAX, 0);
	assert(ask(WRITE_ZEROES, 0, ranges, 16) == IOERR);
	assert(ask(WRITE_ZEROES, 0, ranges, 15) == IOERR);
	assert(ask(WRITE_ZEROES, 0, NULL, 0) == IOERR);
	for (unsigned i = 0; i < 17; i++)
		range(ranges + 16 * i, i, 1, 0);
	assert(ask(WRITE_ZEROES, 0, ranges, 16 * 16) == OK);
	assert(ask(WRITE_ZEROES, 0, ranges, 17 * 16) == IOERR);
	range(ranges, 0, 0, 0); /* of nothing */
	assert(ask(DISCARD, 0, ranges, 16) == OK);
	blk_free(blk);
}

static void writes_nothing_if_read_only(void)
{
	struct blk *blk = start(true);
	uint8_t buf[512] = {1}, ranges[16];

	assert(dev.features >> VIRTIO_BLK_RO & 1);
	assert(!(dev.features >> VIRTIO_BLK_DISCARD & 1));
	assert(ask(OUT, 0, buf, 512) == IOERR);
	range(ranges, 0, 1, 0);
	assert(ask(WRITE_ZEROES, 0, ranges, 16) == UNSUPP);
	assert(ask(DISCARD, 0, ranges, 16) == UNSUPP);
	assert(ask(IN, 0, buf, 512) == OK && buf[0] == 0);
	assert(ask(FLUSH, 0, NULL, 0) == OK);
	blk_free(blk);
}

/* A layer that keeps the flags of what came last, and ends it. */
static uint32_t flags_seen;

static void spy_submit(struct blk *blk, struct blk_req *req)
{
	(void)blk;
	flags_seen = req->flags;
	blk_end(req, 0);
}

static void spy_free(struct blk *blk)
{
	(void)blk;
}

static const struct blk_ops spy_ops = {
	.name = "spy",
	.submit = spy_submit,
	.free = spy_free,
};

static void writes_through_unless_the_guest_can_flush(void)
{
	struct blk spy = {
		.ops = &spy_ops,
		.size = SIZE,
		.block = 1,
		.can = BLK_CAN_WRITE | BLK_CAN_ZERO,
	};
	uint8_t buf[512] = {0}, ranges[16], config[VIRTIO_BLK_CONFIG_LEN];
	const uint64_t flush = 1ull << VIRTIO_BLK_FLUSH;
	const uint64_t wce = 1ull << VIRTIO_BLK_CONFIG_WCE;
	const uint8_t on = 1, off = 0;

	virtio_blk_init(&dev, &spy, false, NULL, 1);
	assert(!(dev.features >> VIRTIO_BLK_DISCARD & 1));
	assert(ask(OUT, 0, buf, 512) == OK && flags_seen == BLK_FUA);
	assert(virtio_blk_set_features(&dev, 1ull << 63) == -EINVAL);
	assert(virtio_blk_set_features(&dev, flush) == 0);
	assert(ask(OUT, 0, buf, 512) == OK && flags_seen == 0);
	assert(virtio_blk_set_features(&dev, flush | wce) == 0);
	assert(ask(OUT, 0, buf, 512) == OK && flags_seen == 0);

	assert(virtio_blk_write_config(&dev, 32, &off, 1) == 0);
	virtio_blk_config(&dev, config);
	assert(config[32] == 0);
	assert(ask(OUT, 0, buf, 512) == OK && flags_seen == BLK_FUA);
	range(ranges, 0, 1, 0);
	assert(ask(WRITE_ZEROES, 0, ranges, 16) == OK);
	assert(flags_seen == (BLK_FUA | BLK_NO_HOLE));
	range(ranges, 0, 1, 1);
	assert(virtio_blk_write_config(&dev, 32, &on, 1) == 0);
	assert(ask(WRITE_ZEROES, 0, ranges, 16) == OK && flags_seen == 0);

	assert(virtio_blk_write_config(&dev, 0, &on, 1) == -EINVAL);
	assert(virtio_blk_write_config(&dev, 32, &on, 2) == -EINVAL);
	virtio_blk_reset(&dev);
	assert(ask(OUT, 0, buf, 512) == OK && flags_seen == BLK_FUA);
}

/* Also where the layer below would take it. */
static void keeps_to_sectors_and_limits(void)
{
	struct blk spy = {
		.ops = &spy_ops,
		.size = 4 * GIB,
		.block = 1,
		.can = BLK_CAN_WRITE | BLK_CAN_ZERO,
	};
	uint8_t buf[512] = {0}, ranges[16];

	virtio_blk_init(&dev, &spy, false, NULL, 1);
	assert(ask(IN, 0, buf, 511) == IOERR);
	assert(ask(OUT, 0, buf, 1) == IOERR);
	range(ranges, 0, 0x200000, 0);
	assert(ask(WRITE_ZEROES, 0, ranges, 16) == OK);
	range(ranges, 0, 0x200001, 0);
	assert(ask(WRITE_ZEROES, 0, ranges, 16) == IOERR);
}

static void tells_its_shape(void)
{
	struct blk *blk = start(false);
	uint8_t c[VIRTIO_BLK_CONFIG_LEN];

	virtio_blk_config(&dev, c);
	assert(get_le64(c) == SIZE / 512);
	assert(get_le32(c + 12) == VIRTIO_BLK_SEGMENTS);
	assert(get_le32(c + 20) == 512 && c[24] == 3); /* 4 KiB physical */
	assert(get_le16(c + 34) == 2); /* queues */
	assert(get_le32(c + 40) == VIRTIO_BLK_RANGES && c[56] == 1);
	blk_free(blk);

	assert(mem_new(SIZE, 4096, &blk) == 0);
	virtio_blk_init(&dev, blk, false, "a serial of more than twenty", 1);
	virtio_blk_config(&dev, c);
	assert(get_le32(c + 20) == 4096 && c[24] == 0);
	assert(get_le32(c + 44) == 8); /* discard alignment */
	assert(!memcmp(dev.serial, "a serial of more tha", 20));
	blk_free(blk);
}

static void passes_each_fault_on(void)
{
	uint8_t buf[512] = {0}, ranges[3 * 16];

	for (unsigned i = 0; i < 3; i++)
		range(ranges + 16 * i, i, 1, 0);
	/* Six requests of the layer below, one of them failing. */
	for (unsigned n = 1; n <= 6; n++) {
		struct blk *mem = NULL, *blk = NULL;
		int err = n % 2 ? -EIO : -ENOSPC;

		assert(mem_new(SIZE, 512, &mem) == 0);
		assert(faulty_new(mem, n, err, &blk) == 0);
		virtio_blk_init(&dev, blk, false, NULL, 1);
		assert(virtio_blk_set_features(&dev, dev.features) == 0);
		assert(ask(IN, 0, buf, 512) == (n == 1 ? IOERR : OK));
		assert(ask(OUT, 0, buf, 512) == (n == 2 ? IOERR : OK));
		assert(ask(FLUSH, 0, NULL, 0) == (n == 3 ? IOERR : OK));
		assert(ask(WRITE_ZEROES, 0, ranges, 48) ==
		       (n >= 4 ? IOERR : OK));
		blk_free(blk);
	}
}

int main(void)
{
	reads_what_was_written();
	takes_header_and_data_in_one_buffer();
	refuses_what_has_no_place_for_a_status();
	answers_what_makes_no_sense();
	says_its_serial();
	discards_and_zeroes_ranges();
	writes_nothing_if_read_only();
	writes_through_unless_the_guest_can_flush();
	keeps_to_sectors_and_limits();
	tells_its_shape();
	passes_each_fault_on();
	return 0;
}
