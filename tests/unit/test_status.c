/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/status.h"

#include <criterion/criterion.h>
#include <google/protobuf/any.pb-c.h>
#include <google/rpc/error_details.pb-c.h>
#include <string.h>

/* The sixteen of the contract, written out: the table in base/ must not drift from them. */
/* clang-format off */
static const struct {
	ErrorKind kind;
	grpc_status_code code;
	const char *message;
} sixteen[] = {
	{ ERROR_VM_ALREADY_EXISTS, GRPC_STATUS_ALREADY_EXISTS, "vm 'web-1' already exists" },
	{ ERROR_VM_NOT_FOUND, GRPC_STATUS_NOT_FOUND, "vm 'web-1' not found" },
	{ ERROR_INVALID_TRANSITION, GRPC_STATUS_FAILED_PRECONDITION, "invalid vm transition for 'web-1': running -> created" },
	{ ERROR_SNAPSHOT_ALREADY_EXISTS, GRPC_STATUS_ALREADY_EXISTS, "snapshot 'nightly' already exists for vm 'web-1'" },
	{ ERROR_SNAPSHOT_NOT_FOUND, GRPC_STATUS_NOT_FOUND, "snapshot 'nightly' not found for vm 'web-1'" },
	{ ERROR_STATE_POISONED, GRPC_STATUS_INTERNAL, "provider state lock poisoned" },
	{ ERROR_UNSUPPORTED, GRPC_STATUS_UNIMPLEMENTED, "backend unsupported: THIS" },
	{ ERROR_METRICS, GRPC_STATUS_UNAVAILABLE, "metrics: THIS" },
	{ ERROR_SHUTDOWN, GRPC_STATUS_INTERNAL, "shutdown failed: THIS" },
	{ ERROR_FIREWALL, GRPC_STATUS_INTERNAL, "firewall error: THIS" },
	{ ERROR_JAILER, GRPC_STATUS_INTERNAL, "jailer error: THIS" },
	{ ERROR_NETWORK_CONFIG, GRPC_STATUS_INVALID_ARGUMENT, "network config invalid: THIS" },
	{ ERROR_NETWORK_SETUP, GRPC_STATUS_INTERNAL, "network setup failed: THIS" },
	{ ERROR_ROOTFS, GRPC_STATUS_INTERNAL, "rootfs: THIS" },
	{ ERROR_UFFD, GRPC_STATUS_INTERNAL, "uffd error: THIS" },
	{ ERROR_GUEST_METADATA, GRPC_STATUS_UNAVAILABLE, "guest metadata: THIS" },
};

static const struct {
	ErrorKind kind;
	grpc_status_code code;
} others[] = {
	{ ERROR_VMM_FAILED, GRPC_STATUS_INTERNAL },
	{ ERROR_STORE, GRPC_STATUS_UNAVAILABLE },
	{ ERROR_SNAPSHOT_FAILED, GRPC_STATUS_INTERNAL },
	{ ERROR_CAPACITY, GRPC_STATUS_RESOURCE_EXHAUSTED },
	{ ERROR_INVALID_REQUEST, GRPC_STATUS_INVALID_ARGUMENT },
	{ ERROR_UNKNOWN_FIELD, GRPC_STATUS_INVALID_ARGUMENT },
	{ ERROR_CONFLICT, GRPC_STATUS_ABORTED },
	{ ERROR_IN_USE, GRPC_STATUS_FAILED_PRECONDITION },
	{ ERROR_COMPACTED, GRPC_STATUS_OUT_OF_RANGE },
	{ ERROR_STORE_CHANGED, GRPC_STATUS_OUT_OF_RANGE },
	{ ERROR_PAGE_TOKEN, GRPC_STATUS_OUT_OF_RANGE },
	{ ERROR_CORDONED, GRPC_STATUS_UNAVAILABLE },
	{ ERROR_DRAINING, GRPC_STATUS_UNAVAILABLE },
	{ ERROR_QUEUE_FULL, GRPC_STATUS_RESOURCE_EXHAUSTED },
	{ ERROR_WATCH_SLOW, GRPC_STATUS_UNAVAILABLE },
	{ ERROR_UNAUTHENTICATED, GRPC_STATUS_UNAUTHENTICATED },
	{ ERROR_FORBIDDEN, GRPC_STATUS_PERMISSION_DENIED },
};

