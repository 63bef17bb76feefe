/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/firecracker_api.h"

#include "base/clock.h"
#include "base/text.h"

#include <assert.h>
#include <curl/curl.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

enum {
	ANSWER_TIMEOUT = 10 * USEC_PER_SEC,
	BOOT_TIMEOUT = 60 * USEC_PER_SEC,      /* a large initrd on a slow disk */
	SNAPSHOT_TIMEOUT = 600 * USEC_PER_SEC, /* a large memory on a slow disk */
	CONNECT_TICK = 500,                    /* usec between looks for a socket not yet there */
	BUSY_TICK = 20 * USEC_PER_MSEC,        /* usec between tries of what got a 503 */
	BUSY_ROOM = 200 * USEC_PER_MSEC,       /* usec that one more of them must have */
	REFERENCE_MAX = 32,
	POLL_TICK = 10 * 1000, /* msec; deadlines are shorter, and libcurl wakes us */
	WORDS_MAX = 300,       /* of a fault message */
	STATUS_OK_FIRST = 200,
	STATUS_OK_LAST = 299,
	STATUS_BUSY = 503,
};

static const int64_t default_timeouts[] = {
	[FIRECRACKER_LOOK] = ANSWER_TIMEOUT, [FIRECRACKER_CONFIGURE] = ANSWER_TIMEOUT,
	[FIRECRACKER_BOOT] = BOOT_TIMEOUT,   [FIRECRACKER_SWITCH] = ANSWER_TIMEOUT,
	[FIRECRACKER_ACT] = ANSWER_TIMEOUT,  [FIRECRACKER_SNAPSHOT] = SNAPSHOT_TIMEOUT,
};
static_assert(array_size(default_timeouts) == FIRECRACKER_KIND_COUNT_, "a time for each kind");

struct FirecrackerApi {
	FirecrackerApiConfig config;
	char *socket_path;
	int socket; /* refers to it, once looked up; else -1 */
	CURLM *multi;
	CURL *easy;
	struct curl_slist *headers;
	/* of the request under way */
	char *reply;
	size_t used;
	bool too_large;
	bool refused;
};

static size_t take_reply(char *bytes, size_t size, size_t count, void *user)
{
	FirecrackerApi *api = user;

	if (count > FIRECRACKER_REPLY_MAX - api->used) {
		api->too_large = true;
		return 0;
	}
	memcpy(api->reply + api->used, bytes, count);
	api->used += count;
	return size * count;
}

static void init_once(void)
{
	/* What a unix socket's HTTP does not need is left alone. */
	(void)curl_global_init(CURL_GLOBAL_NOTHING);
}

static bool set_up(FirecrackerApi *api)
{
	CURL *easy = api->easy;

	api->headers = curl_slist_append(NULL, "Content-Type: application/json");
	if (!api->headers)
		return false;
	return curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http") == CURLE_OK &&
	       curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1) ==
		       CURLE_OK &&
	       /* Nothing of the environment's: no proxy, no signals in a threaded program. */
	       curl_easy_setopt(easy, CURLOPT_PROXY, "") == CURLE_OK &&
	       curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L) == CURLE_OK &&
	       curl_easy_setopt(easy, CURLOPT_HTTPHEADER, api->headers) == CURLE_OK &&
	       curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, take_reply) == CURLE_OK &&
	       curl_easy_setopt(easy, CURLOPT_WRITEDATA, api) == CURLE_OK;
}

int firecracker_api_open(FirecrackerApi **ret, const FirecrackerApiConfig *config, Error *err)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	cleanup_(firecracker_api_closep) FirecrackerApi *api = new0(FirecrackerApi);

	(void)pthread_once(&once, init_once);
	api->socket = -1;
	api->config = *config;
	api->config.socket_path = api->socket_path = text_dup(config->socket_path);
	for (int i = 0; i < FIRECRACKER_KIND_COUNT_; i++)
		if (!api->config.timeouts[i])
			api->config.timeouts[i] = default_timeouts[i];
	api->reply = new0_array(char, FIRECRACKER_REPLY_MAX + 1);
	api->multi = curl_multi_init();
	api->easy = curl_easy_init();
	if (!api->multi || !api->easy || !set_up(api))
		return error_set(err, ERROR_VMM_FAILED, "make a client for %s", api->socket_path);
	*ret = take_ptr(api);
	return 0;
}

