/* SPDX-License-Identifier: Apache-2.0 */
/*
 * replay.c - many clones boot at once, without guests
 *
 *	zcat TRACE | replay [--clones N] [--think FACTOR] [--verify FILE] URI
 *
 * Each clone is one NBD connection to URI that asks what a recorded boot
 * asked (bench/trace_file.py has the format): a read is issued when the read
 * that it depends on has completed and the guest's think time, times FACTOR,
 * has passed. FACTOR 0 leaves the think time out, so that the disk is all there
 * is to wait for. With --verify every byte is compared with FILE.
 *
 * The clock starts before the clones connect. One thread serves them all,
 * so that little of the machine is taken from the server under test. Prints
 * one JSON object:
 *	seconds		until the last clone was done
 *	clone_seconds	of each clone, in the order they were done
 *	p50_us, p99_us, max_us	of all reads, from issue to completion
 *	cpu_seconds	our own
 * Exits 1 with a line on stderr at the first read that fails or differs.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <libnbd.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>

enum {
	READS_MAX = 1 << 20, /* in a trace */
	LENGTH_MAX = 1 << 25, /* bytes of one read: what servers must allow */
	CLONES_MAX = 1000, /* connections */
};

/* A read of the trace. Those that depend on it are a list by index. */
struct read {
	uint64_t offset;
	uint32_t length;
	uint32_t think_us;
	int first; /* that depends on this one, or -1 */
	int sibling; /* next with the same dependency, or -1 */
};

/* A read of one clone: waits for its time, in flight, or completed. */
struct op {
	struct clone *clone;
	int index;
	int error;
	uint64_t due_ns;
	uint64_t issued_ns;
	struct op *next; /* in done or spare */
	char *data;
};

struct clone {
	struct nbd_handle *nbd;
	int left; /* reads not completed */
	bool started;
};

static struct read *reads;
static int nreads;
static int first_read = -1; /* that depends on none */
static uint32_t longest;
static double think = 1;
static const char *image; /* to verify, or NULL */
static uint64_t image_size;

static struct op *done, **done_end = &done; /* in the order they completed */
static struct op *spare;
static struct op **heap; /* those that wait, the next due first */
static int nheap, heap_room;

static uint64_t *latency_ns;
static size_t nlatency;
static uint64_t start_ns;

