/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* /metrics over HTTP, on a thread of its own: a scrape costs no call anything. */

#include "base/error.h"

typedef struct MetricsHttp MetricsHttp;

typedef struct MetricsHttpConfig {
	const char *address; /* as server_listen() has it, TCP alone */
	/* On that thread: the page, *@length bytes, to free. */
	char *(*page)(void *user, size_t *length);
	void *user;
} MetricsHttpConfig;

/* INVALID_REQUEST: the address, with the key "metrics.listen"; QUEUE_FULL. */
int metrics_http_new(MetricsHttp **ret, const MetricsHttpConfig *config, Error *err) must_check;
void metrics_http_free(MetricsHttp *http); /* accepts NULL */
