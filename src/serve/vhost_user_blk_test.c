/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vhost_user_blk_test.c - front-ends good and bad, against a server on a
 * thread of its own
 */
#undef NDEBUG
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/array.h"
#include "base/blk.h"
#include "base/clock.h"
#include "base/loop.h"
#include "device/virtio_blk.h"
#include "serve/vhost_frontend.h"
#include "serve/vhost_user_blk.h"
#include "store/faulty.h"
#include "store/mem.h"
#include "store/slow.h"
#include "wire/bytes.h"

#define DISK	(4u << 20)
#define MEM	(2u << 20)
#define QUEUE	16u
#define HEADERS 0x1000u /* of each slot: header 16, status 1 */
#define BUFFERS 0x10000u
#define BUFFER	4096u
#define TIMEOUT 20000 /* ms: far more than any of it takes */
#define HANG	UINT64_MAX
#define FEATURES                                                               \
	(1ull << VIRTIO_VERSION_1 | 1ull << VIRTIO_RING_EVENT_IDX |            \
	 1ull << VIRTIO_RING_INDIRECT | 1ull << VIRTIO_BLK_FLUSH)

#define IN  0u
#define OUT 1u

/* The server's thread, told what to do through an eventfd. */
static struct {
	pthread_t thread;
	pthread_barrier_t is_up;
	char path[64];
	struct vhost_user_options options;
	uint64_t delay_ns; /* 0: none, not even a turn of the loop */
	unsigned nth; /* request that fails, or 0 */
	int control;
	struct loop *loop;
	struct blk *slow;
	struct vhost_user_server *server;
	struct loop_watch watch;
	_Atomic uint64_t new_delay;
	_Atomic bool is_resize;
	struct vhost_user_stats stats;
} s;

static struct vhost_frontend f;

static void on_stopped(void *owner)
{
	(void)owner;
	loop_stop(s.loop);
}

static void on_control(struct loop_watch *watch, int events)
{
	uint64_t n;

	(void)events;
	assert(read(s.control, &n, sizeof(n)) == sizeof(n));
	if (s.is_resize) {
		s.is_resize = false;
		vhost_user_server_resized(s.server);
	}
	if (s.slow)
		slow_set_delay(s.slow, s.new_delay);
	if (n < 1000) {
		loop_watch_set(watch, s.control, POLLIN);
		return;
	}
	vhost_user_server_stop(s.server, on_stopped, NULL);
}

static void *serve_thread(void *arg)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	struct blk *blk = NULL;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	(void)arg;
	memcpy(a.sun_path, s.path, strlen(s.path) + 1);
	assert(bind(fd, (struct sockaddr *)&a, sizeof(a)) == 0);
	assert(listen(fd, 8) == 0);
	assert(loop_new(&s.loop, NULL) == 0);
	assert(mem_new(DISK, 512, &blk) == 0);
	assert(faulty_new(blk, s.nth, -EIO, &blk) == 0);
	s.slow = NULL;
	if (s.delay_ns) {
		assert(slow_new(s.loop, blk, s.delay_ns, &blk) == 0);
		s.slow = blk;
	}
	assert(vhost_user_server_new(s.loop, fd, blk, &s.options, &s.server) ==
	       0);
	loop_watch_init(s.loop, &s.watch, on_control);
	loop_watch_set(&s.watch, s.control, POLLIN);
	pthread_barrier_wait(&s.is_up);
	assert(loop_run(s.loop) == 0);
	vhost_user_server_stats(s.server, &s.stats);
	assert(!s.stats.is_connected);
	assert(!vhost_user_server_free(s.server));
	blk_free(blk);
	loop_free(s.loop);
	return NULL;
}

static void tell(uint64_t n)
{
	assert(write(s.control, &n, sizeof(n)) == sizeof(n));
}

static void start_server(void)
{
	static unsigned count;

	snprintf(s.path, sizeof(s.path), "/tmp/vhost_test.%d.%u", getpid(),
		 count++);
	s.new_delay = 0;
	s.control = eventfd(0, EFD_CLOEXEC);
	pthread_barrier_init(&s.is_up, NULL, 2);
	assert(pthread_create(&s.thread, NULL, serve_thread, NULL) == 0);
	pthread_barrier_wait(&s.is_up);
}