void firecracker_api_close(FirecrackerApi *api)
{
	if (!api)
		return;
	curl_easy_cleanup(api->easy);
	(void)curl_multi_cleanup(api->multi);
	curl_slist_free_all(api->headers);
	closep(&api->socket);
	free(api->reply);
	free(api->socket_path);
	free(api);
}

static bool is_readable(int fd)
{
	struct pollfd poll_for = { .fd = fd, .events = POLLIN };

	return fd >= 0 && poll(&poll_for, 1, 0) > 0;
}

/* Is there a reason not to wait on for @what's answer? */
static int check_wait(const FirecrackerApi *api, int64_t deadline, const char *what, Error *err)
{
	if (is_readable(api->config.vmm_pidfd))
		return error_set(err, ERROR_VMM_FAILED, "%s: firecracker has ended", what);
	if (is_readable(api->config.cancel_fd))
		return error_set(err, ERROR_VMM_FAILED, "%s: given up", what);
	if (clock_mono_us() >= deadline)
		return error_set_cause(err, ERROR_VMM_FAILED, CAUSE_TIMEOUT,
				       "%s: firecracker did not answer in time", what);
	return 0;
}

/* Waits @usec, shorter if there is a reason. */
static void nap(const FirecrackerApi *api, int64_t usec)
{
	struct pollfd fds[] = {
		{ .fd = api->config.vmm_pidfd, .events = POLLIN },
		{ .fd = api->config.cancel_fd, .events = POLLIN },
	};
	const struct timespec wait = { .tv_nsec = (long)usec * 1000 };

	(void)ppoll(fds, array_size(fds), &wait, NULL);
}

/* Where what @fd refers to can be connected to; fits into a socket's address. */
static void name_reference(char *ret, size_t size, int fd)
{
	(void)snprintf(ret, size, "/proc/self/fd/%d", fd);
}

/* Looks the socket up, unless that has been done: 0; -ENOTSOCK; -errno. */
static int refer(FirecrackerApi *api)
{
	cleanup_close int fd = -1;
	char name[REFERENCE_MAX];
	struct stat st;

	if (api->socket >= 0)
		return 0;
	fd = open(api->socket_path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISSOCK(st.st_mode))
		return -ENOTSOCK;
	name_reference(name, sizeof name, fd);
	if (curl_easy_setopt(api->easy, CURLOPT_UNIX_SOCKET_PATH, name) != CURLE_OK)
		return -ENOMEM;
	api->socket = take_fd(fd);
	return 0;
}

static int try_connect(FirecrackerApi *api)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	cleanup_close int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int r = fd < 0 ? -errno : refer(api);

	if (r < 0)
		return r;
	name_reference(address.sun_path, sizeof address.sun_path, api->socket);
	return connect(fd, (const struct sockaddr *)&address, sizeof address) < 0 ? -errno : 0;
}

static int fail_to_connect(const FirecrackerApi *api, int r, const char *what, Error *err)
{
	if (r == -ENOTSOCK)
		return error_set(err, ERROR_VMM_FAILED, "%s: %s is not a socket", what,
				 api->socket_path);
	return error_set_errno(err, ERROR_VMM_FAILED, -r, "%s: %s", what, api->socket_path);
}

static void forget(FirecrackerApi *api)
{
	closep(&api->socket);
	api->socket = -1;
}

