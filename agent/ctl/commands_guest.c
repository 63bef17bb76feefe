/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/ctl/ctl.h"
#include "agent/ctl/format.h"
#include "agent/ctl/json.h"
#include "agent/ctl/request.h"
#include "base/clock.h"

#include <fcntl.h>
#include <inttypes.h>
#include <string.h>

/* ping, env set, secret set and remove: what hearth-guest is asked. */

enum {
	DEFAULT_WAIT = 5 * USEC_PER_SEC,
	SECRET_MAX = 16 << 10, /* of the contract */
};

/* The fields that every such request has, from the options; owned by it. */
#define FILL_QUESTION(ctl, request)                                                                \
	do {                                                                                       \
		const Options *given_ = &(ctl)->options;                                           \
		set_text(&(request)->vm_id, given_->arguments[0]);                                 \
		if (options_has(given_, "expected-uid"))                                           \
			set_text(&(request)->expected_uid, options_text(given_, "expected-uid"));  \
		if (options_has(given_, "wait")) {                                                 \
			(request)->timeout = new0(Google__Protobuf__Duration);                     \
			*(request)->timeout = duration_field(options_duration(given_, "wait", 0)); \
		}                                                                                  \
	} while (0)

/* How long the guest may take, and the usual time on top. */
static int64_t question_timeout(const Ctl *ctl)
{
	return ctl_timeout(ctl,
			   TIMEOUT_UNARY + options_duration(&ctl->options, "wait", DEFAULT_WAIT));
}

/* As ctl_call(). */
static int ask(Ctl *ctl, const char *method, const ProtobufCMessage *request, void *ret)
{
	cleanup_(failure_release) Failure failure = { 0 };

	if (client_call(ctl_client(ctl), guest_method(method), request, question_timeout(ctl), ret,
			&failure) < 0)
		return failure_report(&failure, ctl_json(ctl));
	return 0;
}

int run_ping(Ctl *ctl)
{
	cleanup_(message_freep) Hearth__V1__PingRequest *request =
		message_new(&hearth__v1__ping_request__descriptor);
	cleanup_(message_freep) Hearth__V1__PingResponse *answer = NULL;
	int status;

	FILL_QUESTION(ctl, request);
	status = ask(ctl, "Ping", &request->base, &answer);
	if (status == 0 && ctl_json(ctl))
		json_print_message(&answer->base, true);
	else if (status == 0)
		printf("%s answered after %.1f ms, up %" PRId64 " s\n", request->vm_id,
		       (double)answer->round_trip->nanos / 1e6 +
			       (double)answer->round_trip->seconds * 1e3,
		       answer->uptime->seconds);
	return status;
}

/* 0, or the exit status of what has been reported: without values, which are not to be seen. */
static int fill_env(const Ctl *ctl, Hearth__V1__SetEnvRequest *request)
{
	const Options *given = &ctl->options;

	request->replace = options_has(given, "replace");
	for (size_t i = 1; i < given->n_arguments; i++)
		if (!set_variable(&request->env, &request->n_env,
				  &hearth__v1__set_env_request__env_entry__descriptor,
				  given->arguments[i]))
			return failure_report_local(
				ctl_json(ctl), EXIT_USAGE,
				"env set: argument %zu after the VM is not NAME=VALUE", i);
	if (!request->n_env && !request->replace)
		return failure_report_local(ctl_json(ctl), EXIT_USAGE,
					    "env set: give NAME=VALUE, or --replace to have none");
	return 0;
}

int run_env_set(Ctl *ctl)
{
	cleanup_(message_freep) Hearth__V1__SetEnvRequest *request =
		message_new(&hearth__v1__set_env_request__descriptor);
	cleanup_(message_freep) Hearth__V1__SetEnvResponse *answer = NULL;
	int status = fill_env(ctl, request);

	if (status)
		return status;
	FILL_QUESTION(ctl, request);
	status = ask(ctl, "SetEnv", &request->base, &answer);
	if (status == 0 && ctl_json(ctl))
		json_print_message(&answer->base, true);
	else if (status == 0)
		print_clean(stdout, "%s has %s%zu variable%s\n", request->vm_id,
			    request->replace ? "" : "been given ", request->n_env,
			    request->n_env == 1 ? "" : "s");
	return status;
}

static void wipe(ProtobufCBinaryData *data)
{
	if (data->data)
		explicit_bzero(data->data, data->len);
	data->len = 0;
}

/* All of @fd, but no more than tells that it is too much: 0 or -errno. */
static int read_value(int fd, ProtobufCBinaryData *ret)
{
	ssize_t n;

	ret->data = must_calloc(SECRET_MAX + 1, 1);
	do {
		n = read(fd, ret->data + ret->len, SECRET_MAX + 1 - ret->len);
		if (n > 0)
			ret->len += (size_t)n;
	} while ((n > 0 && ret->len <= SECRET_MAX) || (n < 0 && errno == EINTR));
	return n < 0 ? -errno : 0;
}

/* @ret: to be wiped. Return: 0, or the exit status of what has been reported. */
static int take_value(const Ctl *ctl, ProtobufCBinaryData *ret)
{
	const char *path = options_text(&ctl->options, "file");
	bool is_input = !path || strcmp(path, "-") == 0;
	const char *name = is_input ? "standard input" : path;
	cleanup_close int fd = is_input ? fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 0)
					: open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	int r;

	if (fd >= 0 && isatty(fd))
		return failure_report_local(
			ctl_json(ctl), EXIT_USAGE,
			"secret set: %s is a terminal, where the value would be "
			"seen; give --file FILE, or a pipe",
			name);
	r = fd < 0 ? -errno : read_value(fd, ret);
	if (r < 0)
		return failure_report_local(ctl_json(ctl), EXIT_LOCAL, "secret set: %s: %s", name,
					    strerrordesc_np(-r));
	if (ret->len > SECRET_MAX)
		return failure_report_local(ctl_json(ctl), EXIT_USAGE,
					    "secret set: %s has more than %d bytes", name,
					    SECRET_MAX);
	return 0;
}

/* No copy of the value is kept while the guest is waited for. */
static int send_secret(Ctl *ctl, Hearth__V1__SetSecretRequest *request)
{
	cleanup_(failure_release) Failure failure = { 0 };
	cleanup_(message_freep) Hearth__V1__SetSecretResponse *answer = NULL;
	cleanup_(client_stream_freep) ClientStream *stream = NULL;

	FILL_QUESTION(ctl, request);
	set_text(&request->name, ctl->options.arguments[1]);
	stream = client_stream(ctl_client(ctl), guest_method("SetSecret"), &request->base,
			       question_timeout(ctl));
	wipe(&request->data);
	if (client_answer(stream, &answer, &failure) < 0)
		return failure_report(&failure, ctl_json(ctl));
	if (ctl_json(ctl))
		json_print_message(&answer->base, true);
	else
		print_clean(stdout, "%s %s secret %s\n", request->vm_id,
			    request->remove ? "has no" : "has", request->name);
	return 0;
}

int run_secret_set(Ctl *ctl)
{
	cleanup_(message_freep) Hearth__V1__SetSecretRequest *request =
		message_new(&hearth__v1__set_secret_request__descriptor);
	int status = take_value(ctl, &request->data);

	if (status == 0)
		status = send_secret(ctl, request);
	wipe(&request->data);
	return status;
}

int run_secret_remove(Ctl *ctl)
{
	cleanup_(message_freep) Hearth__V1__SetSecretRequest *request =
		message_new(&hearth__v1__set_secret_request__descriptor);

	request->remove = true;
	return send_secret(ctl, request);
}
