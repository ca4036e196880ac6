/* SPDX-License-Identifier: Apache-2.0 */
/*
 * nbd_test.c - what only the server's own side can see: exports and their
 * clients, requests that hang or fail below, and the end of it all
 *
 * The protocol is tried from outside, in test/nbd/.
 */
#undef NDEBUG
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/blk.h"
#include "base/loop.h"
#include "serve/nbd.h"
#include "serve/nbd_buf.h"
#include "store/faulty.h"
#include "store/mem.h"
#include "store/slow.h"
#include "wire/nbd_msg.h"

#define SIZE 65536u

static struct loop *loop;
static struct nbd_server *server;
static struct loop_task no_wait;
static int nstopped, nremoved;
static unsigned nclients, nchanges;

/* Client and server are one thread: while this task is set, neither waits. */
static void set_again(struct loop_task *task)
{
	loop_defer(loop, task);
}

static void on_count(void *owner)
{
	++*(int *)owner;
}

static void on_clients(void *owner, unsigned count)
{
	(void)owner;
	nclients = count;
	nchanges++;
}

static void set_up(void)
{
	struct nbd_conf conf = {.requests_max = 8, .drain_ms = 50};

	nstopped = nremoved = 0;
	nclients = nchanges = 0;
	assert(loop_new(&loop, NULL) == 0);
	loop_task_init(&no_wait, set_again);
	loop_defer(loop, &no_wait);
	assert(nbd_server_new(loop, &conf, &server) == 0);
}

static void tear_down(void)
{
	nbd_server_stop(server, on_count, &nstopped);
	for (int i = 0; !nstopped; i++) {
		assert(i < 1000000);
		assert(loop_turn(loop) == 0);
	}
	server = nbd_server_free(server);
	loop_task_cancel(&no_wait);
	loop = loop_free(loop);
}

static struct nbd_export *add(const char *name, struct blk *blk)
{
	struct nbd_export_conf conf = {
		.name = name,
		.blk = blk,
		.on_clients = on_clients,
	};
	struct nbd_export *export;

	assert(nbd_server_add(server, &conf, &export) == 0);
	return export;
}

/* Turn until @len bytes have come. */
static void get(int fd, void *at, size_t len)
{
	for (size_t n = 0; n < len;) {
		ssize_t got = recv(fd, (char *)at + n, len - n, MSG_DONTWAIT);

		assert(got != 0);
		if (got > 0)
			n += (size_t)got;
		else
			assert(errno == EAGAIN);
		assert(loop_turn(loop) == 0);
	}
}

static bool is_hung_up(int fd)
{
	char byte;

	return recv(fd, &byte, 1, MSG_DONTWAIT) == 0;
}

static void turns(int n)
{
	while (n--)
		assert(loop_turn(loop) == 0);
}

/* A client of the default export, its handshake done. */
static int new_client(void)
{
	uint8_t out[4 + NBD_OPTION_LEN], in[NBD_HELLO_LEN];
	int fds[2];

	assert(!socketpair(AF_UNIX, SOCK_STREAM, 0, fds));
	assert(nbd_server_connect(server, fds[0], fds[0]) == 0);
	get(fds[1], in, NBD_HELLO_LEN);
	put_be32(out, NBD_FIXED_NEWSTYLE | NBD_NO_ZEROES);
	memcpy(out + 4, in + 8, 8);
	put_be32(out + 12, NBD_OPT_EXPORT_NAME);
	put_be32(out + 16, 0);
	assert(send(fds[1], out, sizeof(out), 0) == sizeof(out));
	get(fds[1], in, NBD_EXPORT_LEN);
	assert(get_be64(in) == SIZE);
	return fds[1];
}

static void ask(int fd, uint16_t type, uint64_t cookie, uint32_t len)
{
	uint8_t out[NBD_REQUEST_LEN + 512] = {0};
	size_t payload = type == NBD_CMD_WRITE ? len : 0;

	put_be32(out, 0x25609513);
	put_be16(out + 6, type);
	put_be64(out + 8, cookie);
	put_be32(out + 24, len);
	assert(payload <= 512);
	assert(send(fd, out, NBD_REQUEST_LEN + payload, 0) ==
	       (ssize_t)(NBD_REQUEST_LEN + payload));
}