static void stop_server(void)
{
	tell(1000);
	pthread_join(s.thread, NULL);
	pthread_barrier_destroy(&s.is_up);
	close(s.control);
	unlink(s.path);
	s.delay_ns = 0;
	s.nth = 0;
	s.options = (struct vhost_user_options){0};
}

static void connect_and_start(unsigned nqueues)
{
	assert(vhost_frontend_connect(&f, s.path) == 0);
	assert(vhost_frontend_start(&f, nqueues, QUEUE, FEATURES) == 0);
}

/* Slot @i of the queue: three descriptors, a header and a buffer of its own. */
static void offer(unsigned q, unsigned i, uint32_t type, uint64_t sector,
		  uint32_t len)
{
	struct virtq_driver *d = &f.q[q].driver;
	unsigned slot = q * 4 + i;
	uint8_t *header = f.mem + HEADERS + slot * 32;
	uint16_t first = (uint16_t)(i * 3);

	put_le32(header, type);
	put_le32(header + 4, 0);
	put_le64(header + 8, sector);
	header[16] = 0xaa;
	virtq_driver_desc(d, first, HEADERS + slot * 32, 16, VIRTQ_DESC_NEXT,
			  (uint16_t)(first + 1));
	virtq_driver_desc(d, first + 1, BUFFERS + slot * BUFFER, len,
			  VIRTQ_DESC_NEXT |
				  (type == OUT ? 0 : VIRTQ_DESC_WRITE),
			  (uint16_t)(first + 2));
	virtq_driver_desc(d, first + 2, HEADERS + slot * 32 + 16, 1,
			  VIRTQ_DESC_WRITE, 0);
	virtq_driver_offer(d, first);
}

static void show(unsigned q)
{
	if (virtq_driver_show(&f.q[q].driver))
		vhost_frontend_kick(&f, q);
}

static uint8_t *buffer(unsigned q, unsigned i)
{
	return f.mem + BUFFERS + (q * 4 + i) * BUFFER;
}

/* Wait for one to come back; its slot. */
static unsigned take(unsigned q)
{
	struct virtq_driver *d = &f.q[q].driver;
	uint16_t head;
	uint32_t len;

	while (!virtq_driver_take(d, &head, &len))
		if (!virtq_driver_listen(d, 1))
			assert(vhost_frontend_wait(&f, q, TIMEOUT) == 0);
	return head / 3;
}

/* Wait until the device has taken all that was shown: it then listens. */
static void wait_taken(unsigned q)
{
	const struct virtq_driver *d = &f.q[q].driver;
	const uint8_t *event = d->mem + d->layout.used.a + 4 + 8 * QUEUE;

	for (unsigned i = 0; get_le16(event) != d->next_avail; i++) {
		assert(i < TIMEOUT);
		usleep(1000);
	}
}

static int status(unsigned q, unsigned i)
{
	return f.mem[HEADERS + (q * 4 + i) * 32 + 16];
}

static int ask(uint32_t type, uint64_t sector, uint32_t len)
{
	offer(0, 0, type, sector, len);
	show(0);
	assert(take(0) == 0);
	return status(0, 0);
}

static void begin(void)
{
	assert(vhost_frontend_init(&f, MEM) == 0);
	start_server();
}

static void end(void)
{
	vhost_frontend_release(&f);
	stop_server();
}

