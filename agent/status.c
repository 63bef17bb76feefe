/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/status.h"

#include "agent/lend.h"
#include "base/text.h"

#include <assert.h>
#include <google/protobuf/any.pb-c.h>
#include <google/rpc/error_details.pb-c.h>
#include <inttypes.h>
#include <string.h>

enum {
	METADATA_MAX = 12,
	DETAILS_MAX = 5, /* one of each type */
};

/* clang-format off */
static const grpc_status_code kind_codes[ERROR_KIND_COUNT_] = {
	[ERROR_NONE] = GRPC_STATUS_OK,
#define X(kind, code, retry, message) [ERROR_##kind] = GRPC_STATUS_##code,
	ERROR_TABLE(X)
#undef X
};

/* GRPC_STATUS_OK: as the kind has it. */
static const grpc_status_code cause_codes[CAUSE_COUNT_] = {
	[CAUSE_HOST] = GRPC_STATUS_OK,
#define X(cause, code, retry) [CAUSE_##cause] = GRPC_STATUS_##code,
	CAUSE_TABLE(X)
#undef X
};
/* clang-format on */

static const struct {
	const char *type;
	bool is_snapshot;
} resources[ERROR_KIND_COUNT_] = {
	[ERROR_VM_ALREADY_EXISTS] = { "hearth.v1.Vm", false },
	[ERROR_VM_NOT_FOUND] = { "hearth.v1.Vm", false },
	[ERROR_SNAPSHOT_ALREADY_EXISTS] = { "hearth.v1.Snapshot", true },
	[ERROR_SNAPSHOT_NOT_FOUND] = { "hearth.v1.Snapshot", true },
};

typedef Google__Rpc__ErrorInfo__MetadataEntry MetadataEntry;
typedef Google__Rpc__BadRequest__FieldViolation FieldViolation;
typedef Google__Rpc__QuotaFailure__Violation QuotaViolation;

/* A status while it is being put together. */
typedef struct Builder {
	Google__Rpc__Status status;
	Google__Protobuf__Any any[DETAILS_MAX];
	Google__Protobuf__Any *details[DETAILS_MAX];
	char message[ERROR_MESSAGE_MAX];
} Builder;

/* ErrorInfo's metadata while it is being put together. */
typedef struct Metadata {
	MetadataEntry entries[METADATA_MAX];
	MetadataEntry *pointers[METADATA_MAX];
	char numbers[METADATA_MAX][24];
	size_t count;
} Metadata;

grpc_status_code status_code_of(ErrorKind kind, ErrorCause cause)
{
	assert(kind < ERROR_KIND_COUNT_ && cause < CAUSE_COUNT_);
	return cause_codes[cause] != GRPC_STATUS_OK ? cause_codes[cause] : kind_codes[kind];
}

grpc_status_code status_code(const Error *err)
{
	return status_code_of(err->kind, err->cause);
}

/* Text cut within a character, or from elsewhere, must not make the status unreadable. */
static void make_text(char *text)
{
	if (text_is_utf8(text, strlen(text)))
		return;
	for (; *text; text++)
		if ((unsigned char)*text >= 0x80)
			*text = '?';
}

static void add_detail(Builder *builder, const ProtobufCMessage *message, const char *type_url)
{
	size_t i = builder->status.n_details++;
	Google__Protobuf__Any *any = &builder->any[i];

	assert(i < DETAILS_MAX);
	google__protobuf__any__init(any);
	any->type_url = lend(type_url);
	any->value.data = must_calloc(1, protobuf_c_message_get_packed_size(message));
	any->value.len = protobuf_c_message_pack(message, any->value.data);
	builder->details[i] = any;
}

/* Leaves out what is empty. */
static void metadata_add(Metadata *metadata, const char *key, const char *value)
{
	MetadataEntry *entry = &metadata->entries[metadata->count];

	if (!*value)
		return;
	assert(metadata->count < METADATA_MAX);
	google__rpc__error_info__metadata_entry__init(entry);
	entry->key = lend(key);
	entry->value = lend(value);
	metadata->pointers[metadata->count++] = entry;
}

static void metadata_add_number(Metadata *metadata, const char *key, uint64_t value)
{
	char *text = metadata->numbers[metadata->count];

	(void)text_append(text, text + sizeof metadata->numbers[0], "%" PRIu64, value);
	metadata_add(metadata, key, text);
}