static const struct {
	ErrorCause cause;
	grpc_status_code code;
} causes[] = {
	{ CAUSE_INPUT, GRPC_STATUS_INVALID_ARGUMENT },
	{ CAUSE_MISSING, GRPC_STATUS_NOT_FOUND },
	{ CAUSE_EXHAUSTED, GRPC_STATUS_RESOURCE_EXHAUSTED },
	{ CAUSE_EXISTS, GRPC_STATUS_ALREADY_EXISTS },
	{ CAUSE_TIMEOUT, GRPC_STATUS_DEADLINE_EXCEEDED },
	{ CAUSE_CORRUPT, GRPC_STATUS_DATA_LOSS },
};
/* clang-format on */

static Error error_about(ErrorKind kind, ErrorCause cause)
{
	return (Error){
		.kind = kind,
		.cause = cause,
		.vm_id = "web-1",
		.snapshot_id = "nightly",
		.from = "running",
		.to = "created",
		.what = "THIS",
	};
}

static Google__Rpc__Status *status_of(const Error *err)
{
	grpc_slice slice = status_pack(err);
	Google__Rpc__Status *status = google__rpc__status__unpack(NULL, GRPC_SLICE_LENGTH(slice),
								  GRPC_SLICE_START_PTR(slice));

	grpc_slice_unref(slice);
	return status;
}

/* The bytes of the detail of type google.rpc.@name, or NULL. */
static const ProtobufCBinaryData *detail(const Google__Rpc__Status *status, const char *name)
{
	for (size_t i = 0; i < status->n_details; i++)
		if (strcmp(strrchr(status->details[i]->type_url, '.') + 1, name) == 0)
			return &status->details[i]->value;
	return NULL;
}

static Google__Rpc__ErrorInfo *info_of(const Google__Rpc__Status *status)
{
	const ProtobufCBinaryData *bytes = detail(status, "ErrorInfo");

	return google__rpc__error_info__unpack(NULL, bytes->len, bytes->data);
}

static const char *metadata(const Google__Rpc__ErrorInfo *info, const char *key)
{
	for (size_t i = 0; i < info->n_metadata; i++)
		if (strcmp(info->metadata[i]->key, key) == 0)
			return info->metadata[i]->value;
	return NULL;
}

Test(status, the_tables_of_this_test_cover_every_kind_and_cause)
{
	cr_assert_eq(array_size(sixteen), 16);
	cr_assert_eq(array_size(sixteen) + array_size(others), ERROR_KIND_COUNT_ - 1);
	cr_assert_eq(array_size(causes), CAUSE_COUNT_ - 1);
}

Test(status, the_sixteen_have_their_codes_and_exact_messages)
{
	for (size_t i = 0; i < array_size(sixteen); i++) {
		Error err = error_about(sixteen[i].kind, CAUSE_HOST);
		Google__Rpc__Status *status = status_of(&err);

		cr_assert_eq(status_code(&err), sixteen[i].code, "%s", sixteen[i].message);
		cr_assert_eq(status->code, (int)sixteen[i].code);
		cr_assert_str_eq(status->message, sixteen[i].message);
		google__rpc__status__free_unpacked(status, NULL);
	}
}

Test(status, the_other_kinds_have_their_codes)
{
	for (size_t i = 0; i < array_size(others); i++)
		cr_assert_eq(status_code_of(others[i].kind, CAUSE_HOST), others[i].code, "%s",
			     error_kind_name(others[i].kind));
}

