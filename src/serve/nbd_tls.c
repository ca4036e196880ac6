/* SPDX-License-Identifier: Apache-2.0 */
/* nbd_tls.c - TLS by GnuTLS, on descriptors that never block */
#include <errno.h>
#include <gnutls/gnutls.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/why.h"
#include "serve/nbd_conn.h"

#define PRIORITY_X509 "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2"
#define PRIORITY_PSK  PRIORITY_X509 ":+ECDHE-PSK:+DHE-PSK:+PSK"

struct nbd_creds {
	gnutls_psk_server_credentials_t psk; /* or NULL */
	gnutls_certificate_credentials_t x509; /* or NULL */
	bool must_verify;
};

struct nbd_tls {
	gnutls_session_t session;
	int in, out; /* borrowed */
};

static int why_tls(struct why *w, int err, const char *path)
{
	return why(w, err == GNUTLS_E_MEMORY_ERROR ? -ENOMEM : -EINVAL,
		   "%s: %s", path, gnutls_strerror(err));
}

int nbd_creds_new_psk(const char *path, struct nbd_creds **ret, struct why *w)
{
	CLEANUP(cleanup_free) struct nbd_creds *creds = NULL;
	int err;

	/* GnuTLS would first look when a client comes. */
	if (access(path, R_OK))
		return why(w, -errno, "TLS keys: %s", path);
	creds = calloc(1, sizeof(*creds));
	if (!creds)
		return why(w, -ENOMEM, "TLS keys");
	err = gnutls_psk_allocate_server_credentials(&creds->psk);
	if (err < 0)
		return why_tls(w, err, path);
	err = gnutls_psk_set_server_credentials_file(creds->psk, path);
	if (err < 0) {
		gnutls_psk_free_server_credentials(creds->psk);
		return why_tls(w, err, path);
	}
	*ret = take_ptr(&creds);
	return 0;
}

static int load_x509(struct nbd_creds *creds, const char *dir, struct why *w)
{
	CLEANUP(cleanup_free) char *cert = NULL;
	CLEANUP(cleanup_free) char *key = NULL;
	CLEANUP(cleanup_free) char *ca = NULL;
	int err;

	if (asprintf(&cert, "%s/server-cert.pem", dir) < 0)
		cert = NULL;
	if (asprintf(&key, "%s/server-key.pem", dir) < 0)
		key = NULL;
	if (asprintf(&ca, "%s/ca-cert.pem", dir) < 0)
		ca = NULL;
	if (!cert || !key || !ca)
		return why(w, -ENOMEM, "TLS certificates");
	if (access(cert, R_OK))
		return why(w, -errno, "TLS certificates: %s", cert);
	err = gnutls_certificate_set_x509_key_file(creds->x509, cert, key,
						   GNUTLS_X509_FMT_PEM);
	if (err < 0)
		return why_tls(w, err, dir);
	if (!creds->must_verify)
		return 0;
	err = gnutls_certificate_set_x509_trust_file(creds->x509, ca,
						     GNUTLS_X509_FMT_PEM);
	return err < 0 ? why_tls(w, err, ca) : 0;
}

int nbd_creds_new_x509(const char *dir, bool must_verify,
		       struct nbd_creds **ret, struct why *w)
{
	CLEANUP(cleanup_free) struct nbd_creds *creds = NULL;
	int err;

	creds = calloc(1, sizeof(*creds));
	if (!creds)
		return why(w, -ENOMEM, "TLS certificates");
	creds->must_verify = must_verify;
	err = gnutls_certificate_allocate_credentials(&creds->x509);
	if (err < 0)
		return why_tls(w, err, dir);
	err = load_x509(creds, dir, w);
	if (err < 0) {
		gnutls_certificate_free_credentials(creds->x509);
		return err;
	}
	*ret = take_ptr(&creds);
	return 0;
}

struct nbd_creds *nbd_creds_free(struct nbd_creds *creds)
{
	if (!creds)
		return NULL;
	if (creds->psk)
		gnutls_psk_free_server_credentials(creds->psk);
	if (creds->x509)
		gnutls_certificate_free_credentials(creds->x509);
	free(creds);
	return NULL;
}

/* One of the next two for what the descriptor is: neither may block. */
static ssize_t push(gnutls_transport_ptr_t ptr, const void *at, size_t len)
{
	struct nbd_tls *tls = ptr;
	ssize_t n = send(tls->out, at, len, MSG_NOSIGNAL | MSG_DONTWAIT);

	if (n < 0 && errno == ENOTSOCK)
		n = write(tls->out, at, len);
	if (n < 0)
		gnutls_transport_set_errno(tls->session, errno);
	return n;
}