static void add_info(Builder *builder, const Error *err)
{
	Google__Rpc__ErrorInfo info;
	Metadata metadata = { .count = 0 };

	google__rpc__error_info__init(&info);
	metadata_add(&metadata, "vm_id", err->vm_id);
	metadata_add(&metadata, "snapshot_id", err->snapshot_id);
	metadata_add(&metadata, "from", err->from);
	metadata_add(&metadata, "to", err->to);
	metadata_add(&metadata, "cause", error_cause_name(err->cause));
	metadata_add(&metadata, "retry", error_retry_name(error_retry(err)));
	metadata_add(&metadata, "resource", err->resource);
	if (err->resource[0]) {
		metadata_add_number(&metadata, "requested", err->requested);
		metadata_add_number(&metadata, "available", err->available);
	}
	if (err->resume_revision)
		metadata_add_number(&metadata, "resume_revision", err->resume_revision);

	info.reason = lend(error_kind_name(err->kind));
	info.domain = lend("hearth.v1");
	info.n_metadata = metadata.count;
	info.metadata = metadata.pointers;
	add_detail(builder, &info.base, "type.googleapis.com/google.rpc.ErrorInfo");
}

/* The violations of an error, one after another. */
typedef struct Violations {
	Error err; /* a copy, whose texts are as they can be sent */
	size_t most;
	uint32_t at;
	const char *field, *description;
} Violations;

static bool violations_next(Violations *violations)
{
	return error_next_violation(&violations->err, &violations->at, &violations->field,
				    &violations->description);
}

static void add_bad_request(Builder *builder, Violations *found)
{
	Google__Rpc__BadRequest request = GOOGLE__RPC__BAD_REQUEST__INIT;
	cleanup_free FieldViolation *violations = new0_array(FieldViolation, found->most);
	cleanup_free FieldViolation **pointers = new0_array(FieldViolation *, found->most);

	while (violations_next(found)) {
		FieldViolation *violation = &violations[request.n_field_violations];

		google__rpc__bad_request__field_violation__init(violation);
		violation->field = lend(found->field);
		violation->description = lend(found->description);
		pointers[request.n_field_violations++] = violation;
	}
	request.field_violations = pointers;
	add_detail(builder, &request.base, "type.googleapis.com/google.rpc.BadRequest");
}

static void add_quota_failure(Builder *builder, Violations *found)
{
	Google__Rpc__QuotaFailure failure = GOOGLE__RPC__QUOTA_FAILURE__INIT;
	cleanup_free QuotaViolation *violations = new0_array(QuotaViolation, found->most);
	cleanup_free QuotaViolation **pointers = new0_array(QuotaViolation *, found->most);

	while (violations_next(found)) {
		QuotaViolation *violation = &violations[failure.n_violations];

		google__rpc__quota_failure__violation__init(violation);
		violation->subject = lend(found->field);
		violation->description = lend(found->description);
		pointers[failure.n_violations++] = violation;
	}
	failure.violations = pointers;
	add_detail(builder, &failure.base, "type.googleapis.com/google.rpc.QuotaFailure");
}

/* What there is more than one of: bad fields, or resources of which there is too little. */
static void add_violations(Builder *builder, const Error *err)
{
	/* A violation takes two bytes at least. */
	Violations found = { .err = *err, .most = err->violation_bytes / 2 };

	if (!err->violation_bytes)
		return;
	for (char *text = found.err.violations; text < found.err.violations + err->violation_bytes;
	     text += strlen(text) + 1)
		make_text(text);
	if (err->kind == ERROR_CAPACITY)
		add_quota_failure(builder, &found);
	else
		add_bad_request(builder, &found);
}

static void add_resource(Builder *builder, const Error *err)
{
	Google__Rpc__ResourceInfo info;

	if (!resources[err->kind].type)
		return;
	google__rpc__resource_info__init(&info);
	info.resource_type = lend(resources[err->kind].type);
	info.resource_name = lend(resources[err->kind].is_snapshot ? err->snapshot_id : err->vm_id);
	info.description = builder->message;
	add_detail(builder, &info.base, "type.googleapis.com/google.rpc.ResourceInfo");
}