__attribute__((noreturn, format(printf, 1, 2))) static void die(const char *fmt,
								...)
{
	va_list ap;

	fputs("replay: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	exit(1);
}

static void *need(void *p)
{
	if (!p)
		die("out of memory");
	return p;
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

static void load_trace(FILE *f)
{
	char line[256];

	reads = need(calloc(READS_MAX, sizeof(*reads)));
	while (fgets(line, sizeof(line), f)) {
		uint64_t offset;
		uint32_t length;
		int index, dep;
		long long us;
		int *link;

		if (line[0] == '#')
			continue;
		if (sscanf(line, "%d %*d %*d %" SCNu64 " %" SCNu32 " %d %lld",
			   &index, &offset, &length, &dep, &us) != 5 ||
		    index != nreads || dep < -1 || dep >= index || !length ||
		    length > LENGTH_MAX || us < 0 || us > UINT32_MAX ||
		    nreads == READS_MAX)
			die("not a line of a trace: %s", line);
		reads[nreads++] = (struct read){.offset = offset,
						.length = length,
						.think_us = (uint32_t)us,
						.first = -1,
						.sibling = -1};
		/* At the end of the list: in the order of the trace. */
		link = dep < 0 ? &first_read : &reads[dep].first;
		while (*link >= 0)
			link = &reads[*link].sibling;
		*link = index;
		if (length > longest)
			longest = length;
	}
	if (!nreads)
		die("the trace is empty");
}

static void load_image(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	void *p;

	if (fd < 0 || fstat(fd, &st) < 0)
		die("%s: %s", path, strerror(errno));
	image_size = (uint64_t)st.st_size;
	p = mmap(NULL, image_size, PROT_READ, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		die("%s: %s", path, strerror(errno));
	image = p;
}

static struct op *get_op(struct clone *c, int index)
{
	struct op *op = spare;

	if (op) {
		spare = op->next;
	} else {
		op = need(malloc(sizeof(*op)));
		op->data = need(malloc(longest));
	}
	op->clone = c;
	op->index = index;
	op->error = 0;
	return op;
}

/* Inside libnbd, which must not be called from here: only note it. */
static int completed(void *data, int *error)
{
	struct op *op = data;

	op->error = *error;
	op->next = NULL;
	*done_end = op;
	done_end = &op->next;
	return 1;
}

static void issue(struct op *op)
{
	const struct read *r = &reads[op->index];
	nbd_completion_callback cb = {.callback = completed, .user_data = op};

	op->issued_ns = now_ns();
	if (nbd_aio_pread(op->clone->nbd, op->data, r->length, r->offset, cb,
			  0) < 0)
		die("read %d: %s", op->index, nbd_get_error());
}

static void heap_push(struct op *op)
{
	int i = nheap++;

	if (nheap > heap_room) {
		heap_room = heap_room ? 2 * heap_room : 64;
		heap = need(realloc(heap, (size_t)heap_room * sizeof(*heap)));
	}
	for (; i && heap[(i - 1) / 2]->due_ns > op->due_ns; i = (i - 1) / 2)
		heap[i] = heap[(i - 1) / 2];
	heap[i] = op;
}

static struct op *heap_pop(void)
{
	struct op *top = heap[0];
	struct op *last = heap[--nheap];
	int i = 0;

	while (2 * i + 1 < nheap) {
		int child = 2 * i + 1;

		if (child + 1 < nheap &&
		    heap[child + 1]->due_ns < heap[child]->due_ns)
			child++;
		if (heap[child]->due_ns >= last->due_ns)
			break;
		heap[i] = heap[child];
		i = child;
	}
	heap[i] = last;
	return top;
}

/* What waited for a read, or with the list of the first ones for the start. */
static void follow(struct clone *c, int index)
{
	for (; index >= 0; index = reads[index].sibling) {
		struct op *op = get_op(c, index);

		op->due_ns = now_ns() +
			     (uint64_t)(think * 1000 * reads[index].think_us);
		if (think > 0 && reads[index].think_us)
			heap_push(op);
		else
			issue(op);
	}
}

static void check(const struct op *op)
{
	const struct read *r = &reads[op->index];

	if (op->error)
		die("read %d, %u bytes at %" PRIu64 ": %s", op->index,
		    r->length, r->offset, strerror(op->error));
	if (!image)
		return;
	if (r->length > image_size || r->offset > image_size - r->length)
		die("read %d is beyond the image to verify with", op->index);
	if (memcmp(op->data, image + r->offset, r->length) != 0)
		die("read %d, %u bytes at %" PRIu64 ": not what the image has",
		    op->index, r->length, r->offset);
}

/* Ends what has completed; returns how many clones are done with that. */
static int finish(uint64_t *clone_ns)
{
	int n = 0;

	while (done) {
		struct op *op = done;
		struct clone *c = op->clone;
		uint64_t now = now_ns();

		done = op->next;
		if (!done)
			done_end = &done;
		check(op);
		latency_ns[nlatency++] = now - op->issued_ns;
		op->next = spare;
		spare = op;
		if (!--c->left)
			clone_ns[n++] = now - start_ns;
		follow(c, reads[op->index].first);
	}
	return n;
}

static short poll_events(struct nbd_handle *nbd)
{
	unsigned int dir = nbd_aio_get_direction(nbd);

	return (short)((dir & LIBNBD_AIO_DIRECTION_READ ? POLLIN : 0) |
		       (dir & LIBNBD_AIO_DIRECTION_WRITE ? POLLOUT : 0));
}

static void notify(struct clone *c, short revents)
{
	unsigned int dir = nbd_aio_get_direction(c->nbd);
	int r = 0;

	if (revents & (POLLIN | POLLHUP | POLLERR) &&
	    dir & LIBNBD_AIO_DIRECTION_READ)
		r = nbd_aio_notify_read(c->nbd);
	else if (revents & POLLOUT && dir & LIBNBD_AIO_DIRECTION_WRITE)
		r = nbd_aio_notify_write(c->nbd);
	if (r < 0)
		die("%s", nbd_get_error());
	if (nbd_aio_is_dead(c->nbd) || nbd_aio_is_closed(c->nbd))
		die("the server closed the connection");
	if (!c->started && nbd_aio_is_ready(c->nbd)) {
		c->started = true;
		follow(c, first_read);
	}
}

static int timeout_ms(void)
{
	uint64_t now = now_ns();

	if (!nheap)
		return -1;
	if (heap[0]->due_ns <= now)
		return 0;
	return (int)((heap[0]->due_ns - now + 999999) / 1000000);
}

static void replay(struct clone *clones, int n, uint64_t *clone_ns)
{
	struct pollfd *fds = need(calloc((size_t)n, sizeof(*fds)));
	int ndone = 0, turn = 0;

	while (ndone < n) {
		for (int i = 0; i < n; i++) {
			fds[i].fd = nbd_aio_get_fd(clones[i].nbd);
			fds[i].events = poll_events(clones[i].nbd);
		}
		if (poll(fds, (nfds_t)n, timeout_ms()) < 0 && errno != EINTR)
			die("poll: %s", strerror(errno));
		/*
		 * Another clone is the first each time: it would always have
		 * its answer by the next round, and the last never.
		 */
		turn = (turn + 1) % n;
		for (int i = 0; i < n; i++) {
			int at = (turn + i) % n;

			if (fds[at].revents)
				notify(&clones[at], fds[at].revents);
		}
		while (nheap && heap[0]->due_ns <= now_ns())
			issue(heap_pop());
		ndone += finish(clone_ns + ndone);
	}
	free(fds);
}

static void connect_clone(struct clone *c, const char *uri)
{
	*c = (struct clone){.nbd = nbd_create(), .left = nreads};
	/* No work that a guest would not have: the replies are checked here. */
	if (!c->nbd || nbd_set_pread_initialize(c->nbd, false) < 0 ||
	    nbd_aio_connect_uri(c->nbd, uri) < 0)
		die("%s: %s", uri, nbd_get_error());
}

static int by_value(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static void report(int n, const uint64_t *clone_ns)
{
	uint64_t bytes = 0;
	struct rusage ru;

	for (int i = 0; i < nreads; i++)
		bytes += reads[i].length;
	(void)getrusage(RUSAGE_SELF, &ru);
	qsort(latency_ns, nlatency, sizeof(*latency_ns), by_value);
	printf("{\"clones\": %d, \"reads\": %zu, \"bytes\": %" PRIu64 ", ", n,
	       nlatency, bytes * (uint64_t)n);
	printf("\"seconds\": %.6f, ", (double)clone_ns[n - 1] / 1e9);
	printf("\"p50_us\": %.1f, \"p99_us\": %.1f, \"max_us\": %.1f, ",
	       (double)latency_ns[nlatency / 2] / 1e3,
	       (double)latency_ns[nlatency * 99 / 100] / 1e3,
	       (double)latency_ns[nlatency - 1] / 1e3);
	printf("\"cpu_seconds\": %.3f, \"clone_seconds\": [",
	       (double)(ru.ru_utime.tv_sec + ru.ru_stime.tv_sec) +
		       (double)(ru.ru_utime.tv_usec + ru.ru_stime.tv_usec) /
			       1e6);
	for (int i = 0; i < n; i++)
		printf("%s%.6f", i ? ", " : "", (double)clone_ns[i] / 1e9);
	printf("]}\n");
}

static int usage(void)
{
	fprintf(stderr, "usage: replay [--clones N] [--think FACTOR] "
			"[--verify FILE] URI <TRACE\n");
	return 2;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"clones", required_argument, NULL, 'c'},
		{"think", required_argument, NULL, 't'},
		{"verify", required_argument, NULL, 'v'},
		{NULL, 0, NULL, 0}};
	struct clone *clones;
	uint64_t *clone_ns;
	long n = 1;
	int opt;

	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (opt == 'c')
			n = strtol(optarg, NULL, 10);
		else if (opt == 't')
			think = strtod(optarg, NULL);
		else if (opt == 'v')
			load_image(optarg);
		else
			return usage();
	}
	if (argc - optind != 1 || n < 1 || n > CLONES_MAX || think < 0)
		return usage();
	load_trace(stdin);
	clones = need(calloc((size_t)n, sizeof(*clones)));
	clone_ns = need(calloc((size_t)n, sizeof(*clone_ns)));
	latency_ns =
		need(calloc((size_t)n * (size_t)nreads, sizeof(*latency_ns)));

	start_ns = now_ns();
	for (int i = 0; i < n; i++)
		connect_clone(&clones[i], argv[optind]);
	replay(clones, (int)n, clone_ns);
	report((int)n, clone_ns);
	for (int i = 0; i < n; i++)
		nbd_close(clones[i].nbd);
	free(latency_ns);
	free(clone_ns);
	free(clones);
	return 0;
}