static void serves_a_disk(void)
{
	struct vhost_user_msg m = {
		.request = VHOST_USER_GET_CONFIG,
		.config = {.len = 60},
	};

	s.options.serial = "disk-1";
	s.options.nqueues = 2;
	begin();
	connect_and_start(2);
	memset(buffer(0, 0), 'x', BUFFER);
	assert(ask(OUT, 8, BUFFER) == 0);
	memset(buffer(0, 0), 0, BUFFER);
	assert(ask(IN, 8, BUFFER) == 0 && buffer(0, 0)[4095] == 'x');
	assert(ask(IN, DISK / 512, 512) == 1);
	assert(ask(8, 0, 20) == 0 && !strcmp((char *)buffer(0, 0), "disk-1"));

	/* The other queue, too. */
	offer(1, 0, IN, 8, 512);
	show(1);
	assert(take(1) == 0 && status(1, 0) == 0 && buffer(1, 0)[0] == 'x');

	assert(vhost_frontend_ask(&f, &m, NULL, 0) == 0);
	assert(m.config.len == 60);
	assert(get_le64(m.config.bytes) == DISK / 512);
	assert(get_le16(m.config.bytes + 34) == 2);
	m = (struct vhost_user_msg){.request = VHOST_USER_GET_QUEUE_NUM};
	assert(vhost_frontend_ask(&f, &m, NULL, 0) == 0 && m.u64 == 2);
	assert(vhost_frontend_stop_queue(&f, 0) == 4);
	assert(vhost_frontend_stop_queue(&f, 1) == 1);
	end();
	assert(s.stats.requests == 5 && !s.stats.nonsense && !s.stats.broken);
}

static void lets_a_second_one_wait(void)
{
	struct vhost_frontend other;
	struct vhost_user_msg m = {.request = VHOST_USER_GET_FEATURES};
	struct pollfd p = {.events = POLLIN};

	begin();
	connect_and_start(1);
	assert(vhost_frontend_init(&other, MEM) == 0);
	assert(vhost_frontend_connect(&other, s.path) == 0);
	assert(vhost_frontend_send(&other, &m, NULL, 0) == 0);
	p.fd = other.fd;
	assert(poll(&p, 1, 50) == 0);
	assert(ask(IN, 0, 512) == 0);
	vhost_frontend_hang_up(&f);
	assert(vhost_frontend_receive(&other, &m, NULL) == 0);
	vhost_frontend_release(&other);
	end();
	assert(s.stats.clients == 2);
}

/* The order of things when QEMU stops a queue: no answer gets lost. */
static void stops_a_queue_when_its_requests_have_ended(void)
{
	struct vhost_user_msg m = {.request = VHOST_USER_GET_VRING_BASE};
	struct pollfd p = {.events = POLLIN};
	bool seen[3] = {false};

	s.delay_ns = HANG;
	begin();
	connect_and_start(1);
	for (unsigned i = 0; i < 3; i++)
		offer(0, i, IN, i, 512);
	show(0);
	/* They are taken before the queue is told to stop. */
	wait_taken(0);
	assert(vhost_frontend_send(&f, &m, NULL, 0) == 0);
	p.fd = f.fd;
	assert(poll(&p, 1, 50) == 0);
	s.new_delay = 0;
	tell(1);
	assert(vhost_frontend_receive(&f, &m, NULL) == 0 && m.state.num == 3);
	for (unsigned i = 0; i < 3; i++)
		seen[take(0)] = true;
	assert(seen[0] && seen[1] && seen[2]);
	end();
}

static void ends_requests_of_one_who_hung_up(void)
{
	s.delay_ns = 1;
	begin();
	for (unsigned round = 0; round < 300; round++) {
		/* Like a guest that starts anew: empty rings. */
		f.nqueues = 0;
		if (f.inflight_fd >= 0)
			close(f.inflight_fd);
		f.inflight_fd = -1;
		connect_and_start(2);
		for (unsigned i = 0; i < 4; i++) {
			offer(0, i, i & 1 ? OUT : IN, i * 8, BUFFER);
			offer(1, i, i & 1 ? OUT : IN, i * 8, BUFFER);
		}
		show(0);
		show(1);
		if (round % 3 == 0)
			(void)take(0);
		/* Sometimes in the middle of a message. */
		if (round % 5 == 0)
			assert(write(f.fd, "\1\0\0\0\1", 5) == 5);
		vhost_frontend_hang_up(&f);
	}
	end();
	assert(s.stats.clients == 300 && !s.stats.nonsense);
}