static void add_precondition(Builder *builder, const Error *err)
{
	Google__Rpc__PreconditionFailure__Violation violation;
	Google__Rpc__PreconditionFailure__Violation *violations[] = { &violation };
	Google__Rpc__PreconditionFailure failure = GOOGLE__RPC__PRECONDITION_FAILURE__INIT;
	char subject[ERROR_ID_MAX + 8];

	if (err->kind != ERROR_INVALID_TRANSITION && err->kind != ERROR_CONFLICT)
		return;
	(void)text_append(subject, subject + sizeof subject, "vms/%s", err->vm_id);
	google__rpc__precondition_failure__violation__init(&violation);
	violation.type = lend(err->kind == ERROR_CONFLICT ? "CONFLICT" : "STATE");
	violation.subject = subject;
	violation.description = builder->message;
	failure.n_violations = 1;
	failure.violations = violations;
	add_detail(builder, &failure.base, "type.googleapis.com/google.rpc.PreconditionFailure");
}

static void add_retry(Builder *builder, const Error *err)
{
	Google__Protobuf__Duration delay = GOOGLE__PROTOBUF__DURATION__INIT;
	Google__Rpc__RetryInfo info = GOOGLE__RPC__RETRY_INFO__INIT;

	if (!err->retry_delay_ms)
		return;
	delay.seconds = err->retry_delay_ms / 1000;
	delay.nanos = (int32_t)(err->retry_delay_ms % 1000 * 1000000);
	info.retry_delay = &delay;
	add_detail(builder, &info.base, "type.googleapis.com/google.rpc.RetryInfo");
}

/* builder_clear() releases what it gathers. */
static void builder_fill(Builder *builder, const Error *err)
{
	google__rpc__status__init(&builder->status);
	builder->status.code = (int32_t)status_code(err);
	builder->status.message = builder->message;
	builder->status.details = builder->details;
	add_info(builder, err);
	add_violations(builder, err);
	add_resource(builder, err);
	add_precondition(builder, err);
	add_retry(builder, err);
}

static void builder_clear(Builder *builder)
{
	for (size_t i = 0; i < builder->status.n_details; i++)
		free(builder->any[i].value.data);
}

grpc_slice status_pack(const Error *err)
{
	Builder builder = { .message = "" };
	grpc_slice slice;

	(void)error_message(err, builder.message);
	make_text(builder.message);
	builder_fill(&builder, err);
	slice = grpc_slice_malloc(google__rpc__status__get_packed_size(&builder.status));
	google__rpc__status__pack(&builder.status, GRPC_SLICE_START_PTR(slice));
	builder_clear(&builder);
	return slice;
}

Google__Rpc__Status *status_new(const char *kind, const char *cause, const char *message,
				const char *vm_id)
{
	Builder builder = { .message = "" };
	Error err = { .kind = error_kind_from_name(kind), .cause = error_cause_from_name(cause) };
	cleanup_free uint8_t *bytes = NULL;
	Google__Rpc__Status *copy;
	size_t size;

	error_about_vm(&err, vm_id);
	text_copy(builder.message, sizeof builder.message, message);
	make_text(builder.message);
	builder_fill(&builder, &err);
	bytes = must_calloc(1, google__rpc__status__get_packed_size(&builder.status));
	size = google__rpc__status__pack(&builder.status, bytes);
	builder_clear(&builder);

	/* Unpacked again, it is one tree that its usual function frees. */
	copy = google__rpc__status__unpack(NULL, size, bytes);
	if (!copy)
		abort();
	return copy;
}

const char *status_code_name(int code)
{
	static const char *const names[] = {
		"OK",
		"CANCELLED",
		"UNKNOWN",
		"INVALID_ARGUMENT",
		"DEADLINE_EXCEEDED",
		"NOT_FOUND",
		"ALREADY_EXISTS",
		"PERMISSION_DENIED",
		"RESOURCE_EXHAUSTED",
		"FAILED_PRECONDITION",
		"ABORTED",
		"OUT_OF_RANGE",
		"UNIMPLEMENTED",
		"INTERNAL",
		"UNAVAILABLE",
		"DATA_LOSS",
		"UNAUTHENTICATED",
	};

	return code >= 0 && (size_t)code < array_size(names) ? names[code] : "UNKNOWN";
}
