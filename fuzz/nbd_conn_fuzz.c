/* SPDX-License-Identifier: Apache-2.0 */
/*
 * nbd_conn_fuzz.c - a whole connection: the input is what a client sends
 *
 * The first byte says how far a good client gets before: nothing, or hello and
 * GO, without and with structured replies and block status. The client reads
 * all answers and hangs up. Whatever it sent, the connection must end.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/blk.h"
#include "base/loop.h"
#include "serve/nbd.h"
#include "store/mem.h"
#include "store/slow.h"
#include "wire/nbd_msg.h"

#define INPUT_MAX (64u << 10)
#define TURNS_MAX 100000

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct loop *loop;
static struct nbd_server *server;
static struct loop_task no_wait;
static bool is_idle;

static void on_idle(void *owner)
{
	(void)owner;
	is_idle = true;
}

/* Client and server are one thread: while this task is set, neither waits. */
static void set_again(struct loop_task *task)
{
	loop_defer(loop, task);
}

#define check(ok) check_at(ok, __LINE__)

static void check_at(bool ok, int line)
{
	if (ok)
		return;
	fprintf(stderr, "line %d: %s\n", line, strerror(errno));
	abort();
}

static void set_up(void)
{
	/* Small limits, so that small inputs reach them. */
	struct nbd_conf conf = {
		.requests_max = 4,
		.bytes_max = 128 << 10,
		.drain_ms = 20,
		.on_idle = on_idle,
	};
	struct nbd_export_conf a = {.name = "a"}, b = {.name = "b"};

	loop_task_init(&no_wait, set_again);
	check(!loop_new(&loop, NULL));
	check(!nbd_server_new(loop, &conf, &server));
	check(!mem_new(256 << 10, 1, &a.blk));
	check(!mem_new(256 << 10, 512, &b.blk));
	check(!slow_new(loop, b.blk, 0, &b.blk)); /* ends in a later turn */
	check(!nbd_server_add(server, &a, NULL));
	check(!nbd_server_add(server, &b, NULL));
}

static size_t put_option(uint8_t *at, uint32_t type, const void *data,
			 uint32_t len)
{
	put_be64(at, 0x49484156454f5054ull);
	put_be32(at + 8, type);
	put_be32(at + 12, len);
	memcpy(at + NBD_OPTION_LEN, data, len);
	return NBD_OPTION_LEN + len;
}

static size_t put_prelude(uint8_t *at, unsigned how)
{
	static const uint8_t name[] = {0, 0, 0, 1, 'a', 0, 0};
	static const uint8_t meta[] = "\0\0\0\1a\0\0\0\2"
				      "\0\0\0\017base:allocation"
				      "\0\0\0\014roost:cached";
	uint8_t go[sizeof(name)];
	size_t n = 4;

	if (!how)
		return 0;
	memcpy(go, name, sizeof(name));
	put_be32(at, NBD_FIXED_NEWSTYLE | NBD_NO_ZEROES);
	if (how & 1) {
		go[4] = 'b';
		n += put_option(at + n, NBD_OPT_STRUCTURED_REPLY, "", 0);
	} else if (how & 2) {
		n += put_option(at + n, NBD_OPT_STRUCTURED_REPLY, "", 0);
		n += put_option(at + n, NBD_OPT_SET_META_CONTEXT, meta,
				sizeof(meta) - 1);
	}
	return n + put_option(at + n, NBD_OPT_GO, go, sizeof(go));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t in[1 << 20], out[INPUT_MAX + 4096];
	size_t len, did = 0;
	bool is_shut = false;
	int fds[2];

	if (!size || size > INPUT_MAX)
		return 0;
	if (!loop)
		set_up();
	len = put_prelude(out, data[0] % 5);
	memcpy(out + len, data + 1, size - 1);
	len += size - 1;

	check(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds));
	is_idle = false;
	loop_defer(loop, &no_wait);
	check(!nbd_server_connect(server, fds[0], fds[0]));
	for (int i = 0; !is_idle; i++) {
		check(i < TURNS_MAX);
		if (!is_shut) {
			ssize_t n = send(fds[1], out + did, len - did,
					 MSG_NOSIGNAL);

			if (n >= 0)
				did += (size_t)n;
			else if (errno != EAGAIN)
				did = len;
			is_shut = did == len;
			if (is_shut)
				(void)shutdown(fds[1], SHUT_WR);
		}
		while (recv(fds[1], in, sizeof(in), 0) > 0)
			;
		check(loop_turn(loop) == 0);
	}
	loop_task_cancel(&no_wait);
	(void)close(fds[1]);
	check(nbd_server_stats(server)->clients == 0);
	return 0;
}