int firecracker_api_wait(FirecrackerApi *api, int64_t timeout, Error *err)
{
	int64_t deadline = clock_mono_us() + timeout;

	for (;;) {
		int r;

		/* What was there when nobody listened may be another's leftover. */
		forget(api);
		r = try_connect(api);
		if (r == 0)
			return 0;
		/* Not yet bound, bound and not yet listening, or a full queue. */
		if (r != -ENOENT && r != -ECONNREFUSED && r != -EAGAIN)
			return fail_to_connect(api, r, "connect", err);
		if (check_wait(api, deadline, "connect", err) < 0)
			return -1;
		nap(api, CONNECT_TICK);
	}
}

/* Waits until libcurl or one of ours has news. */
static int wait_news(FirecrackerApi *api, int64_t deadline, const char *what, Error *err)
{
	struct curl_waitfd fds[2];
	unsigned count = 0;
	int64_t left = (deadline - clock_mono_us()) / USEC_PER_MSEC + 1;
	CURLMcode code;

	if (api->config.vmm_pidfd >= 0)
		fds[count++] = (struct curl_waitfd){ api->config.vmm_pidfd, CURL_WAIT_POLLIN, 0 };
	if (api->config.cancel_fd >= 0)
		fds[count++] = (struct curl_waitfd){ api->config.cancel_fd, CURL_WAIT_POLLIN, 0 };
	if (left > POLL_TICK)
		left = POLL_TICK;
	code = curl_multi_poll(api->multi, fds, count, left > 0 ? (int)left : 0, NULL);
	return code == CURLM_OK ? 0
				: error_set(err, ERROR_VMM_FAILED, "%s: %s", what,
					    curl_multi_strerror(code));
}

/* Runs the transfer to its end: 0 with libcurl's verdict in *@ret. */
static int transfer(FirecrackerApi *api, CURLcode *ret, int64_t deadline, const char *what,
		    Error *err)
{
	for (;;) {
		int running, left;
		CURLMcode code = curl_multi_perform(api->multi, &running);
		const CURLMsg *message;

		if (code != CURLM_OK)
			return error_set(err, ERROR_VMM_FAILED, "%s: %s", what,
					 curl_multi_strerror(code));
		message = curl_multi_info_read(api->multi, &left);
		if (message && message->msg == CURLMSG_DONE) {
			*ret = message->data.result;
			return 0;
		}
		if (check_wait(api, deadline, what, err) < 0 ||
		    wait_news(api, deadline, what, err) < 0)
			return -1;
	}
}

static bool prepare(FirecrackerApi *api, const FirecrackerCall *call, const char *body)
{
	cleanup_free char *url = text_printf("http://localhost%s", call->path);
	CURL *easy = api->easy;

	api->used = 0;
	api->too_large = api->refused = false;
	/* GET last: it undoes a body's. */
	if (body && (curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE, (long)strlen(body)) ||
		     curl_easy_setopt(easy, CURLOPT_POSTFIELDS, body)))
		return false;
	if (!body && curl_easy_setopt(easy, CURLOPT_HTTPGET, 1L) != CURLE_OK)
		return false;
	return curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, call->method) == CURLE_OK &&
	       curl_easy_setopt(easy, CURLOPT_URL, url) == CURLE_OK;
}

/* One try: 0 with the HTTP status in *@ret. */
static int send_once(FirecrackerApi *api, long *ret, const char *what, int64_t deadline, Error *err)
{
	CURLcode verdict = CURLE_OK;
	int r = refer(api);

	if (r < 0)
		return fail_to_connect(api, r, what, err);
	api->used = 0;
	if (curl_multi_add_handle(api->multi, api->easy) != CURLM_OK)
		return error_set(err, ERROR_VMM_FAILED, "%s: libcurl takes no request", what);
	r = transfer(api, &verdict, deadline, what, err);
	(void)curl_multi_remove_handle(api->multi, api->easy);
	if (r < 0)
		return -1;
	if (api->too_large)
		return error_set(err, ERROR_VMM_FAILED, "%s: an answer of more than %d bytes", what,
				 FIRECRACKER_REPLY_MAX);
	if (verdict != CURLE_OK && is_readable(api->config.vmm_pidfd))
		return error_set(err, ERROR_VMM_FAILED, "%s: firecracker has ended", what);
	if (verdict != CURLE_OK)
		return error_set(err, ERROR_VMM_FAILED, "%s: %s", what,
				 curl_easy_strerror(verdict));
	api->reply[api->used] = '\0';
	return curl_easy_getinfo(api->easy, CURLINFO_RESPONSE_CODE, ret) == CURLE_OK
		       ? 0
		       : error_set(err, ERROR_VMM_FAILED, "%s: no status", what);
}

