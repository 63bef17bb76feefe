/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/tls/tls_files.h"

#include "base/text.h"

#include <assert.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdlib.h>
#include <string.h>

enum {
	REASON_MAX = 160,
};

/* What OpenSSL has to say of what failed; nothing is left of it. */
static int refuse(Error *err, const char *key, const char *path)
{
	unsigned long code = ERR_peek_error(); /* the first is the cause */
	char reason[REASON_MAX] = "it has nothing of the kind";

	if (ERR_SYSTEM_ERROR(code))
		text_copy(reason, sizeof reason, strerror(ERR_GET_REASON(code)));
	else if (code && ERR_reason_error_string(code))
		text_copy(reason, sizeof reason, ERR_reason_error_string(code));
	ERR_clear_error();
	return error_add_violation(err, key, "%s: %s", path, reason);
}

/* HTTP/2 is all that is spoken: a client that offers others alone is refused. */
static int choose_protocol(SSL *ssl, const unsigned char **ret, unsigned char *ret_size,
			   const unsigned char *offered, unsigned offered_size, void *user)
{
	static const unsigned char ours[] = "\x02h2";
	unsigned char *chosen;

	(void)ssl;
	(void)user;
	if (SSL_select_next_proto(&chosen, ret_size, ours, sizeof ours - 1, offered,
				  offered_size) != OPENSSL_NPN_NEGOTIATED)
		return SSL_TLSEXT_ERR_ALERT_FATAL;
	*ret = chosen;
	return SSL_TLSEXT_ERR_OK;
}

/* A key that asks for a passphrase has nobody to ask.
 * NOLINTNEXTLINE(readability-non-const-parameter): OpenSSL's signature */
static int no_passphrase(char *buffer, int size, int writing, void *user)
{
	(void)buffer;
	(void)size;
	(void)writing;
	(void)user;
	return -1;
}

static SSL_CTX *context_new(void)
{
	SSL_CTX *context = SSL_CTX_new(TLS_server_method());

	if (!context)
		abort(); /* out of memory */
	(void)SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
	(void)SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_TICKET |
						   SSL_OP_NO_COMPRESSION |
						   SSL_OP_CIPHER_SERVER_PREFERENCE);
	(void)SSL_CTX_set_num_tickets(context, 0);
	(void)SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
	(void)SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE |
						SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
						SSL_MODE_RELEASE_BUFFERS);
	SSL_CTX_set_alpn_select_cb(context, choose_protocol, NULL);
	SSL_CTX_set_default_passwd_cb(context, no_passphrase);
	return context;
}

static int load_client_ca(SSL_CTX *context, const char *path, Error *err)
{
	STACK_OF(X509_NAME) * names;

	if (SSL_CTX_load_verify_file(context, path) != 1)
		return refuse(err, "tls.client_ca", path);
	names = SSL_load_client_CA_file(path);
	if (!names)
		return refuse(err, "tls.client_ca", path);
	SSL_CTX_set_client_CA_list(context, names);
	SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
	return 0;
}

static int load(SSL_CTX *context, const TlsFiles *files, Error *err)
{
	if (SSL_CTX_use_certificate_chain_file(context, files->certificate) != 1)
		return refuse(err, "tls.certificate", files->certificate);
	if (SSL_CTX_use_PrivateKey_file(context, files->key, SSL_FILETYPE_PEM) != 1 ||
	    SSL_CTX_check_private_key(context) != 1)
		return refuse(err, "tls.key", files->key);
	return files->client_ca ? load_client_ca(context, files->client_ca, err) : 0;
}

int tls_files_load(SSL_CTX **ret, const TlsFiles *files, Error *err)
{
	SSL_CTX *context = context_new();

	ERR_clear_error();
	if (load(context, files, err) < 0) {
		SSL_CTX_free(context);
		return -1;
	}
	*ret = context;
	return 0;
}

void tls_files_stamp(TlsStamp *ret, const TlsFiles *files)
{
	const char *const paths[] = { files->certificate, files->key, files->client_ca };
	static_assert(array_size(paths) == array_size(ret->of), "a stamp for each file");

	*ret = (TlsStamp){ 0 };
	for (size_t i = 0; i < array_size(paths); i++)
		if (paths[i] && stat(paths[i], &ret->of[i]) < 0)
			ret->of[i] = (struct stat){ 0 };
}

bool tls_stamp_equal(const TlsStamp *a, const TlsStamp *b)
{
	for (size_t i = 0; i < array_size(a->of); i++) {
		const struct stat *one = &a->of[i], *other = &b->of[i];

		if (one->st_dev != other->st_dev || one->st_ino != other->st_ino ||
		    one->st_size != other->st_size ||
		    one->st_mtim.tv_sec != other->st_mtim.tv_sec ||
		    one->st_mtim.tv_nsec != other->st_mtim.tv_nsec)
			return false;
	}
	return true;
}
