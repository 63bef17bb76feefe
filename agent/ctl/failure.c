/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/ctl/failure.h"

#include "agent/ctl/format.h"
#include "agent/ctl/json.h"
#include "agent/ctl/message.h"
#include "base/text.h"
#include "google/rpc/error_details.pb-c.h"

#include <errno.h>
#include <grpc/status.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

static const char *const code_names[] = {
	[GRPC_STATUS_OK] = "OK",
	[GRPC_STATUS_CANCELLED] = "CANCELLED",
	[GRPC_STATUS_UNKNOWN] = "UNKNOWN",
	[GRPC_STATUS_INVALID_ARGUMENT] = "INVALID_ARGUMENT",
	[GRPC_STATUS_DEADLINE_EXCEEDED] = "DEADLINE_EXCEEDED",
	[GRPC_STATUS_NOT_FOUND] = "NOT_FOUND",
	[GRPC_STATUS_ALREADY_EXISTS] = "ALREADY_EXISTS",
	[GRPC_STATUS_PERMISSION_DENIED] = "PERMISSION_DENIED",
	[GRPC_STATUS_RESOURCE_EXHAUSTED] = "RESOURCE_EXHAUSTED",
	[GRPC_STATUS_FAILED_PRECONDITION] = "FAILED_PRECONDITION",
	[GRPC_STATUS_ABORTED] = "ABORTED",
	[GRPC_STATUS_OUT_OF_RANGE] = "OUT_OF_RANGE",
	[GRPC_STATUS_UNIMPLEMENTED] = "UNIMPLEMENTED",
	[GRPC_STATUS_INTERNAL] = "INTERNAL",
	[GRPC_STATUS_UNAVAILABLE] = "UNAVAILABLE",
	[GRPC_STATUS_DATA_LOSS] = "DATA_LOSS",
	[GRPC_STATUS_UNAUTHENTICATED] = "UNAUTHENTICATED",
};

/* How the agent's message begins that lists bad fields. */
static const char invalid[] = "invalid request";

/* What to do: by the agent's reason, then by its "retry", then by the code alone. */
static const struct {
	const char *when;
	const char *hint;
} hints[] = {
	{ "VM_NOT_FOUND", "see which VMs there are with 'hearthctl list'" },
	{ "VM_ALREADY_EXISTS", "choose another name, or destroy the VM that has it" },
	{ "CORDONED",
	  "create it on another node; 'hearthctl node get' says who cordoned this one" },
	{ "HERE", "nothing is wrong with the request; try again" },
	{ "ELSEWHERE", "this node cannot do it; try another node, or see 'hearthctl doctor'" },
	{ "AFTER_READ", "read the VM again ('hearthctl get') and decide from what it is now" },
	{ "FIX_REQUEST", "correct the request; repeating it will fail again" },
	{ "OPERATOR", "the node needs an operator; see 'hearthctl describe' and hearthd's log" },
	{ "DEADLINE_EXCEEDED",
	  "what was asked for may go on; see 'hearthctl get', or wait longer with "
	  "--timeout" },
	{ "UNAVAILABLE",
	  "the connection broke, and what was asked for may go on; see 'hearthctl get'" },
	{ "UNIMPLEMENTED", "the agent does not know this call; see 'hearthctl version'" },
};

void failure_release(Failure *failure)
{
	free(failure->message);
	if (failure->status)
		google__rpc__status__free_unpacked(failure->status, NULL);
	*failure = (Failure){ 0 };
}

const char *code_name(int code)
{
	if (code < 0 || (size_t)code >= array_size(code_names))
		return "UNKNOWN";
	return code_names[code];
}

/* The detail of type @type, unpacked, the caller's to free; NULL if there is none. */
static void *detail(const Failure *failure, const ProtobufCMessageDescriptor *type)
{
	for (size_t i = 0; failure->status && i < failure->status->n_details; i++) {
		const Google__Protobuf__Any *any = failure->status->details[i];
		const char *name = strrchr(any->type_url, '/');

		if (name && strcmp(name + 1, type->name) == 0)
			return protobuf_c_message_unpack(type, NULL, any->value.len,
							 any->value.data);
	}
	return NULL;
}

static const char *metadata(const Google__Rpc__ErrorInfo *info, const char *key)
{
	for (size_t i = 0; info && i < info->n_metadata; i++)
		if (strcmp(info->metadata[i]->key, key) == 0)
			return info->metadata[i]->value;
	return "";
}

bool failure_is(const Failure *failure, const char *reason)
{
	cleanup_(message_freep) Google__Rpc__ErrorInfo *info =
		detail(failure, &google__rpc__error_info__descriptor);

	return info && strcmp(info->reason, reason) == 0;
}

static void print_violations(const Failure *failure)
{
	cleanup_(message_freep) Google__Rpc__BadRequest *bad =
		detail(failure, &google__rpc__bad_request__descriptor);
	cleanup_(message_freep) Google__Rpc__PreconditionFailure *unmet =
		detail(failure, &google__rpc__precondition_failure__descriptor);

	for (size_t i = 0; bad && i < bad->n_field_violations; i++)
		print_clean(stderr, "  field %s: %s\n", bad->field_violations[i]->field,
			    bad->field_violations[i]->description);
	for (size_t i = 0; unmet && i < unmet->n_violations; i++) {
		if (strcmp(unmet->violations[i]->description, failure->message) == 0)
			continue;
		print_clean(stderr, "  unmet %s (%s): %s\n", unmet->violations[i]->type,
			    unmet->violations[i]->subject, unmet->violations[i]->description);
	}
}