/* As after a restart of ours: what was not answered is done, nothing else. */
static void goes_on_where_an_earlier_life_was_killed(void)
{
	bool seen[4] = {false};

	begin();
	connect_and_start(1);
	for (unsigned i = 0; i < 3; i++)
		assert(ask(IN, 0, 512) == 0);
	/* An earlier life had taken two of four, and answered neither. */
	vhost_frontend_hang_up(&f);
	for (unsigned i = 0; i < 4; i++) {
		memset(buffer(0, i), 'a' + (int)i, 512);
		offer(0, i, OUT, i, 512);
	}
	(void)virtq_driver_show(&f.q[0].driver);
	{
		uint8_t *map = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
				    MAP_SHARED, f.inflight_fd, 0);

		assert(map != MAP_FAILED);
		for (unsigned i = 0; i < 2; i++) {
			put_le64(map + 16 + i * 3 * 16 + 8, 100 + i);
			map[16 + i * 3 * 16] = 1;
		}
		munmap(map, 4096);
	}
	assert(vhost_frontend_connect(&f, s.path) == 0);
	assert(vhost_frontend_start(&f, 1, QUEUE, FEATURES) == 0);
	for (unsigned i = 0; i < 4; i++) {
		unsigned slot = take(0);

		assert(!seen[slot] && status(0, slot) == 0);
		seen[slot] = true;
	}
	for (unsigned i = 0; i < 4; i++) {
		assert(ask(IN, i, 512) == 0);
		assert(buffer(0, 0)[0] == 'a' + (int)i);
	}
	assert(vhost_frontend_stop_queue(&f, 0) == 3 + 4 + 4);
	end();
	assert(s.stats.requests == 3 + 4 + 4);
}

static void stops_with_requests_in_flight(void)
{
	s.delay_ns = 20 * NS_PER_MS;
	begin();
	connect_and_start(1);
	for (unsigned i = 0; i < 4; i++)
		offer(0, i, IN, i, 512);
	show(0);
	wait_taken(0);
	s.new_delay = 20 * NS_PER_MS;
	stop_server();
	/* They were answered before the server went. */
	for (unsigned i = 0; i < 4; i++)
		assert(status(0, take(0)) == 0);
	vhost_frontend_release(&f);
}

static void answers_each_fault(void)
{
	for (unsigned n = 1; n <= 4; n++) {
		s.nth = n;
		begin();
		connect_and_start(1);
		for (unsigned i = 1; i <= 3; i++)
			assert(ask(i & 1 ? IN : OUT, 0, 512) ==
			       (i == n ? 1 : 0));
		end();
	}
}

static void breaks_a_queue_at_a_chain_that_makes_no_sense(void)
{
	struct vhost_user_msg m = {.request = VHOST_USER_SET_VRING_ERR};
	int err_fd = eventfd(0, EFD_CLOEXEC);
	struct pollfd p = {.fd = err_fd, .events = POLLIN};
	uint64_t n;

	begin();
	connect_and_start(2);
	assert(vhost_frontend_send(&f, &m, &err_fd, 1) == 0);
	m.u64 = 1;
	assert(vhost_frontend_send(&f, &m, &err_fd, 1) == 0);
	virtq_driver_desc(&f.q[0].driver, 0, MEM, 16, 0, 0);
	virtq_driver_offer(&f.q[0].driver, 0);
	show(0);
	assert(poll(&p, 1, TIMEOUT) == 1 && read(err_fd, &n, 8) == 8);
	m = (struct vhost_user_msg){.request = VHOST_USER_GET_STATUS};
	assert(vhost_frontend_ask(&f, &m, NULL, 0) == 0 && m.u64 == 64);
	/* No answer possible: no status. */
	offer(1, 0, IN, 0, 512);
	virtq_driver_desc(&f.q[1].driver, 1, BUFFERS, 512, 0, 0);
	show(1);
	assert(poll(&p, 1, TIMEOUT) == 1);
	/* The guest resets its device, and all is well. */
	assert(vhost_frontend_stop_queue(&f, 0) >= 0);
	assert(vhost_frontend_stop_queue(&f, 1) >= 0);
	vhost_frontend_hang_up(&f);
	f.nqueues = 0;
	close(f.inflight_fd);
	f.inflight_fd = -1;
	connect_and_start(1);
	assert(ask(IN, 0, 512) == 0);
	close(err_fd);
	end();
	assert(s.stats.broken == 2 && !s.stats.nonsense);
}

