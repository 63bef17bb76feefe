/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A server's certificate, its key, and the authority that vouches for clients: files in PEM, which
 * whoever renews them replaces at any time, one after the other. Safe from any thread.
 */

#include "base/error.h"

#include <sys/stat.h>

typedef struct ssl_ctx_st SSL_CTX; /* OpenSSL's own */

typedef struct TlsFiles {
	const char *certificate; /* and those that lead from it to an authority */
	const char *key;
	const char *client_ca; /* authorities; NULL: clients need no certificate */
} TlsFiles;

/**
 * tls_files_load() - what they say, for a server that speaks HTTP/2
 * @ret:	for SSL_CTX_free()
 * @err:	INVALID_REQUEST: the key "tls.…" of the configuration whose file is wrong, and why
 *
 * TLS 1.2 and 1.3, without renegotiation and resumption, so that each connection's client shows
 * its certificate.
 */
int tls_files_load(SSL_CTX **ret, const TlsFiles *files, Error *err) must_check;

/* Which files they are, to tell whether any was replaced or written. */
typedef struct TlsStamp {
	struct stat of[3];
} TlsStamp;

void tls_files_stamp(TlsStamp *ret, const TlsFiles *files);
bool tls_stamp_equal(const TlsStamp *a, const TlsStamp *b);
