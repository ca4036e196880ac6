/* SPDX-License-Identifier: Apache-2.0 */
/* virtqueue_test.c - drivers good and bad: what is taken, what breaks it */
#undef NDEBUG
#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/array.h"
#include "device/virtq_driver.h"
#include "device/virtqueue.h"

#define MEM_LEN (256u * 1024)
#define HOLE_AT (128u * 1024) /* two regions that do not adjoin */
#define SIZE	8u
#define DATA	0x4000u /* guest addresses */
#define TABLE	0x8000u
#define IOVS	16
#define NEXT	VIRTQ_DESC_NEXT
#define WRITE	VIRTQ_DESC_WRITE

static uint8_t *mem;
static struct ram ram;
static struct virtq_driver d;
static struct virtq vq;
static struct virtq_chain chain;
static struct iovec iov[IOVS];

/* Guest memory is [0, 64K), adjoining [64K, 128K), a hole, [192K, 256K). */
static void setup_memory(void)
{
	int fd = memfd_create("guest", MFD_CLOEXEC);

	assert(fd >= 0 && ftruncate(fd, MEM_LEN) == 0);
	mem = mmap(NULL, MEM_LEN, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert(mem != MAP_FAILED);
	ram_init(&ram);
	for (unsigned i = 0; i < 4; i++)
		if (i != HOLE_AT >> 16)
			assert(ram_map(&ram, (gpa_t){i << 16}, 1 << 16, fd,
				       i << 16) == 0);
	close(fd);
}

static void start(bool has_event_idx)
{
	virtq_driver_init(&d, mem, 0, SIZE, has_event_idx);
	vq = (struct virtq){0};
	assert(virtq_start(&vq, &ram, &d.layout) == 0);
}

static int pop(void)
{
	int n = virtq_avail(&vq);

	if (n <= 0)
		return n < 0 ? n : -EAGAIN;
	return virtq_pop(&vq, &chain, iov, IOVS);
}

static int offer_and_pop(uint16_t head)
{
	virtq_driver_offer(&d, head);
	(void)virtq_driver_show(&d);
	return pop();
}

static void takes_a_chain_and_gives_it_back(void)
{
	uint16_t head;
	uint32_t len;

	start(false);
	assert(pop() == -EAGAIN);
	virtq_driver_desc(&d, 3, DATA, 16, NEXT, 1);
	virtq_driver_desc(&d, 1, DATA + 0x1000, 512, NEXT | WRITE, 7);
	virtq_driver_desc(&d, 7, DATA + 0x2000, 1, WRITE, 0);
	assert(offer_and_pop(3) == 0);
	assert(chain.head == 3 && chain.nread == 1 && chain.nwrite == 2);
	assert(chain.read_len == 16 && chain.write_len == 513);
	assert(iov[0].iov_len == 16 && iov[1].iov_len == 512);
	memcpy(iov[1].iov_base, "hello", 5);
	assert(!memcmp(mem + DATA + 0x1000, "hello", 5));

	virtq_push(&vq, 3, 513);
	assert(!virtq_driver_take(&d, &head, &len)); /* not shown yet */
	virtq_publish(&vq);
	assert(virtq_driver_take(&d, &head, &len) && head == 3 && len == 513);
	assert(!virtq_driver_take(&d, &head, &len));
	virtq_stop(&vq);
}

static void joins_neighbours_but_not_read_with_write(void)
{
	start(false);
	virtq_driver_desc(&d, 0, DATA, 16, NEXT, 1);
	virtq_driver_desc(&d, 1, DATA + 16, 16, NEXT, 2);
	virtq_driver_desc(&d, 2, DATA + 32, 16, NEXT | WRITE, 3);
	virtq_driver_desc(&d, 3, DATA + 48, 16, WRITE, 0);
	assert(offer_and_pop(0) == 0);
	assert(chain.nread == 1 && iov[0].iov_len == 32);
	assert(chain.nwrite == 1 && iov[1].iov_len == 32);
	virtq_push(&vq, 0, 0);
	virtq_stop(&vq);
}

static void splits_a_buffer_over_two_regions(void)
{
	start(false);
	virtq_driver_desc(&d, 0, 0x10000 - 100, 300, 0, 0);
	assert(offer_and_pop(0) == 0);
	/* Mapped one by one, they may still lie side by side. */
	assert(chain.read_len == 300 && chain.nread <= 2);
	assert(iov[0].iov_len == 100 || iov[0].iov_len == 300);
	virtq_push(&vq, 0, 0);
	virtq_stop(&vq);
}

static void takes_an_indirect_table(void)
{
	start(false);
	virtq_desc_write(mem + TABLE, DATA, 16, NEXT, 2);
	virtq_desc_write(mem + TABLE + 32, DATA + 0x1000, 8, WRITE, 0);
	virtq_driver_desc(&d, 5, TABLE, 48, VIRTQ_DESC_INDIRECT, 0);
	assert(offer_and_pop(5) == 0);
	assert(chain.head == 5 && chain.read_len == 16 && chain.write_len == 8);
	virtq_push(&vq, 5, 0);
	virtq_stop(&vq);
}

static void passes_over_buffers_of_no_bytes(void)
{
	start(false);
	virtq_driver_desc(&d, 0, UINT64_MAX, 0, NEXT, 1);
	virtq_driver_desc(&d, 1, DATA, 16, NEXT, 2);
	virtq_driver_desc(&d, 2, DATA, 0, WRITE, 0);
	assert(offer_and_pop(0) == 0);
	assert(chain.nread == 1 && chain.nwrite == 0 && !chain.write_len);
	virtq_push(&vq, 0, 0);
	virtq_stop(&vq);
}

/* Each sets up a chain at entry 0 that must break the queue. */
static void loop_of_one(void)
{
	virtq_driver_desc(&d, 0, DATA, 16, NEXT, 0);
}

static void loop_of_three(void)
{
	virtq_driver_desc(&d, 0, DATA, 16, NEXT, 1);
	virtq_driver_desc(&d, 1, DATA, 0, NEXT, 2);
	virtq_driver_desc(&d, 2, DATA, 0, NEXT, 1);
}

static void next_beyond_the_table(void)
{
	virtq_driver_desc(&d, 0, DATA, 16, NEXT, SIZE);
}

static void out_of_memory(void)
{
	virtq_driver_desc(&d, 0, MEM_LEN - 8, 9, 0, 0);
}

static void into_the_hole(void)
{
	virtq_driver_desc(&d, 0, HOLE_AT - 8, 16, 0, 0);
}

static void wraps(void)
{
	virtq_driver_desc(&d, 0, UINT64_MAX - 7, 16, 0, 0);
}

static void wraps_by_length(void)
{
	virtq_driver_desc(&d, 0, UINT64_MAX - 0x1000, UINT32_MAX, 0, 0);
}

static void read_after_write(void)
{
	virtq_driver_desc(&d, 0, DATA, 16, NEXT | WRITE, 1);
	virtq_driver_desc(&d, 1, DATA, 16, 0, 0);
}

static void indirect_in_indirect(void)
{
	virtq_desc_write(mem + TABLE, TABLE + 64, 16, VIRTQ_DESC_INDIRECT, 0);
	virtq_desc_write(mem + TABLE + 64, DATA, 16, 0, 0);
	virtq_driver_desc(&d, 0, TABLE, 16, VIRTQ_DESC_INDIRECT, 0);
}

static void indirect_with_next(void)
{
	virtq_desc_write(mem + TABLE, DATA, 16, 0, 0);
	virtq_driver_desc(&d, 0, TABLE, 16, VIRTQ_DESC_INDIRECT | NEXT, 1);
	virtq_driver_desc(&d, 1, DATA, 16, 0, 0);
}

static void indirect_of_half_an_entry(void)
{
	virtq_desc_write(mem + TABLE, DATA, 16, 0, 0);
	virtq_driver_desc(&d, 0, TABLE, 24, VIRTQ_DESC_INDIRECT, 0);
}

static void indirect_of_nothing(void)
{
	virtq_driver_desc(&d, 0, TABLE, 0, VIRTQ_DESC_INDIRECT, 0);
}

static void indirect_in_the_hole(void)
{
	virtq_driver_desc(&d, 0, HOLE_AT, 32, VIRTQ_DESC_INDIRECT, 0);
}

static void indirect_that_wraps(void)
{
	virtq_desc_write(mem + TABLE, DATA, 16, NEXT, 0xffff);
	virtq_driver_desc(&d, 0, UINT64_MAX - 15, 0xfffffff0u,
			  VIRTQ_DESC_INDIRECT, 0);
}

static void indirect_next_beyond(void)
{
	virtq_desc_write(mem + TABLE, DATA, 16, NEXT, 1);
	virtq_desc_write(mem + TABLE + 16, DATA, 16, 0, 0);
	virtq_driver_desc(&d, 0, TABLE, 16, VIRTQ_DESC_INDIRECT, 0);
}

static void indirect_that_loops(void)
{
	virtq_desc_write(mem + TABLE, DATA, 0, NEXT, 0);
	virtq_driver_desc(&d, 0, TABLE, 16, VIRTQ_DESC_INDIRECT, 0);
}

static void more_buffers_than_fit(void)
{
	for (unsigned i = 0; i <= IOVS; i++)
		virtq_desc_write(mem + TABLE + 16 * i, DATA + 32 * i, 16,
				 i < IOVS ? NEXT : 0, (uint16_t)(i + 1));
	virtq_driver_desc(&d, 0, TABLE, 16 * (IOVS + 1), VIRTQ_DESC_INDIRECT,
			  0);
}

static void breaks_at_what_makes_no_sense(void)
{
	static void (*const bad[])(void) = {
		loop_of_one,
		loop_of_three,
		next_beyond_the_table,
		out_of_memory,
		into_the_hole,
		wraps,
		wraps_by_length,
		read_after_write,
		indirect_in_indirect,
		indirect_with_next,
		indirect_of_half_an_entry,
		indirect_of_nothing,
		indirect_in_the_hole,
		indirect_that_wraps,
		indirect_next_beyond,
		indirect_that_loops,
		more_buffers_than_fit,
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		start(i & 1);
		bad[i]();
		assert(offer_and_pop(0) == -EBADMSG);
		assert(vq.state == VIRTQ_BROKEN && !vq.out);
		assert(virtq_avail(&vq) == -EBADMSG);
		assert(virtq_pop(&vq, &chain, iov, IOVS) == -EBADMSG);
		virtq_stop(&vq);
	}
}

static void refuses_indirect_if_not_agreed_on(void)
{
	start(false);
	vq.layout.has_indirect = false;
	virtq_desc_write(mem + TABLE, DATA, 16, 0, 0);
	virtq_driver_desc(&d, 0, TABLE, 16, VIRTQ_DESC_INDIRECT, 0);
	assert(offer_and_pop(0) == -EBADMSG);
	virtq_stop(&vq);
}

static void breaks_at_heads_that_make_no_sense(void)
{
	start(false);
	assert(offer_and_pop(SIZE) == -EBADMSG);
	virtq_stop(&vq);

	/* The same head again, while it is out: what is out stays good. */
	start(false);
	virtq_driver_desc(&d, 0, DATA, 16, 0, 0);
	assert(offer_and_pop(0) == 0);
	assert(offer_and_pop(0) == -EBADMSG && vq.out == 1);
	virtq_push(&vq, 0, 0);
	virtq_publish(&vq);
	virtq_stop(&vq);

	/* An index that jumps by more than there are entries. */
	start(false);
	d.next_avail = SIZE + 1;
	(void)virtq_driver_show(&d);
	assert(virtq_avail(&vq) == -EBADMSG && vq.state == VIRTQ_BROKEN);
	virtq_stop(&vq);
}

static void refuses_rings_that_do_not_fit(void)
{
	static const uint16_t bad_sizes[] = {0, 3, 2048};
	struct virtq_layout l;

	virtq_driver_init(&d, mem, 0, SIZE, false);
	for (size_t i = 0; i < ARRAY_SIZE(bad_sizes); i++) {
		l = d.layout;
		l.size = bad_sizes[i];
		assert(virtq_start(&vq, &ram, &l) == -EINVAL);
	}
	l = d.layout;
	l.desc.a += 8;
	assert(virtq_start(&vq, &ram, &l) == -EINVAL);
	l = d.layout;
	l.used.a += 2;
	assert(virtq_start(&vq, &ram, &l) == -EINVAL);
	l = d.layout;
	l.avail.a = HOLE_AT - 4;
	assert(virtq_start(&vq, &ram, &l) == -EFAULT);
	l = d.layout;
	l.used.a = UINT64_MAX - 3;
	assert(virtq_start(&vq, &ram, &l) == -EFAULT);
	assert(vq.state == VIRTQ_STOPPED);
}

static void runs_around_the_rings_many_times(void)
{
	uint16_t head;
	uint32_t len;

	start(true);
	for (uint16_t i = 0; i < SIZE; i++)
		virtq_driver_desc(&d, i, DATA + 64u * i, 16, WRITE, 0);
	for (unsigned round = 0; round < 20000; round++) {
		for (uint16_t i = 0; i < 5; i++)
			virtq_driver_offer(&d, (uint16_t)((round + i) % SIZE));
		(void)virtq_driver_show(&d);
		assert(virtq_avail(&vq) == 5);
		for (unsigned i = 0; i < 5; i++)
			assert(virtq_pop(&vq, &chain, iov, IOVS) == 0);
		assert(virtq_avail(&vq) == 0 && vq.out == 5);
		for (unsigned i = 5; i-- > 0;) /* in another order */
			virtq_push(&vq, (uint16_t)((round + i) % SIZE), i);
		virtq_publish(&vq);
		for (unsigned i = 5; i-- > 0;) {
			assert(virtq_driver_take(&d, &head, &len));
			assert(head == (round + i) % SIZE && len == i);
		}
	}
	virtq_stop(&vq);
}

static void kicks_and_signals_only_when_asked(bool has_event_idx)
{
	uint16_t head;
	uint32_t len;

	start(has_event_idx);
	for (uint16_t i = 0; i < SIZE; i++)
		virtq_driver_desc(&d, i, DATA, 16, WRITE, 0);
	assert(!virtq_listen(&vq));
	virtq_driver_offer(&d, 0);
	assert(virtq_driver_show(&d)); /* we listened: it kicks */
	assert(pop() == 0);
	virtq_quiet(&vq);
	virtq_driver_offer(&d, 1);
	assert(!virtq_driver_show(&d));
	assert(virtq_listen(&vq)); /* it came while we did not */
	assert(pop() == 0);
	assert(!virtq_listen(&vq));

	/* The driver wants one call once both are back. */
	assert(!virtq_driver_listen(&d, 2));
	virtq_push(&vq, 1, 0);
	virtq_publish(&vq);
	assert(virtq_needs_signal(&vq)); /* the first: we know nothing yet */
	virtq_push(&vq, 0, 0);
	virtq_publish(&vq);
	assert(virtq_needs_signal(&vq));
	assert(virtq_driver_take(&d, &head, &len) && head == 1);
	assert(virtq_driver_take(&d, &head, &len) && head == 0);

	if (has_event_idx) {
		assert(!virtq_driver_listen(&d, 2));
		assert(offer_and_pop(2) == 0 && offer_and_pop(3) == 0);
		virtq_push(&vq, 2, 0);
		virtq_publish(&vq);
		assert(!virtq_needs_signal(&vq)); /* one of two */
		virtq_push(&vq, 3, 0);
		virtq_publish(&vq);
		assert(virtq_needs_signal(&vq));
	} else {
		mem[d.layout.avail.a] = 1; /* no interrupts */
		assert(offer_and_pop(2) == 0);
		virtq_push(&vq, 2, 0);
		virtq_publish(&vq);
		assert(!virtq_needs_signal(&vq));
	}
	virtq_stop(&vq);
}

int main(void)
{
	setup_memory();
	takes_a_chain_and_gives_it_back();
	joins_neighbours_but_not_read_with_write();
	splits_a_buffer_over_two_regions();
	takes_an_indirect_table();
	passes_over_buffers_of_no_bytes();
	breaks_at_what_makes_no_sense();
	refuses_indirect_if_not_agreed_on();
	breaks_at_heads_that_make_no_sense();
	refuses_rings_that_do_not_fit();
	runs_around_the_rings_many_times();
	kicks_and_signals_only_when_asked(false);
	kicks_and_signals_only_when_asked(true);
	ram_release(&ram);
	munmap(mem, MEM_LEN);
	return 0;
}
