/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/metrics/rpcs.h"

#include "agent/status.h"
#include "base/lock.h"
#include "base/text.h"

#include <string.h>

enum {
	METHODS_MAX = 128,
	CODES = 17, /* of gRPC */
};

typedef struct Row {
	char *service, *method;
	const char *type;
	atomic_uint_fast64_t codes[CODES];
	Histogram took;
} Row;

/* Made as methods are first called, never freed: as many as there are methods, and one more. */
static struct {
	Lock lock;
	atomic_size_t count;
	const char *paths[METHODS_MAX]; /* under lock; the server's, constant */
	Row rows[METHODS_MAX];
} rpcs = { .lock = LOCK_INIT };

static const char unknown[] = "/unknown/unknown";

/* Under lock. */
static Row *add(const ServerFinished *call, const char *path)
{
	size_t i = atomic_load(&rpcs.count);
	const char *slash = strrchr(path, '/');
	Row *row = &rpcs.rows[i];

	if (i == METHODS_MAX)
		return NULL;
	rpcs.paths[i] = path;
	row->service = text_printf("%.*s", (int)(slash - path - 1), path + 1);
	row->method = text_dup(slash + 1);
	row->type = call->is_known ? call->type : "unary";
	atomic_store(&rpcs.count, i + 1);
	return row;
}

static Row *find(const ServerFinished *call)
{
	const char *path = call->is_known ? call->method : unknown;
	Row *row = NULL;

	lock_take(&rpcs.lock);
	for (size_t i = 0; i < atomic_load(&rpcs.count) && !row; i++)
		if (rpcs.paths[i] == path)
			row = &rpcs.rows[i];
	if (!row)
		row = add(call, path);
	lock_drop(&rpcs.lock);
	return row;
}

void rpcs_note(const ServerFinished *call)
{
	Row *row = find(call);
	size_t code = call->grpc_code >= 0 && call->grpc_code < CODES ? (size_t)call->grpc_code : 2;

	if (!row)
		return;
	atomic_fetch_add_explicit(&row->codes[code], 1, memory_order_relaxed);
	histogram_add(&row->took, call->usec);
}

void rpcs_write(MetricsText *text)
{
	size_t count = atomic_load(&rpcs.count);

	metrics_head(text, "grpc_server_handled_total", "counter",
		     "Calls that are over, by their code.");
	for (size_t i = 0; i < count; i++)
		for (size_t code = 0; code < CODES; code++) {
			const Row *row = &rpcs.rows[i];
			uint64_t n = atomic_load(&row->codes[code]);

			if (n)
				metrics_number(
					text, "grpc_server_handled_total",
					METRICS_LABELS("grpc_type", row->type, "grpc_service",
						       row->service, "grpc_method", row->method,
						       "grpc_code", status_code_name((int)code)),
					n);
		}
	metrics_head(text, "grpc_server_handling_seconds", "histogram",
		     "How long calls took; streams as long as they were open.");
	for (size_t i = 0; i < count; i++)
		metrics_histogram(text, "grpc_server_handling_seconds",
				  METRICS_LABELS("grpc_type", rpcs.rows[i].type, "grpc_service",
						 rpcs.rows[i].service, "grpc_method",
						 rpcs.rows[i].method),
				  &rpcs.rows[i].took);
}