static uint32_t answer(int fd, uint64_t cookie, uint32_t payload)
{
	uint8_t in[NBD_SIMPLE_LEN + 512];

	get(fd, in, NBD_SIMPLE_LEN);
	assert(get_be64(in + 8) == cookie);
	if (!get_be32(in + 4))
		get(fd, in + NBD_SIMPLE_LEN, payload);
	return get_be32(in + 4);
}

static void every_request_is_answered_whichever_fails(void)
{
	static const struct {
		uint16_t type;
		uint32_t len, payload;
	} kinds[] = {
		{NBD_CMD_READ, 512, 512}, {NBD_CMD_WRITE, 512, 0},
		{NBD_CMD_FLUSH, 0, 0},	  {NBD_CMD_TRIM, 512, 0},
		{NBD_CMD_CACHE, 512, 0},  {NBD_CMD_WRITE_ZEROES, 512, 0},
	};
	const unsigned n = sizeof(kinds) / sizeof(kinds[0]);

	for (unsigned nth = 1; nth <= n + 1; nth++) {
		struct blk *blk;
		int fd;

		set_up();
		assert(mem_new(SIZE, 512, &blk) == 0);
		assert(faulty_new(blk, nth, -ENOSPC, &blk) == 0);
		(void)add("a", blk);
		fd = new_client();
		for (unsigned i = 0; i < n; i++)
			ask(fd, kinds[i].type, i, kinds[i].len);
		for (unsigned i = 0; i < n; i++)
			assert(answer(fd, i, kinds[i].payload) ==
			       (i + 1 == nth ? NBD_ENOSPC : 0));
		assert(nbd_server_stats(server)->errors == (nth <= n));
		(void)close(fd);
		tear_down();
		blk_free(blk);
	}
}

static void a_client_may_vanish_while_the_store_hangs(void)
{
	struct nbd_export *export;
	struct blk *blk;
	int fd, other;

	set_up();
	assert(mem_new(SIZE, 512, &blk) == 0);
	assert(slow_new(loop, blk, SLOW_HANG, &blk) == 0);
	export = add("a", blk);
	fd = new_client();
	other = new_client();
	assert(nclients == 2 && nchanges == 2);
	for (unsigned i = 0; i < 20; i++)
		ask(fd, i & 1 ? NBD_CMD_WRITE : NBD_CMD_READ, i, 512);
	turns(100);
	assert(slow_waiting(blk) == 8); /* requests_max */
	(void)close(fd);
	turns(100);
	assert(nclients == 2); /* it stays until its requests have ended */

	nbd_export_remove(export, on_count, &nremoved);
	assert(!nbd_server_find(server, "a"));
	turns(100);
	assert(is_hung_up(other) && !nremoved);
	slow_set_delay(blk, 0);
	while (!nremoved)
		turns(1);
	assert(nclients == 0 && nchanges == 4);
	assert(slow_waiting(blk) == 0);
	blk_free(blk); /* nobody touches it any more */
	(void)close(other);
	tear_down();
}

static void it_stops_only_after_the_last_request(void)
{
	struct blk *blk;
	int fd;

	set_up();
	assert(mem_new(SIZE, 512, &blk) == 0);
	assert(slow_new(loop, blk, SLOW_HANG, &blk) == 0);
	(void)add("a", blk);
	fd = new_client();
	ask(fd, NBD_CMD_READ, 1, 512);
	turns(100);
	nbd_server_stop(server, on_count, &nstopped);
	usleep(60 * 1000); /* longer than it drains */
	turns(1000);
	assert(!nstopped && is_hung_up(fd));
	assert(nbd_server_connect(server, dup(fd), dup(fd)) == -ESHUTDOWN);
	slow_set_delay(blk, 0);
	while (!nstopped)
		turns(1);
	server = nbd_server_free(server);
	blk_free(blk);
	(void)close(fd);
	loop_task_cancel(&no_wait);
	loop = loop_free(loop);
}