/* What Firecracker says is wrong, as one printable line. */
static void fault_words(const FirecrackerApi *api, char ret[static WORDS_MAX])
{
	json_t *root = json_loadb(api->reply, api->used, 0, NULL);
	const char *fault = json_string_value(json_object_get(root, "fault_message"));

	text_copy(ret, WORDS_MAX, fault ? fault : api->reply);
	for (char *at = ret; *at; at++)
		if ((unsigned char)*at < ' ' || (unsigned char)*at > '~')
			*at = ' ';
	json_decref(root);
}

static int judge(FirecrackerApi *api, long status, const char *what, json_t **ret, Error *err)
{
	char words[WORDS_MAX];
	json_t *root;

	if (status < STATUS_OK_FIRST || status > STATUS_OK_LAST) {
		fault_words(api, words);
		api->refused = true;
		return error_set(err, ERROR_VMM_FAILED, "%s: %ld%s%s", what, status,
				 *words ? ": " : "", words);
	}
	if (!ret)
		return 0;
	if (!api->used) {
		*ret = NULL;
		return 0;
	}
	root = json_loadb(api->reply, api->used, 0, NULL);
	if (!json_is_object(root)) {
		json_decref(root);
		return error_set(err, ERROR_VMM_FAILED, "%s: the answer is no JSON object", what);
	}
	*ret = root;
	return 0;
}

int firecracker_api_call(FirecrackerApi *api, const FirecrackerCall *call, json_t **ret, Error *err)
{
	int64_t deadline = clock_mono_us() + api->config.timeouts[call->kind];
	cleanup_free char *body = call->body ? json_dumps(call->body, JSON_COMPACT) : NULL;
	cleanup_free char *what = text_printf("%s %s", call->method, call->path);
	long status = 0;

	if (!prepare(api, call, body))
		return error_set(err, ERROR_VMM_FAILED, "%s: libcurl takes no request", what);
	for (;;) {
		if (check_wait(api, deadline, what, err) < 0 ||
		    send_once(api, &status, what, deadline, err) < 0)
			return -1;
		/* It takes no more connections now: nothing has been done. Of a try that the
		 * deadline cuts short nobody would know that. */
		if (status == STATUS_BUSY)
			nap(api, BUSY_TICK);
		if (status != STATUS_BUSY || clock_mono_us() + BUSY_ROOM >= deadline)
			return judge(api, status, what, ret, err);
	}
}

bool firecracker_api_refused(const FirecrackerApi *api)
{
	return api->refused;
}

int firecracker_api_info(FirecrackerApi *api, FirecrackerInfo *ret, Error *err)
{
	const FirecrackerCall call = { FIRECRACKER_LOOK, "GET", "/", NULL };
	const char *state, *version;
	json_t *root = NULL;
	bool understood;

	if (firecracker_api_call(api, &call, &root, err) < 0)
		return -1;
	state = json_string_value(json_object_get(root, "state"));
	version = json_string_value(json_object_get(root, "vmm_version"));
	understood = state && version;
	if (understood) {
		text_copy(ret->state, sizeof ret->state, state);
		text_copy(ret->version, sizeof ret->version, version);
	}
	json_decref(root);
	return understood ? 0
			  : error_set(err, ERROR_VMM_FAILED,
				      "GET /: the answer has no state and version");
}