/* One message to a new server connection: is it hung up on? */
static bool is_nonsense(const struct vhost_user_msg *m, const int *fds,
			unsigned nfds)
{
	struct vhost_user_msg probe = {.request = VHOST_USER_GET_FEATURES};
	struct vhost_user_msg reply;
	bool is_gone;

	assert(vhost_frontend_connect(&f, s.path) == 0);
	assert(vhost_frontend_send(&f, m, fds, nfds) == 0);
	is_gone = vhost_frontend_send(&f, &probe, NULL, 0) < 0;
	while (!is_gone) {
		is_gone = vhost_frontend_receive(&f, &reply, NULL) < 0;
		if (!is_gone && reply.request == VHOST_USER_GET_FEATURES)
			break;
	}
	vhost_frontend_hang_up(&f);
	return is_gone;
}

static void hangs_up_on_nonsense(void)
{
	const uint64_t far = 1ull << 40;
	int fds[8], small = memfd_create("small", MFD_CLOEXEC);
	const struct vhost_user_msg bad[] = {
		{.request = 19}, /* SEND_RARP: not ours */
		{.request = 77},
		{.request = VHOST_USER_SET_FEATURES, .u64 = 1ull << 63},
		{.request = VHOST_USER_SET_PROTOCOL_FEATURES, .u64 = 1 << 2},
		{.request = VHOST_USER_SET_VRING_NUM, .state = {99, 16}},
		{.request = VHOST_USER_SET_VRING_NUM, .state = {0, 0}},
		{.request = VHOST_USER_SET_VRING_NUM, .state = {0, 17}},
		{.request = VHOST_USER_SET_VRING_NUM, .state = {0, 1u << 16}},
		{.request = VHOST_USER_SET_VRING_BASE, .state = {0, 1u << 16}},
		{.request = VHOST_USER_GET_VRING_BASE, .state = {16, 0}},
		{.request = VHOST_USER_SET_VRING_ENABLE, .state = {16, 1}},
		{.request = VHOST_USER_SET_VRING_ADDR, .addr = {.index = 16}},
		{.request = VHOST_USER_SET_VRING_KICK, .u64 = 0}, /* no fd */
		{.request = VHOST_USER_SET_VRING_KICK, .u64 = 255},
		{.request = VHOST_USER_SET_VRING_KICK, .u64 = 0x100},
		{.request = VHOST_USER_SET_VRING_CALL, .u64 = 0},
		{.request = VHOST_USER_SET_BACKEND_REQ_FD},
		{.request = VHOST_USER_SET_CONFIG, .config = {.len = 1}},
		{.request = VHOST_USER_SET_CONFIG,
		 .config = {.offset = 32, .len = 256}},
		{.request = VHOST_USER_GET_INFLIGHT_FD},
		{.request = VHOST_USER_GET_INFLIGHT_FD,
		 .inflight = {.nqueues = 65535, .queue_size = 65535}},
		{.request = VHOST_USER_REM_MEM_REG, .region = {0, 4096, 0, 0}},
		{.request = VHOST_USER_SET_MEM_TABLE, .mem = {.n = 8}},
		{.request = VHOST_USER_SET_LOG_BASE, .log = {4096, 0}},
		{.request = VHOST_USER_GET_FEATURES, .flags = VHOST_USER_REPLY},
	};
	const struct vhost_user_msg bad_with_fd[] = {
		{.request = VHOST_USER_ADD_MEM_REG, .region = {0, 0, 0, 0}},
		{.request = VHOST_USER_ADD_MEM_REG, .region = {0, far, 0, 0}},
		{.request = VHOST_USER_ADD_MEM_REG,
		 .region = {0, 4096, 0, far}},
		{.request = VHOST_USER_ADD_MEM_REG,
		 .region = {0, 4096, 0, UINT64_MAX - 4095}},
		{.request = VHOST_USER_ADD_MEM_REG,
		 .region = {UINT64_MAX - 4094, 4096, 0, 0}},
		{.request = VHOST_USER_ADD_MEM_REG,
		 .region = {0, 4096, UINT64_MAX - 4094, 0}},
		{.request = VHOST_USER_SET_MEM_TABLE,
		 .mem = {.n = 1, .at = {{.len = 8192}}}},
		{.request = VHOST_USER_SET_INFLIGHT_FD},
		{.request = VHOST_USER_SET_INFLIGHT_FD,
		 .inflight = {1ull << 20, 0, 1, 1024}},
		{.request = VHOST_USER_SET_INFLIGHT_FD,
		 .inflight = {4096, 1, 1, 16}},
		{.request = VHOST_USER_SET_LOG_BASE, .log = {8192, 0}},
		{.request = VHOST_USER_SET_LOG_BASE,
		 .log = {4096, UINT64_MAX - 4095}},
		/* Not an eventfd. */
		{.request = VHOST_USER_SET_VRING_KICK, .u64 = 0},
		{.request = VHOST_USER_SET_VRING_CALL, .u64 = 0},
		{.request = VHOST_USER_SET_VRING_ERR, .u64 = 0},
	};
	struct vhost_user_msg good = {
		.request = VHOST_USER_ADD_MEM_REG,
		.region = {.len = 4096},
	};

	const struct vhost_user_msg kick = {
		.request = VHOST_USER_SET_VRING_KICK,
	};
	int event = eventfd(0, EFD_CLOEXEC);

	assert(ftruncate(small, 4096) == 0);
	for (unsigned i = 0; i < 8; i++)
		fds[i] = small;
	begin();
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert(is_nonsense(&bad[i], NULL, 0));
	for (size_t i = 0; i < ARRAY_SIZE(bad_with_fd); i++)
		assert(is_nonsense(&bad_with_fd[i], &small, 1));
	assert(!is_nonsense(&good, &small, 1));
	/* A queue without size or addresses. */
	assert(is_nonsense(&kick, &event, 1));
	assert(is_nonsense(&good, fds, 2));
	good.request = VHOST_USER_SET_OWNER;
	assert(!is_nonsense(&good, fds, 8)); /* closed, not kept */

	/* Not messages at all. */
	assert(vhost_frontend_connect(&f, s.path) == 0);
	assert(write(f.fd, "GET / HTTP/1.1\r\n\r\n", 18) == 18);
	assert(vhost_frontend_receive(&f, &good, NULL) == -ECONNRESET);
	vhost_frontend_hang_up(&f);

	connect_and_start(1);
	assert(ask(IN, 0, 512) == 0);
	close(small);
	close(event);
	end();
	assert(s.stats.nonsense ==
	       ARRAY_SIZE(bad) + ARRAY_SIZE(bad_with_fd) + 3);
}