static void an_export_may_be_removed_while_the_server_stops(void)
{
	struct nbd_export *a, *b;
	struct blk *blk;

	for (int is_first = 0; is_first < 2; is_first++) {
		set_up();
		assert(mem_new(SIZE, 512, &blk) == 0);
		a = add("a", blk);
		b = add("b", blk);
		if (is_first)
			nbd_export_remove(a, on_count, &nremoved);
		nbd_server_stop(server, on_count, &nstopped);
		if (!is_first)
			nbd_export_remove(b, on_count, &nremoved);
		while (!nstopped)
			turns(1);
		assert(nremoved == 1 && nstopped == 1);
		server = nbd_server_free(server);
		blk_free(blk);
		loop_task_cancel(&no_wait);
		loop = loop_free(loop);
	}
}

static void exports_come_and_go_by_name(void)
{
	static char name[NBD_STRING_MAX + 2];
	struct nbd_export_conf conf = {.name = "a"};
	struct nbd_export *a, *b;
	struct blk *blk;

	set_up();
	assert(mem_new(SIZE, 512, &blk) == 0);
	a = add("a", blk);
	b = add("b", blk);
	assert(nbd_server_find(server, "a") == a);
	assert(nbd_server_find(server, "b") == b);
	assert(!nbd_server_find(server, ""));
	conf.blk = blk;
	assert(nbd_server_add(server, &conf, NULL) == -EEXIST);
	memset(name, 'x', sizeof(name) - 1);
	conf.name = name;
	assert(nbd_server_add(server, &conf, NULL) == -EINVAL);
	conf.name = "c";
	conf.description = name;
	assert(nbd_server_add(server, &conf, NULL) == -EINVAL);

	nbd_export_remove(a, on_count, &nremoved);
	assert(!nremoved && !nbd_server_find(server, "a"));
	a = add("a", blk); /* the name is free at once */
	turns(2);
	assert(nremoved == 1);
	assert(nbd_export_stats(a)->connections == 0);
	tear_down(); /* with exports there */
	blk_free(blk);
}

static void buffers_are_kept_up_to_a_limit(void)
{
	struct nbd_bufs bufs = {.kept_max = 3 * 4096};
	struct nbd_buf *a = nbd_buf_take(&bufs, 1);
	struct nbd_buf *b = nbd_buf_take(&bufs, 4096);
	struct nbd_buf *c = nbd_buf_take(&bufs, 4097);
	struct nbd_buf *d = nbd_buf_take(&bufs, NBD_PAYLOAD_MAX);

	assert(a && b && c && d);
	memset(a->at - NBD_BUF_HEAD, 'h', NBD_BUF_HEAD + 4096);
	memset(c->at - NBD_BUF_HEAD, 'h', NBD_BUF_HEAD + 4097);
	d->at[NBD_PAYLOAD_MAX - 1] = 'x';
	nbd_buf_give(&bufs, a);
	nbd_buf_give(&bufs, b);
	nbd_buf_give(&bufs, c); /* over the limit */
	nbd_buf_give(&bufs, d); /* too large for any list */
	nbd_buf_give(&bufs, NULL);
	assert(bufs.kept == 2 * 4096);
	assert(nbd_buf_take(&bufs, 4096) == b); /* the last is the first */
	assert(nbd_buf_take(&bufs, 10) == a);
	nbd_buf_give(&bufs, a);
	nbd_buf_give(&bufs, b);
	nbd_bufs_release(&bufs);
	assert(!bufs.kept);
}

static struct nbd_kept kept;
static uint8_t kept_rx[512];
static int nkept;

static void on_kept(void *owner, const struct nbd_kept *what)
{
	(void)owner;
	nkept++;
	kept = *what;
	kept.fd = dup(what->fd);
	kept.name = "a";
	assert(kept.fd >= 0 && !strcmp(what->name, "a"));
	assert(what->rx_len <= sizeof(kept_rx));
	memcpy(kept_rx, what->rx, what->rx_len);
	kept.rx = kept_rx;
}

/* A server in place of the one that @kept is from. */
static void next_server(struct blk *blk, enum nbd_tls_mode tls)
{
	struct nbd_conf conf = {.drain_ms = 50};

	nbd_server_stop(server, on_count, &nstopped);
	while (!nstopped)
		assert(loop_turn(loop) == 0);
	nstopped = 0;
	server = nbd_server_free(server);
	conf.tls = tls;
	conf.creds = tls ? (struct nbd_creds *)&conf : NULL; /* not used */
	assert(nbd_server_new(loop, &conf, &server) == 0);
	(void)add("a", blk);
}

