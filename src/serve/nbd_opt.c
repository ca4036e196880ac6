/* SPDX-License-Identifier: Apache-2.0 */
/*
 * nbd_opt.c - the handshake: hello, options and their answers
 *
 * Each option is answered whole, with all its replies in one piece of memory.
 * This is not the data path: it may malloc.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "serve/nbd_conn.h"

/* Bytes of an option's data; of what there is, only a SET_META_CONTEXT of very
 * many queries could want more. */
#define DATA_MAX (NBD_RX_SIZE - NBD_OPTION_LEN)

#define PREFERRED_BLOCK 4096u

struct answer {
	struct nbd_out out;
	size_t size;
	uint8_t bytes[];
};

static void answer_sent(struct nbd_conn *conn, struct nbd_out *out)
{
	(void)conn;
	free(container_of(out, struct answer, out));
}

/* @len more bytes at the end of *@answer. Return: where; NULL: no memory. */
static uint8_t *grow(struct answer **answer, size_t len)
{
	struct answer *a = *answer;
	size_t used = a ? a->out.len : 0;

	if (!a || len > a->size - used) {
		size_t size = 2 * (used + len) + 256;

		a = realloc(a, sizeof(*a) + size);
		if (!a)
			return NULL;
		a->size = size;
		*answer = a;
	}
	a->out.len = used + len;
	return a->bytes + used;
}

/* Hand *@answer over to be sent. */
static void say(struct nbd_conn *conn, struct answer *answer)
{
	answer->out.at = answer->bytes;
	answer->out.sent = answer_sent;
	nbd_send_add(conn, &answer->out);
}

/* One reply to conn->option. Return: where its @len bytes go; or NULL. */
static uint8_t *reply(struct nbd_conn *conn, struct answer **answer,
		      uint32_t type, size_t len)
{
	uint8_t *at = grow(answer, NBD_OPTION_REPLY_LEN + len);

	if (!at)
		return NULL;
	return at +
	       nbd_put_option_reply(at, conn->option.type, type, (uint32_t)len);
}

/* All that is said to this option: @answer so far (or NULL), then @type. */
static void end(struct nbd_conn *conn, struct answer *answer, uint32_t type)
{
	if (!reply(conn, &answer, type, 0)) {
		free(answer);
		nbd_conn_kill(conn);
		return;
	}
	say(conn, answer);
}

static void no_memory(struct nbd_conn *conn, struct answer *answer)
{
	free(answer);
	nbd_conn_kill(conn);
}

int nbd_opt_hello(struct nbd_conn *conn)
{
	struct answer *answer = NULL;
	uint8_t *at = grow(&answer, NBD_HELLO_LEN);

	if (!at)
		return -ENOMEM;
	nbd_put_hello(at, NBD_FIXED_NEWSTYLE | NBD_NO_ZEROES);
	say(conn, answer);
	return 0;
}

void nbd_opt_forget(struct nbd_conn *conn)
{
	conn->is_structured = false;
	conn->meta = 0;
}

static void on_list(struct nbd_conn *conn, size_t len)
{
	struct answer *answer = NULL;
	struct list *pos, *tmp;

	if (len) {
		end(conn, NULL, NBD_REP_ERR_INVALID);
		return;
	}
	list_for_each(pos, tmp, &conn->server->exports)
	{
		const struct nbd_export_conf *conf =
			&container_of(pos, struct nbd_export, list)->conf;
		size_t name = strlen(conf->name);
		size_t text = strlen(conf->description);
		uint8_t *at =
			reply(conn, &answer, NBD_REP_SERVER, 4 + name + text);

		if (!at) {
			no_memory(conn, answer);
			return;
		}
		put_be32(at, (uint32_t)name);
		memcpy(at + 4, conf->name, name);
		memcpy(at + 4 + name, conf->description, text);
	}
	end(conn, answer, NBD_REP_ACK);
}

/* NBD_INFO_NAME and NBD_INFO_DESCRIPTION */
static bool info_text(struct nbd_conn *conn, struct answer **answer,
		      uint16_t type, const char *text)
{
	uint8_t *at = reply(conn, answer, NBD_REP_INFO, 2 + strlen(text));

	if (!at)
		return false;
	put_be16(at, type);
	memcpy(at + 2, text, strlen(text));
	return true;
}

