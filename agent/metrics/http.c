/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/metrics/http.h"

#include "agent/listener_socket.h"

#include <microhttpd.h>
#include <string.h>

enum {
	CONNECTIONS_MAX = 32,
	IDLE_SEC = 2,                 /* then others have their turn */
	CONNECTION_BYTES = 16 * 1024, /* of a request's head, and what is said of it */
};

struct MetricsHttp {
	MetricsHttpConfig config;
	ListenerSocket socket;
	struct MHD_Daemon *daemon;
};

static enum MHD_Result answer(struct MHD_Connection *connection, unsigned code, char *bytes,
			      size_t length, enum MHD_ResponseMemoryMode mode)
{
	struct MHD_Response *response = MHD_create_response_from_buffer(length, bytes, mode);
	enum MHD_Result r;

	if (!response)
		return MHD_NO;
	(void)MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE,
				      code == MHD_HTTP_OK
					      ? "text/plain; version=0.0.4; charset=utf-8"
					      : "text/plain; charset=utf-8");
	r = MHD_queue_response(connection, code, response);
	MHD_destroy_response(response);
	return r;
}

static enum MHD_Result refuse(struct MHD_Connection *connection, unsigned code)
{
	static char words[] = "GET /metrics is all there is.\n";

	return answer(connection, code, words, strlen(words), MHD_RESPMEM_PERSISTENT);
}

/* NOLINTBEGIN(readability-non-const-parameter,readability-function-size): libmicrohttpd's signature
 */
static enum MHD_Result handle(void *user, struct MHD_Connection *connection, const char *url,
			      const char *method, const char *version, const char *data,
			      size_t *data_size, void **state)
{
	static int begun;
	MetricsHttp *http = user;
	size_t length;
	char *page;

	(void)version;
	(void)data;
	if (!*state) { /* the head alone is there */
		*state = &begun;
		return MHD_YES;
	}
	if (*data_size) {
		*data_size = 0;
		return MHD_YES;
	}
	if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0)
		return refuse(connection, MHD_HTTP_METHOD_NOT_ALLOWED);
	if (strcmp(url, "/metrics") != 0)
		return refuse(connection, MHD_HTTP_NOT_FOUND);
	page = http->config.page(http->config.user, &length);
	return answer(connection, MHD_HTTP_OK, page, length, MHD_RESPMEM_MUST_FREE);
}
/* NOLINTEND(readability-non-const-parameter,readability-function-size) */

static int open_socket(MetricsHttp *http, Error *err)
{
	Error why = { 0 };

	if (strncmp(http->config.address, "unix:", 5) == 0)
		return error_add_violation(err, "metrics.listen", "'%s' is not HOST:PORT",
					   http->config.address);
	if (listener_socket_open(&http->socket, http->config.address, &why) == 0)
		return 0;
	if (why.kind != ERROR_INVALID_REQUEST) {
		*err = why;
		return -1;
	}
	return error_add_violation(err, "metrics.listen", "%s", why.what);
}

int metrics_http_new(MetricsHttp **ret, const MetricsHttpConfig *config, Error *err)
{
	MetricsHttp *http = new0(MetricsHttp);

	http->config = *config;
	http->socket.fd = -1;
	if (open_socket(http, err) < 0) {
		free(http);
		return -1;
	}
	http->daemon = MHD_start_daemon(
		MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_POLL, 0, NULL, NULL, handle, http,
		MHD_OPTION_LISTEN_SOCKET, http->socket.fd, MHD_OPTION_CONNECTION_LIMIT,
		(unsigned)CONNECTIONS_MAX, MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)IDLE_SEC,
		MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_BYTES, MHD_OPTION_END);
	if (!http->daemon) {
		listener_socket_close(&http->socket);
		free(http);
		return error_set(err, ERROR_QUEUE_FULL, "start the thread of metrics.listen");
	}
	*ret = http;
	return 0;
}

void metrics_http_free(MetricsHttp *http)
{
	if (!http)
		return;
	MHD_stop_daemon(http->daemon); /* closes the socket */
	free(http);
}
