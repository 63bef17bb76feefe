/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The gRPC server: listeners, pollers, dispatch, limits, shutdown.
 *
 * Methods come from protobuf-c's service descriptors and the embedded
 * descriptor set (for which of them stream). hearthd accepts connections
 * itself, because gRPC core 1.51's listener is dead for good after one EMFILE,
 * and because only so are the peer's credentials known; TLS is tls/tls_gate.h's.
 */

#include "agent/call.h"
#include "agent/roles.h"
#include "agent/tls/tls_files.h"

typedef struct Server Server;

/* A call that is over, for the log. */
typedef struct ServerFinished {
	const char *method;
	const char *type; /* "unary", "server_stream", "client_stream" or "bidi_stream" */
	const char *principal;
	const char *vm_id;    /* that the request named, or NULL */
	const char *trace_id; /* as its client gave them; or empty */
	const char *request_id;
	const Error *err; /* or NULL */
	int64_t usec;
	int grpc_code;
	bool is_known; /* method is one of the server's, and lives as long as it */
	bool mutates;
} ServerFinished;

typedef struct ServerConfig {
	void *user;           /* call_user() */
	unsigned pollers;     /* threads on the completion queue; 2 */
	unsigned max_message; /* bytes of a request; 1 MiB */
	unsigned max_connections;
	unsigned max_calls; /* in flight; beyond: RESOURCE_EXHAUSTED (QUEUE_FULL) */
	unsigned max_streams_per_connection;
	const Roles *roles; /* NULL: everybody may do everything */
	TlsFiles tls;       /* of TCP connections; .certificate NULL: they are in the clear */
	/* As tls/tls_gate.h has it, as what follows. */
	void (*refused)(void *user, const char *address, const char *why, unsigned untold);
	/* Told when the files have been replaced; @err: NULL, or why the old ones stay in use. */
	void (*reloaded)(void *user, const Error *err);
	/* Told once per finished call; NULL: nobody is. */
	void (*finished)(void *user, const ServerFinished *call);
} ServerConfig;

/* Errors of this module are INVALID_REQUEST (a bad address) or QUEUE_FULL (out of descriptors). */
int server_new(Server **ret, const ServerConfig *config, Error *err) must_check;

/* Every method of @service's descriptor must have a handler in it. Before server_start(). */
void server_add_service(Server *server, ProtobufCService *service);

/* Has @inspect say all that is wrong with requests of @path whose values the decoder refuses. */
void server_inspect(Server *server, const char *path,
		    void (*inspect)(Call *call, const ProtobufCMessage *request, Error *err));

/* "unix:/path" (mode 0600; a stale socket is replaced, a live one or another file is not),
 * "host:port", "[::1]:port"; port 0 picks one. Any number, before server_start(). */
int server_listen(Server *server, const char *address, Error *err) must_check;
/* The TCP port of the @i-th listener, or 0. */
unsigned server_port(const Server *server, unsigned i);

int server_start(Server *server, Error *err) must_check;

/* For the health service: does the agent accept work? Watchers are told. */
void server_set_serving(Server *server, bool serving);

/* Does a poller serve a new connection, at most @timeout usec later? Of a server that was started.
 */
bool server_answers(Server *server, int64_t timeout);

/* Refuses new work, ends streams, waits for calls at most @grace usec, then cancels them. */
void server_stop(Server *server, int64_t grace);
void server_free(Server *server);