static void changes_memory_under_running_queues(void)
{
	struct vhost_user_msg add = {
		.request = VHOST_USER_ADD_MEM_REG,
		.flags = VHOST_USER_NEED_REPLY,
		.region = {.guest = 1ull << 32, .len = 1u << 20, .user = 1},
	};
	struct vhost_user_msg m;
	int fd = memfd_create("more", MFD_CLOEXEC);
	uint8_t *map;

	assert(ftruncate(fd, 1u << 20) == 0);
	map = mmap(NULL, 1u << 20, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert(map != MAP_FAILED);
	s.delay_ns = 5 * NS_PER_MS;
	begin();
	s.new_delay = s.delay_ns;
	connect_and_start(1);
	memset(buffer(0, 0), 'm', 512);
	assert(ask(OUT, 0, 512) == 0);
	for (unsigned round = 0; round < 3; round++) {
		offer(0, 1, IN, 0, 512); /* in flight meanwhile */
		show(0);
		m = add;
		assert(vhost_frontend_ask(&f, &m, &fd, 1) == 0 && !m.u64);
		m = add; /* twice: refused, and nothing worse */
		assert(vhost_frontend_ask(&f, &m, &fd, 1) == 0 && m.u64);
		assert(take(0) == 1 && status(0, 1) == 0);

		offer(0, 0, IN, 0, 512);
		virtq_driver_desc(&f.q[0].driver, 1, (1ull << 32) + 8, 512,
				  VIRTQ_DESC_NEXT | VIRTQ_DESC_WRITE, 2);
		show(0);
		assert(take(0) == 0 && status(0, 0) == 0);
		assert(map[7] == 0 && map[8] == 'm' && map[519] == 'm');
		memset(map, 0, 1024);
		m = add;
		m.request = VHOST_USER_REM_MEM_REG;
		assert(vhost_frontend_ask(&f, &m, NULL, 0) == 0 && !m.u64);
	}
	assert(ask(IN, 0, 512) == 0);

	/* A whole new table, in which the rings come to lie elsewhere. */
	offer(0, 1, IN, 0, 512);
	show(0);
	m = (struct vhost_user_msg){
		.request = VHOST_USER_SET_MEM_TABLE,
		.flags = VHOST_USER_NEED_REPLY,
		.mem = {.n = 2, .at = {add.region, f.region}},
	};
	assert(vhost_frontend_ask(&f, &m, (int[]){fd, f.mem_fd}, 2) == 0);
	assert(!m.u64 && take(0) == 1 && status(0, 1) == 0);
	assert(ask(IN, 0, 512) == 0 && buffer(0, 0)[0] == 'm');
	munmap(map, 1u << 20);
	close(fd);
	end();
}

static void logs_what_it_writes_for_a_migration(void)
{
	struct vhost_user_msg m = {
		.request = VHOST_USER_SET_LOG_BASE,
		.log = {.len = 4096},
	};
	int fd = memfd_create("log", MFD_CLOEXEC);
	uint8_t *log;
	unsigned page = BUFFERS / 4096;

	assert(ftruncate(fd, 4096) == 0);
	log = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert(log != MAP_FAILED);
	begin();
	connect_and_start(1);
	assert(vhost_frontend_ask(&f, &m, &fd, 1) == 0);
	assert(ask(IN, 0, 4096) == 0 && !log[page / 8]);
	m = (struct vhost_user_msg){
		.request = VHOST_USER_SET_FEATURES,
		.flags = VHOST_USER_NEED_REPLY,
		.u64 = FEATURES | 1ull << VHOST_USER_F_PROTOCOL_FEATURES |
		       1ull << VHOST_USER_F_LOG_ALL,
	};
	assert(vhost_frontend_ask(&f, &m, NULL, 0) == 0 && !m.u64);
	assert(ask(OUT, 0, 4096) == 0);
	assert(!(log[page / 8] >> page % 8 & 1)); /* only read */
	assert(log[0] >> (HEADERS / 4096) & 1); /* the status */
	assert(ask(IN, 0, 4096) == 0);
	assert(log[page / 8] >> page % 8 & 1);
	page = (unsigned)(f.q[0].driver.layout.used.a / 4096);
	assert(log[page / 8] >> page % 8 & 1);

	/* A new memory table does not end it. */
	m = (struct vhost_user_msg){
		.request = VHOST_USER_SET_MEM_TABLE,
		.flags = VHOST_USER_NEED_REPLY,
		.mem = {.n = 1, .at = {f.region}},
	};
	assert(vhost_frontend_ask(&f, &m, &f.mem_fd, 1) == 0 && !m.u64);
	memset(log, 0, 4096);
	assert(ask(IN, 0, 4096) == 0);
	assert(log[page / 8] >> page % 8 & 1);
	munmap(log, 4096);
	close(fd);
	end();
}

static void tells_of_a_new_size(void)
{
	struct vhost_user_msg m = {
		.request = VHOST_USER_SET_BACKEND_REQ_FD,
		.flags = VHOST_USER_NEED_REPLY,
	};
	uint8_t bytes[64];
	int pair[2];

	begin();
	connect_and_start(1);
	assert(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
	assert(vhost_frontend_ask(&f, &m, &pair[1], 1) == 0 && !m.u64);
	s.is_resize = true;
	tell(1);
	assert(read(pair[0], bytes, sizeof(bytes)) == 12);
	assert(get_le32(bytes) == VHOST_USER_BACKEND_CONFIG_CHANGE);
	assert(get_le32(bytes + 8) == 0);
	close(pair[0]);
	close(pair[1]);
	end();
}

static void wait_broken(void)
{
	struct vhost_user_msg m = {0};

	for (unsigned i = 0; !(m.u64 & 64); i++) {
		assert(i < TIMEOUT);
		usleep(1000);
		m = (struct vhost_user_msg){.request = VHOST_USER_GET_STATUS};
		assert(vhost_frontend_ask(&f, &m, NULL, 0) == 0);
	}
}

static void outlives_one_who_takes_his_memory_away(void)
{
	int files[2];

	begin();
	for (unsigned i = 0; i < 2; i++) {
		f.nqueues = 0;
		connect_and_start(1);
		assert(ask(OUT, 0, 512) == 0);
		files[0] = f.mem_fd;
		files[1] = f.inflight_fd;
		/* The record is sealed, or should be. */
		assert(ftruncate(files[1], 0) < 0);
		assert(ftruncate(files[0], 0) == 0);
		vhost_frontend_kick(&f, 0);
		wait_broken();
		vhost_frontend_hang_up(&f);
		assert(ftruncate(f.mem_fd, MEM) == 0);
		close(f.inflight_fd);
		f.inflight_fd = -1;
	}
	f.nqueues = 0;
	connect_and_start(1);
	assert(ask(IN, 0, 512) == 0);
	end();
	assert(s.stats.clients == 3 && s.stats.broken == 2);
}

/* Its counter full, and a write to it would wait: not for us. */
static void does_not_wait_for_one_who_takes_no_calls(void)
{
	struct vhost_user_msg m = {.request = VHOST_USER_SET_VRING_CALL};
	const uint64_t full = UINT64_MAX - 1;
	int event = eventfd(0, EFD_CLOEXEC); /* blocks */

	begin();
	connect_and_start(1);
	assert(write(event, &full, sizeof(full)) == sizeof(full));
	assert(vhost_frontend_send(&f, &m, &event, 1) == 0);
	m = (struct vhost_user_msg){.request = VHOST_USER_GET_FEATURES};
	assert(vhost_frontend_ask(&f, &m, NULL, 0) == 0);
	for (unsigned i = 0; i < 3; i++) {
		struct virtq_driver *d = &f.q[0].driver;
		uint16_t head;
		uint32_t len;

		offer(0, i, IN, 0, 512);
		(void)virtq_driver_listen(d, 1);
		show(0);
		while (!virtq_driver_take(d, &head, &len))
			usleep(100);
	}
	/* Those that wait are let go, for the server to end. */
	assert(read(event, &m.u64, sizeof(m.u64)) == sizeof(m.u64));
	close(event);
	end();
}

static void survives_resets(void)
{
	static const uint32_t resets[] = {
		VHOST_USER_RESET_OWNER,
		VHOST_USER_RESET_DEVICE,
		VHOST_USER_SET_STATUS,
	};

	s.delay_ns = 1;
	begin();
	s.new_delay = 1;
	for (size_t i = 0; i < ARRAY_SIZE(resets); i++) {
		struct vhost_user_msg m = {
			.request = resets[i],
			.flags = VHOST_USER_NEED_REPLY,
		};

		f.nqueues = 0;
		connect_and_start(2);
		offer(1, 0, IN, 0, 512);
		show(1);
		assert(vhost_frontend_ask(&f, &m, NULL, 0) == 0 && !m.u64);
		vhost_frontend_hang_up(&f);
		close(f.inflight_fd);
		f.inflight_fd = -1;
	}
	end();
	assert(!s.stats.nonsense);
}

int main(void)
{
	serves_a_disk();
	lets_a_second_one_wait();
	stops_a_queue_when_its_requests_have_ended();
	ends_requests_of_one_who_hung_up();
	goes_on_where_an_earlier_life_was_killed();
	stops_with_requests_in_flight();
	answers_each_fault();
	breaks_a_queue_at_a_chain_that_makes_no_sense();
	hangs_up_on_nonsense();
	changes_memory_under_running_queues();
	logs_what_it_writes_for_a_migration();
	tells_of_a_new_size();
	outlives_one_who_takes_his_memory_away();
	does_not_wait_for_one_who_takes_no_calls();
	survives_resets();
	return 0;
}