/* One has half a write sent, and then half a read. */
static void a_client_goes_on_at_another_server(void)
{
	uint8_t write[NBD_REQUEST_LEN + 512] = {0}, read[NBD_REQUEST_LEN] = {0};
	struct blk *blk, *slow;
	int fd;

	set_up();
	nkept = 0;
	assert(mem_new(SIZE, 512, &blk) == 0);
	assert(slow_new(loop, blk, SLOW_HANG, &slow) == 0);
	(void)add("a", slow);
	fd = new_client();
	put_be32(write, 0x25609513);
	put_be16(write + 6, NBD_CMD_WRITE);
	put_be64(write + 8, 7);
	put_be32(write + 24, 512);
	memset(write + NBD_REQUEST_LEN, 'w', 512);
	put_be32(read, 0x25609513);
	put_be64(read + 8, 8);
	put_be32(read + 24, 512);

	assert(send(fd, write, 100, 0) == 100);
	turns(100);
	nbd_server_keep(server, on_kept, NULL);
	nbd_server_stop(server, on_count, &nstopped);
	turns(100);
	assert(!nkept && !nstopped);
	assert(send(fd, write + 100, sizeof(write) - 100, 0) > 0);
	assert(send(fd, read, 10, 0) == 10);
	turns(100);
	assert(slow_waiting(slow) == 1 && !nkept);
	slow_set_delay(slow, 0);
	assert(answer(fd, 7, 0) == 0);
	while (!nstopped)
		assert(loop_turn(loop) == 0);
	assert(nkept == 1 && kept.size == SIZE && !is_hung_up(fd));
	nstopped = 0;
	server = nbd_server_free(server);
	assert(nbd_server_new(loop, &(struct nbd_conf){0}, &server) == 0);
	(void)add("a", slow);

	assert(nbd_server_resume(server, &kept) == 0);
	assert(nclients == 1);
	turns(100);
	assert(send(fd, read + 10, sizeof(read) - 10, 0) > 0);
	assert(answer(fd, 8, 512) == 0);
	ask(fd, NBD_CMD_FLUSH, 9, 0);
	assert(answer(fd, 9, 0) == 0);
	(void)close(fd);
	tear_down();
	blk_free(slow);
}

static void refuses_a_client_that_was_told_otherwise(void)
{
	static const uint8_t zeroes[64 << 10];
	struct nbd_kept good, bad;
	struct blk *blk;
	int fd;

	set_up();
	assert(mem_new(SIZE, 512, &blk) == 0);
	(void)add("a", blk);
	fd = new_client();
	turns(10);
	nbd_server_keep(server, on_kept, NULL);
	next_server(blk, NBD_TLS_OFF);
	good = kept;
	for (int i = 0; i < 5; i++) {
		static const int want[] = {-ENOENT, -ESTALE, -ESTALE, -EINVAL,
					   -EINVAL};

		bad = good;
		bad.fd = dup(good.fd);
		if (i == 0)
			bad.name = "b";
		else if (i == 1)
			bad.size++;
		else if (i == 2)
			bad.flags ^= 2; /* read-only */
		else if (i == 3)
			bad.meta = 4;
		else
			bad.rx_len = sizeof(zeroes);
		bad.rx = zeroes;
		assert(nbd_server_resume(server, &bad) == want[i]);
		assert(nclients == 0);
	}
	next_server(blk, NBD_TLS_REQUIRED);
	good.fd = dup(kept.fd);
	assert(nbd_server_resume(server, &good) == -EPERM);
	assert(!is_hung_up(fd)); /* as long as somebody has it */
	(void)close(kept.fd);
	assert(is_hung_up(fd));
	(void)close(fd);
	tear_down();
	blk_free(blk);
}

int main(void)
{
	every_request_is_answered_whichever_fails();
	a_client_may_vanish_while_the_store_hangs();
	it_stops_only_after_the_last_request();
	an_export_may_be_removed_while_the_server_stops();
	exports_come_and_go_by_name();
	buffers_are_kept_up_to_a_limit();
	a_client_goes_on_at_another_server();
	refuses_a_client_that_was_told_otherwise();
	return 0;
}
