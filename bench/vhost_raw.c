/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vhost_raw.c - how fast a vhost-user-blk back-end is, and what it costs
 *
 *	vhost_raw SOCKET PID [SECONDS]
 *
 * PID is the back-end's, for its CPU time. Prints a line per case:
 *
 *	NAME iops=N us_cpu=N p50_us=N
 *
 * Sleeps between calls as a guest does, and asks for a call as Linux does: one
 * for the next chain that comes back.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/array.h"
#include "base/clock.h"
#include "device/virtio_blk.h"
#include "serve/vhost_frontend.h"
#include "wire/bytes.h"

#define MEM_LEN	   (64u << 20)
#define QUEUE_SIZE 128u
#define HEADERS	   0x1000u /* 32 bytes for each slot: header, status */
#define BUFFERS	   (1u << 20)
#define DEPTH_MAX  32u
#define SAMPLES	   (1u << 20)

static struct vhost_frontend f;
static uint64_t disk_len;
static uint32_t latency_ns[SAMPLES];

struct bench {
	const char *name;
	unsigned depth;
	uint32_t len;
	bool is_random;
};

static uint64_t cpu_ticks(int pid)
{
	char path[64], line[1024], *at;
	unsigned long user, sys;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	file = fopen(path, "r");
	if (!file || !fgets(line, sizeof(line), file))
		exit(1);
	fclose(file);
	at = strrchr(line, ')');
	if (!at || sscanf(at,
			  ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u "
			  "%lu %lu",
			  &user, &sys) != 2)
		exit(1);
	return user + sys;
}

/* A slot's three descriptors: header, data, status. */
static void set_up_slot(unsigned i, uint32_t len)
{
	struct virtq_driver *d = &f.q[0].driver;
	uint64_t header = HEADERS + i * 32;

	virtq_driver_desc(d, i * 3, header, 16, VIRTQ_DESC_NEXT,
			  (uint16_t)(i * 3 + 1));
	virtq_driver_desc(d, i * 3 + 1, BUFFERS + (uint64_t)i * (1u << 20), len,
			  VIRTQ_DESC_NEXT | VIRTQ_DESC_WRITE,
			  (uint16_t)(i * 3 + 2));
	virtq_driver_desc(d, i * 3 + 2, header + 16, 1, VIRTQ_DESC_WRITE, 0);
}

static uint64_t random_u64(void)
{
	static uint64_t x = 88172645463325252ull;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return x;
}

static void offer(const struct bench *b, unsigned slot, uint64_t *next)
{
	uint8_t *header = f.mem + HEADERS + slot * 32;
	uint64_t at;

	if (b->is_random) {
		at = random_u64() % (disk_len / b->len) * b->len;
	} else {
		at = *next;
		*next = (*next + b->len) % (disk_len / b->len * b->len);
	}
	memset(header, 0, 17);
	header[16] = 0xff;
	put_le64(header + 8, at / 512);
	virtq_driver_offer(&f.q[0].driver, (uint16_t)(slot * 3));
}

static int by_size(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static void run(const struct bench *b, int pid, double seconds)
{
	struct virtq_driver *d = &f.q[0].driver;
	uint64_t began[DEPTH_MAX], start = clock_ns(), now = start, next = 0;
	uint64_t count = 0, ticks = cpu_ticks(pid);
	double took, cpu;

	for (unsigned i = 0; i < b->depth; i++) {
		set_up_slot(i, b->len);
		offer(b, i, &next);
		began[i] = start;
	}
	if (virtq_driver_show(d))
		vhost_frontend_kick(&f, 0);
	while (now - start < (uint64_t)(seconds * NS_PER_S)) {
		uint16_t head;
		uint32_t len;
		bool any = false;

		while (virtq_driver_take(d, &head, &len)) {
			unsigned slot = head / 3;

			if (f.mem[HEADERS + slot * 32 + 16]) {
				fprintf(stderr, "a request failed\n");
				exit(1);
			}
			now = clock_ns();
			latency_ns[count++ % SAMPLES] =
				(uint32_t)(now - began[slot]);
			offer(b, slot, &next);
			began[slot] = now;
			any = true;
		}
		if (any && virtq_driver_show(d))
			vhost_frontend_kick(&f, 0);
		if (virtq_driver_listen(d, 1))
			continue;
		if (vhost_frontend_wait(&f, 0, 5000) < 0) {
			fprintf(stderr, "no call for 5 s\n");
			exit(1);
		}
	}
	took = (double)(now - start) / 1e9;
	cpu = (double)(cpu_ticks(pid) - ticks) / (double)sysconf(_SC_CLK_TCK);
	/* The rest comes back before the next case begins. */
	for (unsigned left = b->depth; left;) {
		uint16_t head;
		uint32_t len;

		while (virtq_driver_take(d, &head, &len))
			left--;
		if (left && !virtq_driver_listen(d, 1) &&
		    vhost_frontend_wait(&f, 0, 5000) < 0)
			exit(1);
	}
	qsort(latency_ns, min_u64(count, SAMPLES), sizeof(latency_ns[0]),
	      by_size);
	printf("%-16s iops=%.0f us_cpu=%.2f p50_us=%.1f\n", b->name,
	       (double)count / took, cpu * 1e6 / (double)count,
	       latency_ns[min_u64(count, SAMPLES) / 2] / 1e3);
	fflush(stdout);
}

int main(int argc, char **argv)
{
	static const struct bench benches[] = {
		{"rand4k-qd1", 1, 4096, true},
		{"rand4k-qd32", 32, 4096, true},
		{"seq128k-qd8", 8, 128 * 1024, false},
	};
	struct vhost_user_msg config = {
		.request = VHOST_USER_GET_CONFIG,
		.config = {.len = 60},
	};
	uint64_t features =
		1ull << VIRTIO_VERSION_1 | 1ull << VIRTIO_RING_EVENT_IDX |
		1ull << VIRTIO_RING_INDIRECT | 1ull << VIRTIO_BLK_FLUSH;
	double seconds = argc > 3 ? strtod(argv[3], NULL) : 3;
	int pid;

	if (argc < 3) {
		fprintf(stderr, "usage: vhost_raw SOCKET PID [SECONDS]\n");
		return 2;
	}
	pid = (int)strtol(argv[2], NULL, 10);
	if (vhost_frontend_init(&f, MEM_LEN) < 0 ||
	    vhost_frontend_connect(&f, argv[1]) < 0 ||
	    vhost_frontend_start(&f, 1, QUEUE_SIZE, features) < 0 ||
	    vhost_frontend_ask(&f, &config, NULL, 0) < 0) {
		fprintf(stderr, "%s: cannot start\n", argv[1]);
		return 1;
	}
	disk_len = get_le64(config.config.bytes) * 512;
	for (size_t i = 0; i < ARRAY_SIZE(benches); i++)
		run(&benches[i], pid, seconds);
	if (vhost_frontend_stop_queue(&f, 0) < 0)
		return 1;
	vhost_frontend_release(&f);
	return 0;
}
