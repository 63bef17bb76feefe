/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/tls/tls_pipe.h"

#include "base/cleanup.h"

#include <errno.h>
#include <openssl/err.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	RECORD = 16384, /* bytes: the most that TLS has in one */
	ROUNDS = 8,     /* records each way before others have their turn */
};

/* What became of one step in one direction. */
typedef enum Step {
	STEP_DONE,
	STEP_WAITS,
	STEP_OVER,
} Step;

/* After a call of OpenSSL that answered @r <= 0. */
static Step step_of(const TlsPipe *pipe, int r)
{
	int error = SSL_get_error(pipe->ssl, r);

	ERR_clear_error();
	return error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE ? STEP_WAITS
									     : STEP_OVER;
}

static Step step_of_errno(void)
{
	return errno == EAGAIN ? STEP_WAITS : STEP_OVER;
}

static const char *why_not(const TlsPipe *pipe)
{
	long verified = SSL_get_verify_result(pipe->ssl);
	const char *reason = ERR_reason_error_string(ERR_peek_error());

	if (verified != X509_V_OK)
		return X509_verify_cert_error_string(verified);
	return reason ? reason : "the client has gone";
}

TlsPipeState tls_pipe_shake_hands(TlsPipe *pipe, const char **why)
{
	int r;

	ERR_clear_error();
	r = SSL_do_handshake(pipe->ssl);
	if (r == 1)
		return TLS_PIPE_READY;
	*why = why_not(pipe);
	return step_of(pipe, r) == STEP_WAITS ? TLS_PIPE_WAITS : TLS_PIPE_OVER;
}

static void hold(TlsHeld *held, const unsigned char *bytes, size_t size)
{
	held->bytes = must_realloc(NULL, size, 1);
	memcpy(held->bytes, bytes, size);
	held->size = size;
	held->at = 0;
}

static void let_go(TlsHeld *held)
{
	free(held->bytes);
	*held = (TlsHeld){ .bytes = NULL };
}

/* As much of it as is taken; how much, or -1 with *@step. */
static ssize_t give(TlsPipe *pipe, bool to_net, const unsigned char *bytes, size_t size, Step *step)
{
	ssize_t n = to_net ? SSL_write(pipe->ssl, bytes, (int)size)
			   : TEMP_FAILURE_RETRY(send(pipe->plain, bytes, size, MSG_NOSIGNAL));

	if (n > 0)
		return n;
	*step = to_net ? step_of(pipe, (int)n) : step_of_errno();
	pipe->deaf = pipe->deaf || (!to_net && *step == STEP_OVER);
	return -1;
}

static ssize_t take(TlsPipe *pipe, bool to_net, unsigned char *bytes, Step *step)
{
	ssize_t n = to_net ? TEMP_FAILURE_RETRY(read(pipe->plain, bytes, RECORD))
			   : SSL_read(pipe->ssl, bytes, RECORD);

	if (n <= 0)
		*step = !to_net ? step_of(pipe, (int)n) : n < 0 ? step_of_errno() : STEP_OVER;
	return n <= 0 ? -1 : n;
}

/* All of it, or the rest is held. */
static Step pass(TlsPipe *pipe, bool to_net, const unsigned char *bytes, size_t size)
{
	TlsHeld *held = to_net ? &pipe->to_net : &pipe->to_plain;
	Step step = STEP_DONE;

	while (size) {
		ssize_t n = give(pipe, to_net, bytes, size, &step);

		if (n < 0) {
			if (step == STEP_WAITS)
				hold(held, bytes, size);
			return step;
		}
		bytes += n;
		size -= (size_t)n;
	}
	return STEP_DONE;
}

static Step pass_held(TlsPipe *pipe, bool to_net)
{
	TlsHeld *held = to_net ? &pipe->to_net : &pipe->to_plain;
	Step step = STEP_DONE;

	while (held->at < held->size) {
		ssize_t n =
			give(pipe, to_net, held->bytes + held->at, held->size - held->at, &step);

		if (n < 0)
			return step;
		held->at += (size_t)n;
	}
	let_go(held);
	return STEP_DONE;
}

/* One record's worth in one direction. */
static Step carry(TlsPipe *pipe, bool to_net, unsigned char *bytes)
{
	Step step = STEP_DONE;
	ssize_t n;

	ERR_clear_error();
	if ((to_net ? &pipe->to_net : &pipe->to_plain)->bytes)
		step = pass_held(pipe, to_net);
	if (step != STEP_DONE)
		return step;
	n = take(pipe, to_net, bytes, &step);
	return n < 0 ? step : pass(pipe, to_net, bytes, (size_t)n);
}

TlsPipeState tls_pipe_carry(TlsPipe *pipe)
{
	unsigned char bytes[RECORD];

	for (int i = 0; i < ROUNDS; i++) {
		Step in = pipe->deaf ? STEP_WAITS : carry(pipe, false, bytes);
		Step out = carry(pipe, true, bytes);

		if ((in == STEP_OVER && !pipe->deaf) || out == STEP_OVER)
			return TLS_PIPE_OVER;
		if (in == STEP_WAITS && out == STEP_WAITS)
			return TLS_PIPE_WAITS;
	}
	return TLS_PIPE_READY;
}

void tls_pipe_close(TlsPipe *pipe)
{
	ERR_clear_error();
	if (SSL_is_init_finished(pipe->ssl))
		(void)SSL_shutdown(pipe->ssl);
	ERR_clear_error();
	SSL_free(pipe->ssl);
	let_go(&pipe->to_net);
	let_go(&pipe->to_plain);
	closep(&pipe->net);
	closep(&pipe->plain);
}
