/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * An HTTP server on a unix socket that answers as it is told: well, wrongly,
 * late, or not at all. It serves one connection at a time, on a thread of its
 * own, and remembers what it was asked. Criterion suites only.
 */

#include <stdbool.h>
#include <stddef.h>

/* What it does with one request. */
typedef struct FaultStep {
	const char *says;
	size_t repeats; /* how often it says it again */
	enum {
		FAULT_STAYS,
		FAULT_HANGS_UP,
		FAULT_STALLS
	} then;
} FaultStep;

typedef struct FaultServer FaultServer;

/* Takes @steps for one request each, the last for all that follow. */
FaultServer *fault_server_new(const FaultStep *steps, size_t count);
void fault_server_free(FaultServer *server);

static inline void fault_server_freep(FaultServer **server)
{
	fault_server_free(*server);
}

const char *fault_server_path(const FaultServer *server);

/* Ends it; then the requests it had, each "METHOD /path body" and a newline. */
const char *fault_server_stop(FaultServer *server);
size_t fault_server_count(FaultServer *server); /* of those requests */

/* Well-formed answers. */
#define FAULT_204 "HTTP/1.1 204 \r\nServer: Firecracker API\r\nConnection: keep-alive\r\n\r\n"
