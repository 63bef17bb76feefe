/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/tls/tls_gate.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/lock.h"
#include "tests/support/certificates.h"

#include <fcntl.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/param.h>
#include <sys/socket.h>

enum {
	MUCH = 4 << 20,         /* more than all buffers on the way hold */
	LAST_WORDS = 128 << 10, /* less than they hold */
	PIECE = 10000,
	HANDSHAKE = USEC_PER_SEC / 2,
};

typedef struct Desk {
	char dir[32];
	Issued authority, server, client;
	TlsGate *gate;
	Lock lock;
	int plain; /* under lock, as what follows: of the last that was opened; -1: none */
	TlsNames names;
	char why[128];
	int refused, reloads, bad_reloads;
	bool unwanted;
} Desk;

static bool opened(void *user, int fd, const TlsNames *names, const char *address)
{
	Desk *desk = user;
	bool wanted;

	(void)address;
	lock_take(&desk->lock);
	wanted = !desk->unwanted;
	if (wanted)
		desk->plain = fd;
	desk->names = *names;
	lock_drop(&desk->lock);
	return wanted;
}

static void refused(void *user, const char *address, const char *why, unsigned untold)
{
	Desk *desk = user;

	(void)address;
	lock_take(&desk->lock);
	text_copy(desk->why, sizeof desk->why, why);
	desk->refused += 1 + (int)untold;
	lock_drop(&desk->lock);
}

static void reloaded(void *user, const Error *err)
{
	Desk *desk = user;

	lock_take(&desk->lock);
	if (err)
		desk->bad_reloads++;
	else
		desk->reloads++;
	lock_drop(&desk->lock);
}

static int count_of(Desk *desk, const int *number)
{
	int is;

	lock_take(&desk->lock);
	is = *number;
	lock_drop(&desk->lock);
	return is;
}

/* Generously; the tests' own time-out is what ends a wait in vain. */
static void wait_for(Desk *desk, const int *number, int least)
{
	while (count_of(desk, number) < least)
		clock_sleep_us(1000);
}

static TlsGateConfig config_of(Desk *desk)
{
	return (TlsGateConfig){
		.files = { desk->server.certificate, desk->server.key,
			   desk->authority.certificate },
		.max = 4,
		.handshake = HANDSHAKE,
		.opened = opened,
		.refused = refused,
		.reloaded = reloaded,
		.user = desk,
	};
}

static void desk_open(Desk *desk)
{
	TlsGateConfig config;
	Error err = { 0 };

	*desk = (Desk){ .dir = "/tmp/hearth-tls-XXXXXX", .plain = -1 };
	lock_init(&desk->lock);
	(void)signal(SIGPIPE, SIG_IGN); /* as in hearthd */
	cr_assert_not_null(mkdtemp(desk->dir));
	desk->authority = issue(desk->dir, "ca", NULL, NULL);
	desk->server = issue(desk->dir, "server", "DNS:localhost", &desk->authority);
	desk->client = issue(desk->dir, "client", "DNS:b.org,URI:spiffe://a/b", &desk->authority);
	config = config_of(desk);
	cr_assert_eq(tls_gate_new(&desk->gate, &config, &err), 0, "%s", err.what);
}

static void desk_close(Desk *desk)
{
	tls_gate_free(desk->gate);
	closep(&desk->plain);
	issued_clear(&desk->client);
	issued_clear(&desk->server);
	issued_clear(&desk->authority);
	(void)!file_remove_tree(desk->dir);
}

/* A client's end, blocking; the other is the gate's. */
static int connect_to(Desk *desk)
{
	int pair[2];

	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	cr_assert_eq(fcntl(pair[1], F_SETFL, O_NONBLOCK), 0);
	if (!tls_gate_accept(desk->gate, pair[1])) {
		(void)close(pair[1]);
		(void)close(pair[0]);
		return -1;
	}
	return pair[0];
}

typedef struct Caller {
	SSL_CTX *context;
	SSL *ssl;
	int fd;
} Caller;

static void caller_end(Caller *caller)
{
	SSL_free(caller->ssl);
	SSL_CTX_free(caller->context);
	closep(&caller->fd);
}

