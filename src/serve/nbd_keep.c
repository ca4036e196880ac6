/* SPDX-License-Identifier: Apache-2.0 */
/*
 * nbd_keep.c - connections that go on in another process
 *
 * One that is past its handshake, over a plain socket, is known by a few
 * words: see struct nbd_kept. It drains as any other that is to end, except
 * that what was received and not used up is kept, and that its socket stays
 * open. A write whose payload is on its way is received to its end before, and
 * a handshake gets a moment to end.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "serve/nbd_conn.h"

void nbd_server_keep(struct nbd_server *server,
		     void (*keep)(void *owner, const struct nbd_kept *kept),
		     void *owner)
{
	server->keep = keep;
	server->keep_owner = owner;
}

bool nbd_keep_can(const struct nbd_conn *conn)
{
	return conn->server->keep && conn->life == NBD_OPEN && !conn->tls &&
	       conn->in == conn->out && conn->is_in_socket;
}

void nbd_keep_give(struct nbd_conn *conn)
{
	const struct nbd_export *export = conn->export;
	struct nbd_kept kept = {
		.fd = conn->in,
		.name = export->conf.name,
		.size = export->conf.blk->size,
		.flags = nbd_export_flags(conn, export),
		.is_structured = conn->is_structured,
		.meta = conn->meta,
		.rx = conn->rx + conn->rx_at,
		.rx_len = conn->rx_end - conn->rx_at,
	};

	conn->is_given = true;
	conn->server->keep(conn->server->keep_owner, &kept);
}

/* The client has been told these, and is not told again. */
static bool is_as_told(const struct nbd_conn *conn,
		       const struct nbd_export *export,
		       const struct nbd_kept *kept)
{
	return export->conf.blk->size == kept->size &&
	       nbd_export_flags(conn, export) == kept->flags;
}

int nbd_keep_take(struct nbd_conn *conn, struct nbd_export *export,
		  const struct nbd_kept *kept)
{
	conn->is_fixed = true;
	conn->is_structured = kept->is_structured;
	conn->meta = kept->meta;
	conn->meta_export = export->id;
	if (!is_as_told(conn, export, kept))
		return -ESTALE;
	memcpy(conn->rx, kept->rx, kept->rx_len);
	conn->rx_end = kept->rx_len;
	conn->is_paused = true; /* look at that before more is received */
	return nbd_io_start(conn, export);
}

bool nbd_keep_is_sane(const struct nbd_kept *kept)
{
	return kept->rx_len <= NBD_RX_SIZE &&
	       !(kept->meta & ~(NBD_META_ALLOCATION | NBD_META_CACHED));
}