static bool infos(struct nbd_conn *conn, struct nbd_export *export,
		  uint32_t wants, struct answer **answer)
{
	const struct blk *blk = export->conf.blk;
	uint8_t *at = reply(conn, answer, NBD_REP_INFO, 2 + NBD_EXPORT_LEN);

	if (!at)
		return false;
	put_be16(at, NBD_INFO_EXPORT);
	nbd_put_export(at + 2, blk->size, nbd_export_flags(conn, export));

	if ((wants & (1u << NBD_INFO_NAME)) &&
	    !info_text(conn, answer, NBD_INFO_NAME, export->conf.name))
		return false;
	if ((wants & (1u << NBD_INFO_DESCRIPTION)) &&
	    export->conf.description[0] &&
	    !info_text(conn, answer, NBD_INFO_DESCRIPTION,
		       export->conf.description))
		return false;
	if (!(wants & (1u << NBD_INFO_BLOCK_SIZE)))
		return true;
	at = reply(conn, answer, NBD_REP_INFO, 14);
	if (!at)
		return false;
	put_be16(at, NBD_INFO_BLOCK_SIZE);
	put_be32(at + 2, blk->block);
	put_be32(at + 6, (uint32_t)max_u64(blk->block, PREFERRED_BLOCK));
	put_be32(at + 10, NBD_PAYLOAD_MAX);
	return true;
}

static void on_info(struct nbd_conn *conn, const uint8_t *data, size_t len)
{
	struct answer *answer = NULL;
	struct nbd_export *export;
	struct nbd_info info;

	if (nbd_info_decode(data, len, &info)) {
		end(conn, NULL, NBD_REP_ERR_INVALID);
		return;
	}
	export = nbd_find(conn->server, &info.name);
	if (!export) {
		end(conn, NULL, NBD_REP_ERR_UNKNOWN);
		return;
	}
	if (!infos(conn, export, info.wants, &answer)) {
		no_memory(conn, answer);
		return;
	}
	end(conn, answer, NBD_REP_ACK);
	if (conn->option.type == NBD_OPT_GO && nbd_io_start(conn, export))
		nbd_conn_kill(conn);
}

static bool needs_tls(const struct nbd_conn *conn)
{
	return conn->server->conf.tls == NBD_TLS_REQUIRED && !conn->tls;
}

static void on_export_name(struct nbd_conn *conn, const uint8_t *data,
			   size_t len)
{
	struct answer *answer = NULL;
	struct nbd_export *export = NULL;
	struct nbd_string name;
	uint8_t *at;

	if (!nbd_name_decode(data, len, &name))
		export = nbd_find(conn->server, &name);
	/* There is no way to say why not. */
	if (!export || needs_tls(conn)) {
		nbd_conn_kill(conn);
		return;
	}
	at = grow(&answer, NBD_EXPORT_LEN + NBD_EXPORT_ZEROES);
	if (!at || nbd_io_start(conn, export)) {
		no_memory(conn, answer);
		return;
	}
	memset(at, 0, NBD_EXPORT_LEN + NBD_EXPORT_ZEROES);
	nbd_put_export(at, export->conf.blk->size,
		       nbd_export_flags(conn, export));
	if (conn->has_no_zeroes)
		answer->out.len = NBD_EXPORT_LEN;
	say(conn, answer);
}

static const struct {
	uint32_t bit;
	const char *name;
} contexts[] = {
	{NBD_META_ALLOCATION, "base:allocation"},
	{NBD_META_CACHED, "roost:cached"},
};

/* Does @query ask for @name? "base:" asks for all of base, to list them. */
static bool query_is(const struct nbd_string *query, const char *name,
		     bool is_list)
{
	size_t prefix = (size_t)(strchr(name, ':') - name) + 1;

	if (nbd_string_is(query, name))
		return true;
	return is_list && query->len == prefix &&
	       !memcmp(query->at, name, prefix);
}

static void on_meta(struct nbd_conn *conn, const uint8_t *data, size_t len)
{
	bool is_list = conn->option.type == NBD_OPT_LIST_META_CONTEXT;
	struct answer *answer = NULL;
	struct nbd_export *export;
	struct nbd_meta meta;
	struct nbd_string query;
	uint32_t found = 0;

	if (!is_list)
		conn->meta = 0;
	if (!conn->is_structured || nbd_meta_decode(data, len, &meta)) {
		end(conn, NULL, NBD_REP_ERR_INVALID);
		return;
	}
	export = nbd_find(conn->server, &meta.name);
	if (!export) {
		end(conn, NULL, NBD_REP_ERR_UNKNOWN);
		return;
	}
	if (is_list && !meta.nqueries)
		found = NBD_META_ALLOCATION | NBD_META_CACHED;
	while (nbd_meta_next(&meta, &query))
		for (size_t i = 0; i < ARRAY_SIZE(contexts); i++)
			if (query_is(&query, contexts[i].name, is_list))
				found |= contexts[i].bit;

	for (size_t i = 0; i < ARRAY_SIZE(contexts); i++) {
		size_t n = strlen(contexts[i].name);
		uint8_t *at;

		if (!(found & contexts[i].bit))
			continue;
		at = reply(conn, &answer, NBD_REP_META_CONTEXT, 4 + n);
		if (!at) {
			no_memory(conn, answer);
			return;
		}
		put_be32(at, is_list ? 0 : contexts[i].bit);
		memcpy(at + 4, contexts[i].name, n);
	}
	if (!is_list) {
		conn->meta = found;
		conn->meta_export = export->id;
	}
	end(conn, answer, NBD_REP_ACK);
}