static ssize_t pull(gnutls_transport_ptr_t ptr, void *at, size_t len)
{
	struct nbd_tls *tls = ptr;
	ssize_t n = recv(tls->in, at, len, MSG_DONTWAIT);

	if (n < 0 && errno == ENOTSOCK) {
		struct pollfd poll_in = {.fd = tls->in, .events = POLLIN};

		if (poll(&poll_in, 1, 0) == 0) {
			errno = EAGAIN;
			n = -1;
		} else {
			n = read(tls->in, at, len);
		}
	}
	if (n < 0)
		gnutls_transport_set_errno(tls->session, errno);
	return n;
}

int nbd_tls_new(struct nbd_creds *creds, int in, int out, struct nbd_tls **ret)
{
	CLEANUP(cleanup_free) struct nbd_tls *tls = calloc(1, sizeof(*tls));
	int err;

	if (!tls)
		return -ENOMEM;
	err = gnutls_init(&tls->session,
			  GNUTLS_SERVER | GNUTLS_NONBLOCK | GNUTLS_NO_SIGNAL);
	if (err < 0)
		return -ENOMEM;
	err = gnutls_priority_set_direct(
		tls->session, creds->psk ? PRIORITY_PSK : PRIORITY_X509, NULL);
	if (err >= 0)
		err = creds->psk
			      ? gnutls_credentials_set(tls->session,
						       GNUTLS_CRD_PSK,
						       creds->psk)
			      : gnutls_credentials_set(tls->session,
						       GNUTLS_CRD_CERTIFICATE,
						       creds->x509);
	if (err < 0) {
		gnutls_deinit(tls->session);
		return -ENOMEM;
	}
	if (creds->must_verify) {
		gnutls_certificate_server_set_request(tls->session,
						      GNUTLS_CERT_REQUIRE);
		gnutls_session_set_verify_cert(tls->session, NULL, 0);
	}
	tls->in = in;
	tls->out = out;
	gnutls_transport_set_ptr(tls->session, tls);
	gnutls_transport_set_push_function(tls->session, push);
	gnutls_transport_set_pull_function(tls->session, pull);
	*ret = take_ptr(&tls);
	return 0;
}

struct nbd_tls *nbd_tls_free(struct nbd_tls *tls)
{
	if (!tls)
		return NULL;
	gnutls_deinit(tls->session);
	free(tls);
	return NULL;
}

int nbd_tls_shake(struct nbd_tls *tls)
{
	int err;

	do
		err = gnutls_handshake(tls->session);
	while (err == GNUTLS_E_INTERRUPTED ||
	       (err < 0 && err != GNUTLS_E_AGAIN &&
		!gnutls_error_is_fatal(err)));
	if (err == GNUTLS_E_AGAIN)
		return -EAGAIN;
	return err < 0 ? -EPROTO : 0;
}

unsigned nbd_tls_events(struct nbd_tls *tls)
{
	return gnutls_record_get_direction(tls->session) ? POLLOUT : POLLIN;
}

/* A number of bytes as it is; an error of GnuTLS as -errno. */
static long result(ssize_t n)
{
	if (n >= 0)
		return n;
	if (n == GNUTLS_E_AGAIN)
		return -EAGAIN;
	if (n == GNUTLS_E_INTERRUPTED)
		return -EINTR;
	/* The end without a goodbye: in NBD the end is told by NBD_CMD_DISC,
	 * so that nothing can be cut off unseen. */
	if (n == GNUTLS_E_PREMATURE_TERMINATION)
		return 0;
	return -EPROTO;
}

long nbd_tls_recv(struct nbd_tls *tls, void *at, size_t len)
{
	long n = result(gnutls_record_recv(tls->session, at, len));

	/* Cut short, or a peer that changes keys: neither waits for bytes. */
	return n == -EINTR ? -EAGAIN : n;
}

long nbd_tls_send(struct nbd_tls *tls, const void *at, size_t len)
{
	long n = result(gnutls_record_send(tls->session, at, len));

	return n == 0 ? -EPROTO : n;
}

void nbd_tls_bye(struct nbd_tls *tls)
{
	(void)gnutls_bye(tls->session, GNUTLS_SHUT_WR);
}
