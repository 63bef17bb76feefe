/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The TLS of accepted connections.
 *
 * gRPC core gets one end of a pair of sockets for each, and speaks HTTP/2 in the clear over it; the
 * gate's thread carries bytes between its other end and TLS. So connections of all kinds are
 * accepted in one place (listener.h), their clients are known before the first byte reaches core,
 * and new certificates cost no connection. What one side does not take is held back from the other:
 * at most one record each way is kept here.
 *
 * The files are looked at every second. What was replaced is taken for new connections once
 * certificate and key belong together; what is wrong with them is told, and the last good ones
 * stay.
 */

#include "agent/tls/tls_files.h"
#include "agent/tls/tls_names.h"

typedef struct TlsGate TlsGate;

typedef struct TlsGateConfig {
	TlsFiles files;    /* copied */
	unsigned max;      /* connections at once, those that still shake hands included */
	int64_t handshake; /* usec that a client has for it */
	/*
	 * On the gate's thread: @fd (non-blocking, close-on-exec) is a client's, who has shown
	 * @names, none if no certificate is asked for. False: it is not wanted; the gate closes
	 * @fd.
	 * @address: its own, as text.
	 */
	bool (*opened)(void *user, int fd, const TlsNames *names, const char *address);
	/* On the gate's thread: no connection came of @address's handshake, nor of @untold others
	 * since the last one that was told; at most one a second is. */
	void (*refused)(void *user, const char *address, const char *why, unsigned untold);
	/* On the gate's thread; @err: NULL, the files were replaced and are in use; else why not.
	 */
	void (*reloaded)(void *user, const Error *err);
	void *user;
} TlsGateConfig;

/* INVALID_REQUEST: as tls_files_load() has it. QUEUE_FULL: out of descriptors or threads. */
int tls_gate_new(TlsGate **ret, const TlsGateConfig *config, Error *err) must_check;

/* From the listener's thread: @fd, non-blocking, is the gate's from now on; false: there are too
 * many, and it is still the caller's. */
bool tls_gate_accept(TlsGate *gate, int fd) must_check;

/* Ends all connections, and the thread. Accepts NULL. */
void tls_gate_free(TlsGate *gate);
DEFINE_CLEANUP(TlsGate *, tls_gate_free);