Test(status, a_cause_overrides_the_code_of_every_kind_and_no_message)
{
	for (ErrorKind kind = ERROR_NONE + 1; kind < ERROR_KIND_COUNT_; kind++) {
		Error host = error_about(kind, CAUSE_HOST);
		char expected[ERROR_MESSAGE_MAX];

		(void)error_message(&host, expected);
		for (size_t i = 0; i < array_size(causes); i++) {
			Error err = error_about(kind, causes[i].cause);
			Google__Rpc__Status *status = status_of(&err);
			Google__Rpc__ErrorInfo *info = info_of(status);

			cr_assert_eq(status_code(&err), causes[i].code);
			cr_assert_eq(status->code, (int)causes[i].code);
			cr_assert_str_eq(status->message, expected);
			cr_assert_str_eq(info->reason, error_kind_name(kind));
			cr_assert_str_eq(metadata(info, "cause"),
					 error_cause_name(causes[i].cause));
			google__rpc__error_info__free_unpacked(info, NULL);
			google__rpc__status__free_unpacked(status, NULL);
		}
	}
}

Test(status, error_info_says_what_is_set_and_nothing_else)
{
	Error err = { 0 };
	Google__Rpc__Status *status;
	Google__Rpc__ErrorInfo *info;
	(void)error_add_capacity(&err, "memory_mib", 4096, 512);
	err.resume_revision = 77;

	status = status_of(&err);
	info = info_of(status);

	cr_assert_str_eq(info->domain, "hearth.v1");
	cr_assert_str_eq(info->reason, "CAPACITY");
	cr_assert_str_eq(metadata(info, "resource"), "memory_mib");
	cr_assert_str_eq(metadata(info, "requested"), "4096");
	cr_assert_str_eq(metadata(info, "available"), "512");
	cr_assert_str_eq(metadata(info, "resume_revision"), "77");
	cr_assert_str_eq(metadata(info, "cause"), "HOST");
	cr_assert_str_eq(metadata(info, "retry"), "ELSEWHERE");
	cr_assert_null(metadata(info, "vm_id"));
	cr_assert_null(metadata(info, "from"));
	cr_assert_eq(status->n_details, 2);
	google__rpc__error_info__free_unpacked(info, NULL);
	google__rpc__status__free_unpacked(status, NULL);
}

Test(status, every_violation_stands_in_bad_request)
{
	Error err = { 0 };
	Google__Rpc__Status *status;
	Google__Rpc__BadRequest *bad;
	const ProtobufCBinaryData *bytes;
	(void)error_add_violation(&err, "vm_id", "is empty");
	(void)error_add_violation(&err, "spec.drives[1].path", "is %s", "relative");

	status = status_of(&err);
	bytes = detail(status, "BadRequest");
	bad = google__rpc__bad_request__unpack(NULL, bytes->len, bytes->data);

	cr_assert_eq(bad->n_field_violations, 2);
	cr_assert_str_eq(bad->field_violations[0]->field, "vm_id");
	cr_assert_str_eq(bad->field_violations[1]->field, "spec.drives[1].path");
	cr_assert_str_eq(bad->field_violations[1]->description, "is relative");
	google__rpc__bad_request__free_unpacked(bad, NULL);
	google__rpc__status__free_unpacked(status, NULL);
}

Test(status, every_resource_of_which_there_is_too_little_stands_in_quota_failure)
{
	Error err = { 0 };
	Google__Rpc__Status *status;
	Google__Rpc__QuotaFailure *failure;
	const ProtobufCBinaryData *bytes;
	(void)error_add_capacity(&err, "vcpus", 4, 1);
	(void)error_add_capacity(&err, "memory_mib", 4096, 512);

	status = status_of(&err);
	bytes = detail(status, "QuotaFailure");
	failure = google__rpc__quota_failure__unpack(NULL, bytes->len, bytes->data);

	cr_assert_str_eq(status->message, "insufficient vcpus: requested 4, available 1; "
					  "memory_mib: requested 4096, available 512");
	cr_assert_eq(failure->n_violations, 2);
	cr_assert_str_eq(failure->violations[0]->subject, "vcpus");
	cr_assert_str_eq(failure->violations[1]->subject, "memory_mib");
	cr_assert_str_eq(failure->violations[1]->description, "requested 4096, available 512");
	google__rpc__quota_failure__free_unpacked(failure, NULL);
	google__rpc__status__free_unpacked(status, NULL);
}