static void print_resource(const Failure *failure)
{
	cleanup_(message_freep) Google__Rpc__ResourceInfo *resource =
		detail(failure, &google__rpc__resource_info__descriptor);

	/* Mostly the message names it already. */
	if (resource && !strstr(failure->message, resource->resource_name))
		print_clean(stderr, "  about %s '%s' %s\n", resource->resource_type,
			    resource->resource_name, resource->description);
}

static bool print_hint_for(const char *when)
{
	for (size_t i = 0; i < array_size(hints); i++) {
		if (strcmp(hints[i].when, when) != 0)
			continue;
		print_clean(stderr, "  hint: %s\n", hints[i].hint);
		return true;
	}
	return false;
}

static void print_hint(const Failure *failure, const Google__Rpc__ErrorInfo *info)
{
	cleanup_(message_freep) Google__Rpc__RetryInfo *retry =
		detail(failure, &google__rpc__retry_info__descriptor);

	if (retry && retry->retry_delay) {
		print_clean(stderr, "  hint: try again in %.3g s\n",
			    (double)retry->retry_delay->seconds + retry->retry_delay->nanos / 1e9);
		return;
	}
	if (!info)
		print_hint_for(code_name(failure->code));
	else if (!print_hint_for(info->reason))
		print_hint_for(metadata(info, "retry"));
}

/* Why nobody answers at a unix socket, which gRPC does not say in words; 0 if unknown. */
static int connect_errno(const char *address)
{
	struct sockaddr_un name = { .sun_family = AF_UNIX };
	cleanup_close int fd = -1;

	if (strncmp(address, "unix:", 5) != 0 || strlen(address + 5) >= sizeof name.sun_path)
		return 0;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	text_copy(name.sun_path, sizeof name.sun_path, address + 5);
	if (fd < 0 || connect(fd, (const struct sockaddr *)&name, sizeof name) == 0)
		return 0;
	return errno;
}

static void print_unreachable(const Failure *failure)
{
	int errnum = connect_errno(failure->address);

	print_clean(stderr, "error: no answer from hearthd at %s: %s\n", failure->address,
		    errnum ? strerrordesc_np(errnum) : failure->message);
	if (errnum == EACCES)
		print_clean(stderr, "  hint: the socket is its owner's alone; try as root\n");
	else
		print_clean(
			stderr,
			"  hint: start it with 'hearthd --listen %s', or name another agent with "
			"--address or HEARTH_ADDRESS\n",
			failure->address);
}

static void print_headline(const Failure *failure, const Google__Rpc__ErrorInfo *info)
{
	cleanup_(message_freep) Google__Rpc__BadRequest *bad =
		detail(failure, &google__rpc__bad_request__descriptor);
	const char *message = failure->message;
	size_t length = strlen(message);

	if (!info && failure->code == GRPC_STATUS_DEADLINE_EXCEEDED) {
		message = "no answer in time";
		length = strlen(message);
	}
	/* The fields follow, a line each. */
	if (bad && bad->n_field_violations && strncmp(message, invalid, strlen(invalid)) == 0)
		length = strlen(invalid);
	print_clean(stderr, "error: %.*s (%s)\n", (int)length, message,
		    info ? info->reason : code_name(failure->code));
}

static void report_text(const Failure *failure)
{
	cleanup_(message_freep) Google__Rpc__ErrorInfo *info =
		detail(failure, &google__rpc__error_info__descriptor);

	if (failure->unreachable) {
		print_unreachable(failure);
		return;
	}
	if (failure->interrupted) {
		print_clean(stderr, "interrupted: no longer waiting; what was asked for goes on\n");
		return;
	}
	print_headline(failure, info);
	print_violations(failure);
	print_resource(failure);
	print_hint(failure, info);
}

static void report_json(const Failure *failure)
{
	cleanup_(json_freep) json_t *details = json_array();
	cleanup_(json_freep) json_t *report = NULL;

	for (size_t i = 0; failure->status && i < failure->status->n_details; i++)
		(void)json_array_append_new(details,
					    json_from_message(&failure->status->details[i]->base));
	report = json_pack("{s:{s:i, s:s, s:s, s:O*}}", "error", "code", failure->code, "status",
			   code_name(failure->code), "message", failure->message, "details",
			   json_array_size(details) ? details : NULL);
	json_print(stderr, report, false);
}

int failure_report(const Failure *failure, bool json)
{
	(void)fflush(stdout); /* what went well before comes first */
	if (json)
		report_json(failure);
	else
		report_text(failure);
	return EXIT_RPC + failure->code;
}

int failure_report_local(bool json, int exit_status, const char *format, ...)
{
	char message[1024];
	va_list ap;

	(void)fflush(stdout);
	va_start(ap, format);
	(void)text_vappend(message, message + sizeof message, format, ap);
	va_end(ap);
	if (json) {
		cleanup_(json_freep) json_t *report = json_pack(
			"{s:{s:s, s:s}}", "error", "status",
			exit_status == EXIT_USAGE ? "USAGE" : "LOCAL", "message", message);

		json_print(stderr, report, false);
	} else {
		print_clean(stderr, "hearthctl: %s\n", message);
	}
	return exit_status;
}