static void on_structured(struct nbd_conn *conn, size_t len)
{
	if (!len)
		conn->is_structured = true;
	end(conn, NULL, len ? NBD_REP_ERR_INVALID : NBD_REP_ACK);
}

static void on_starttls(struct nbd_conn *conn, size_t len)
{
	if (conn->server->conf.tls == NBD_TLS_OFF) {
		end(conn, NULL, NBD_REP_ERR_POLICY);
	} else if (len || conn->tls) {
		end(conn, NULL, NBD_REP_ERR_INVALID);
	} else {
		end(conn, NULL, NBD_REP_ACK);
		conn->phase = NBD_SHAKING;
	}
}

static void on_option(struct nbd_conn *conn, const uint8_t *data, size_t len)
{
	uint32_t type = conn->option.type;

	if (type == NBD_OPT_EXPORT_NAME) {
		on_export_name(conn, data, len);
		return;
	}
	if (!conn->is_fixed) { /* it could not read a reply */
		nbd_conn_kill(conn);
		return;
	}
	if (needs_tls(conn) && type != NBD_OPT_STARTTLS &&
	    type != NBD_OPT_ABORT) {
		end(conn, NULL, NBD_REP_ERR_TLS_REQD);
		return;
	}
	switch (type) {
	case NBD_OPT_ABORT:
		end(conn, NULL, NBD_REP_ACK);
		nbd_conn_drain(conn);
		break;
	case NBD_OPT_LIST:
		on_list(conn, len);
		break;
	case NBD_OPT_STARTTLS:
		on_starttls(conn, len);
		break;
	case NBD_OPT_INFO:
	case NBD_OPT_GO:
		on_info(conn, data, len);
		break;
	case NBD_OPT_STRUCTURED_REPLY:
		on_structured(conn, len);
		break;
	case NBD_OPT_LIST_META_CONTEXT:
	case NBD_OPT_SET_META_CONTEXT:
		on_meta(conn, data, len);
		break;
	default:
		end(conn, NULL, NBD_REP_ERR_UNSUP);
	}
}

static size_t on_client_flags(struct nbd_conn *conn, const uint8_t *at,
			      size_t len)
{
	uint32_t flags;

	if (len < NBD_CLIENT_FLAGS_LEN)
		return 0;
	flags = get_be32(at);
	if (flags & ~(uint32_t)(NBD_FIXED_NEWSTYLE | NBD_NO_ZEROES)) {
		nbd_conn_kill(conn);
		return 0;
	}
	conn->is_fixed = flags & NBD_FIXED_NEWSTYLE;
	conn->has_no_zeroes = flags & NBD_NO_ZEROES;
	conn->phase = NBD_OPTIONS;
	return NBD_CLIENT_FLAGS_LEN;
}

/* Data of an option that is too large to be looked at. */
static size_t skip(struct nbd_conn *conn, size_t len)
{
	size_t n = min_u64(len, conn->skip);

	conn->skip -= n;
	if (!conn->skip)
		end(conn, NULL, NBD_REP_ERR_TOO_BIG);
	return n;
}

size_t nbd_opt_parse(struct nbd_conn *conn, const uint8_t *at, size_t len)
{
	struct nbd_option option;

	if (conn->phase == NBD_HELLO)
		return on_client_flags(conn, at, len);
	if (conn->skip)
		return skip(conn, len);
	if (len < NBD_OPTION_LEN)
		return 0;
	if (nbd_option_decode(at, &option)) {
		nbd_conn_kill(conn);
		return 0;
	}
	if (option.len > DATA_MAX) {
		/* An export's name cannot be answered with an error. */
		if (option.type == NBD_OPT_EXPORT_NAME || !conn->is_fixed)
			nbd_conn_kill(conn);
		conn->option = option;
		conn->skip = option.len;
		return NBD_OPTION_LEN;
	}
	if (len - NBD_OPTION_LEN < option.len)
		return 0;
	conn->option = option;
	on_option(conn, at + NBD_OPTION_LEN, option.len);
	return NBD_OPTION_LEN + option.len;
}