Test(status, what_is_missing_or_there_already_is_named)
{
	Error vm = error_about(ERROR_VM_NOT_FOUND, CAUSE_HOST);
	Error snapshot = error_about(ERROR_SNAPSHOT_ALREADY_EXISTS, CAUSE_HOST);
	Google__Rpc__Status *statuses[] = { status_of(&vm), status_of(&snapshot) };
	const char *const types[] = { "hearth.v1.Vm", "hearth.v1.Snapshot" };
	const char *const names[] = { "web-1", "nightly" };

	for (size_t i = 0; i < 2; i++) {
		const ProtobufCBinaryData *bytes = detail(statuses[i], "ResourceInfo");
		Google__Rpc__ResourceInfo *info =
			google__rpc__resource_info__unpack(NULL, bytes->len, bytes->data);

		cr_assert_str_eq(info->resource_type, types[i]);
		cr_assert_str_eq(info->resource_name, names[i]);
		google__rpc__resource_info__free_unpacked(info, NULL);
		google__rpc__status__free_unpacked(statuses[i], NULL);
	}
}

Test(status, a_refused_transition_is_a_precondition_that_failed)
{
	Error err = { 0 };
	Google__Rpc__Status *status;
	Google__Rpc__PreconditionFailure *failure;
	const ProtobufCBinaryData *bytes;
	(void)error_set_transition(&err, "web-1", "running", "created");

	status = status_of(&err);
	bytes = detail(status, "PreconditionFailure");
	failure = google__rpc__precondition_failure__unpack(NULL, bytes->len, bytes->data);

	cr_assert_eq(failure->n_violations, 1);
	cr_assert_str_eq(failure->violations[0]->type, "STATE");
	cr_assert_str_eq(failure->violations[0]->subject, "vms/web-1");
	google__rpc__precondition_failure__free_unpacked(failure, NULL);
	google__rpc__status__free_unpacked(status, NULL);
}

Test(status, a_delay_becomes_retry_info)
{
	Error err = error_about(ERROR_QUEUE_FULL, CAUSE_HOST);
	Google__Rpc__Status *status;
	Google__Rpc__RetryInfo *info;
	const ProtobufCBinaryData *bytes;
	err.retry_delay_ms = 2500;

	status = status_of(&err);
	bytes = detail(status, "RetryInfo");
	info = google__rpc__retry_info__unpack(NULL, bytes->len, bytes->data);

	cr_assert_eq(info->retry_delay->seconds, 2);
	cr_assert_eq(info->retry_delay->nanos, 500000000);
	google__rpc__retry_info__free_unpacked(info, NULL);
	google__rpc__status__free_unpacked(status, NULL);
}

Test(status, bytes_that_are_no_text_do_not_spoil_it)
{
	Error err = { 0 };
	Google__Rpc__Status *status;
	(void)error_set(&err, ERROR_VMM_FAILED, "it said \xff\xfe");

	status = status_of(&err);

	cr_assert_str_eq(status->message, "vmm failed: it said ??");
	google__rpc__status__free_unpacked(status, NULL);
}

Test(status, a_recorded_failure_is_told_as_it_was)
{
	Google__Rpc__Status *status =
		status_new("ROOTFS", "CORRUPT", "rootfs: checksum of disk", "web-1");
	Google__Rpc__ErrorInfo *info = info_of(status);

	cr_assert_eq(status->code, GRPC_STATUS_DATA_LOSS);
	cr_assert_str_eq(status->message, "rootfs: checksum of disk");
	cr_assert_str_eq(metadata(info, "vm_id"), "web-1");
	google__rpc__error_info__free_unpacked(info, NULL);
	google__rpc__status__free_unpacked(status, NULL);
}