/* @shown may be NULL. Return: did it get as far as the server's answer to its own part? */
static bool call(Caller *ret, Desk *desk, const Issued *shown)
{
	*ret = (Caller){ .context = SSL_CTX_new(TLS_client_method()), .fd = connect_to(desk) };
	(void)SSL_CTX_load_verify_file(ret->context, desk->authority.certificate);
	SSL_CTX_set_verify(ret->context, SSL_VERIFY_PEER, NULL);
	(void)SSL_CTX_set_alpn_protos(ret->context, (const unsigned char *)"\x02h2", 3);
	if (shown) {
		(void)SSL_CTX_use_certificate_file(ret->context, shown->certificate,
						   SSL_FILETYPE_PEM);
		(void)SSL_CTX_use_PrivateKey_file(ret->context, shown->key, SSL_FILETYPE_PEM);
	}
	ret->ssl = SSL_new(ret->context);
	(void)SSL_set_fd(ret->ssl, ret->fd);
	return SSL_connect(ret->ssl) == 1;
}

static int plain_of(Desk *desk)
{
	int fd;

	wait_for(desk, &desk->plain, 0);
	fd = count_of(desk, &desk->plain);
	cr_assert_eq(fcntl(fd, F_SETFL, 0), 0);
	return fd;
}

Test(tls, bytes_pass_both_ways_and_the_client_is_known, .timeout = 60)
{
	cleanup_(desk_close) Desk desk;
	cleanup_(caller_end) Caller caller;
	char got[16] = "";
	int plain;

	desk_open(&desk);
	cr_assert(call(&caller, &desk, &desk.client));
	plain = plain_of(&desk);

	cr_expect_eq(SSL_write(caller.ssl, "ping", 4), 4);
	cr_expect_eq(read(plain, got, sizeof got), 4);
	cr_expect_str_eq(got, "ping");
	cr_expect_eq(write(plain, "answer", 6), 6);
	cr_expect_eq(SSL_read(caller.ssl, got, sizeof got), 6);
	cr_expect_eq(memcmp(got, "answer", 6), 0);
	cr_expect_eq(desk.names.count, 2);
	cr_expect_str_eq(desk.names.items[0], "uri:spiffe://a/b");
	cr_expect_str_eq(desk.names.items[1], "dns:b.org");
}

static unsigned char byte_at(size_t at)
{
	return (unsigned char)(at * 31 + at / 251);
}

static void *send_much(void *arg)
{
	const Caller *caller = arg;
	unsigned char piece[PIECE];

	for (size_t at = 0; at < MUCH;) {
		size_t n = MUCH - at < PIECE ? MUCH - at : PIECE;

		for (size_t i = 0; i < n; i++)
			piece[i] = byte_at(at + i);
		if (SSL_write(caller->ssl, piece, (int)n) != (int)n)
			break;
		at += n;
	}
	return NULL;
}

/* Nobody reads at first: what is sent waits where it is, and nothing is lost. */
Test(tls, a_slow_reader_holds_the_writer_back, .timeout = 60)
{
	cleanup_(desk_close) Desk desk;
	cleanup_(caller_end) Caller caller;
	unsigned char piece[PIECE];
	pthread_t sender;
	size_t at = 0;
	ssize_t n = 1;
	int plain;

	desk_open(&desk);
	cr_assert(call(&caller, &desk, &desk.client));
	plain = plain_of(&desk);
	cr_assert_eq(pthread_create(&sender, NULL, send_much, &caller), 0);
	clock_sleep_us(USEC_PER_SEC / 5);

	while (at < MUCH && n > 0) {
		n = read(plain, piece, sizeof piece);
		for (ssize_t i = 0; i < n; i++)
			cr_assert_eq(piece[i], byte_at(at + (size_t)i));
		at += n > 0 ? (size_t)n : 0;
	}

	cr_expect_eq(at, MUCH);
	(void)pthread_join(sender, NULL);
}

/* What was written before the end is read, whatever the client still sends. */
Test(tls, last_words_arrive, .timeout = 60)
{
	cleanup_(desk_close) Desk desk;
	cleanup_(caller_end) Caller caller;
	cleanup_free char *words = must_realloc(NULL, LAST_WORDS, 1);
	char got[PIECE];
	size_t at = 0;
	int plain, n;

	memset(words, 'w', LAST_WORDS);
	desk_open(&desk);
	cr_assert(call(&caller, &desk, &desk.client));
	plain = plain_of(&desk);
	for (size_t sent = 0; sent < LAST_WORDS;)
		sent += (size_t)send(plain, words + sent, MIN(PIECE, LAST_WORDS - sent), 0);
	desk.plain = -1;
	(void)close(plain);

	cr_expect_eq(SSL_write(caller.ssl, "more", 4), 4);
	while ((n = SSL_read(caller.ssl, got, sizeof got)) > 0)
		at += (size_t)n;
	cr_expect_eq(at, LAST_WORDS);
	cr_expect_eq(SSL_get_error(caller.ssl, n), SSL_ERROR_ZERO_RETURN);
}

