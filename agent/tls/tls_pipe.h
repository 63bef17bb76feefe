/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* One connection: TLS on one side, bytes in the clear on the other. One thread's at a time. */

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>

/* What the other side has not taken yet. */
typedef struct TlsHeld {
	unsigned char *bytes; /* NULL: nothing */
	size_t size, at;
} TlsHeld;

typedef struct TlsPipe {
	SSL *ssl;       /* over net */
	int net, plain; /* both non-blocking; plain: -1 until the handshake is over */
	TlsHeld to_net, to_plain;
	bool deaf; /* the plain side takes no more, and may still have last words */
} TlsPipe;

typedef enum TlsPipeState {
	TLS_PIPE_WAITS, /* for either descriptor to become readable or writable */
	TLS_PIPE_READY, /* there is more to do at once; others have their turn first */
	TLS_PIPE_OVER,
} TlsPipeState;

/* WAITS: goes on; READY: it is done; OVER: it failed, @why (of static storage) says for what. */
TlsPipeState tls_pipe_shake_hands(TlsPipe *pipe, const char **why);

/* Carries a bounded number of bytes each way. OVER: either side has ended. */
TlsPipeState tls_pipe_carry(TlsPipe *pipe);

/* Says goodbye if it can be said at once, and closes both. */
void tls_pipe_close(TlsPipe *pipe);