Test(tls, strangers_are_refused_and_told_of, .timeout = 60)
{
	cleanup_(desk_close) Desk desk;
	cleanup_(caller_end) Caller bare, stranger;
	cleanup_(issued_clear) Issued other = { 0 }, foreign = { 0 };
	char got;

	desk_open(&desk);
	other = issue(desk.dir, "other", NULL, NULL);
	foreign = issue(desk.dir, "foreign", "URI:spiffe://a/b", &other);

	(void)call(&bare, &desk, NULL);
	cr_expect_leq(SSL_read(bare.ssl, &got, 1), 0);
	wait_for(&desk, &desk.refused, 1);
	cr_expect_str_eq(desk.why, "peer did not return a certificate");
	(void)call(&stranger, &desk, &foreign);
	cr_expect_leq(SSL_read(stranger.ssl, &got, 1), 0);
	cr_expect_eq(count_of(&desk, &desk.plain), -1);
}

Test(tls, hands_must_be_shaken_in_time_and_there_may_be_so_many, .timeout = 60)
{
	cleanup_(desk_close) Desk desk;
	int fds[4];
	char got;

	desk_open(&desk);
	for (size_t i = 0; i < array_size(fds); i++)
		cr_assert_geq(fds[i] = connect_to(&desk), 0);
	cr_expect_eq(connect_to(&desk), -1);

	for (size_t i = 0; i < array_size(fds); i++)
		cr_expect_eq(read(fds[i], &got, 1), 0);
	cr_expect_str_eq(desk.why, "it took too long");
	for (size_t i = 0; i < array_size(fds); i++)
		closep(&fds[i]);
	while ((fds[0] = connect_to(&desk)) < 0)
		clock_sleep_us(1000);
	closep(&fds[0]);
}

Test(tls, who_is_not_wanted_is_let_go, .timeout = 60)
{
	cleanup_(desk_close) Desk desk;
	cleanup_(caller_end) Caller caller;
	char got;

	desk_open(&desk);
	desk.unwanted = true;
	(void)call(&caller, &desk, &desk.client);

	cr_expect_leq(SSL_read(caller.ssl, &got, 1), 0);
}

static void replace(const char *path, const char *by)
{
	cr_assert_eq(rename(by, path), 0);
}

Test(tls, files_are_exchanged_under_connections, .timeout = 60)
{
	cleanup_(desk_close) Desk desk;
	cleanup_(caller_end) Caller before, after;
	cleanup_(issued_clear) Issued next = { 0 };
	char got[8] = "";
	X509 *seen;

	desk_open(&desk);
	cr_assert(call(&before, &desk, &desk.client));
	next = issue(desk.dir, "next", "DNS:localhost", &desk.authority);
	replace(desk.server.certificate, next.certificate);
	wait_for(&desk, &desk.bad_reloads, 1);
	replace(desk.server.key, next.key);
	wait_for(&desk, &desk.reloads, 1);

	cr_expect_eq(write(plain_of(&desk), "still", 5), 5);
	cr_expect_eq(SSL_read(before.ssl, got, sizeof got), 5);
	desk.plain = (closep(&desk.plain), -1);
	cr_assert(call(&after, &desk, &desk.client));
	seen = SSL_get1_peer_certificate(after.ssl);
	cr_expect_eq(X509_cmp(seen, next.x509), 0);
	X509_free(seen);
}

Test(tls, what_is_wrong_with_the_files_is_said)
{
	cleanup_(desk_close) Desk desk;
	static const char *const keys[] = { "tls.certificate", "tls.key", "tls.client_ca" };

	desk_open(&desk);
	for (size_t i = 0; i < array_size(keys); i++) {
		TlsFiles files = config_of(&desk).files;
		Error err = { 0 };
		SSL_CTX *context;

		files.certificate = i == 0 ? desk.dir : files.certificate;
		files.key = i == 1 ? desk.client.key : files.key;
		files.client_ca = i == 2 ? "/nowhere" : files.client_ca;
		cr_assert_eq(tls_files_load(&context, &files, &err), -1);
		cr_expect_not_null(strstr(err.what, keys[i]), "%s", err.what);
	}
}
