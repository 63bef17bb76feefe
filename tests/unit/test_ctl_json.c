/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/ctl/json.h"
#include "agent/ctl/message.h"
#include "google/protobuf/any.pb-c.h"
#include "google/rpc/error_details.pb-c.h"
#include "google/rpc/status.pb-c.h"
#include "hearth/v1/vm.pb-c.h"
#include "tests/support/full_spec.h"

#include <criterion/criterion.h>
#include <string.h>

/* @text as a VmSpec, or NULL with *@err. */
static ProtobufCMessage *read_spec(const char *text, Error *err)
{
	cleanup_(json_freep) json_t *json = json_loads(text, 0, NULL);
	ProtobufCMessage *message = NULL;

	cr_assert_not_null(json);
	if (json_to_message(&message, &hearth__v1__vm_spec__descriptor, json, err) < 0)
		return NULL;
	return message;
}

/* Reads @text and writes it again; the caller's to free. */
static char *round_trip(const char *text)
{
	Error err = { 0 };
	cleanup_(message_freep) ProtobufCMessage *message = read_spec(text, &err);
	cleanup_(json_freep) json_t *json = NULL;

	cr_assert_not_null(message, "%s", err.what);
	json = json_from_message(message);
	return json_dumps(json, JSON_COMPACT);
}

/* Does reading @text find @field at fault? */
static bool blames(const char *text, const char *field)
{
	Error err = { 0 };
	cleanup_(message_freep) ProtobufCMessage *message = read_spec(text, &err);
	const char *found, *description;
	uint32_t at = 0;

	cr_assert_null(message, "%s", text);
	while (error_next_violation(&err, &at, &found, &description))
		if (strcmp(found, field) == 0)
			return true;
	return false;
}

Test(ctl_json, a_spec_survives_being_read_and_written)
{
	const char *text =
		"{\"backend\":\"BACKEND_QEMU\",\"labels\":{\"a\":\"b\"},"
		"\"machine\":{\"vcpus\":2,\"memoryMib\":\"18446744073709551615\"},"
		"\"drives\":[{\"driveId\":\"root\",\"readOnly\":true},{\"path\":\"/x\"}],"
		"\"restartPolicy\":{\"initialBackoff\":\"1.5s\"},"
		"\"expiresAt\":\"2026-12-31T23:00:00.25Z\"}";
	cleanup_free char *written = round_trip(text);

	cr_assert_str_eq(written, text);
}

Test(ctl_json, a_whole_spec_survives_being_read_and_written)
{
	cleanup_free char *written = round_trip(full_spec);

	cr_assert_str_eq(written, full_spec);
}

/* NOLINTBEGIN(misc-no-recursion): as deep as the contract's messages lie in each other */

static void check_full(const ProtobufCMessage *message);

/* A message, or the first of a list, at @at. */
static void check_message(const ProtobufCFieldDescriptor *field, const void *at)
{
	cr_assert_not_null(*(void *const *)at, "%s", field->name);
	if (field->label == PROTOBUF_C_LABEL_REPEATED)
		check_full(**(ProtobufCMessage *const *const *)at);
	else
		check_full(*(ProtobufCMessage *const *)at);
}

/* Fails if a field of @message, or of a message in it, has the value it has when left out. */
static void check_full(const ProtobufCMessage *message)
{
	const ProtobufCMessageDescriptor *type = message->descriptor;

	for (unsigned i = 0; i < type->n_fields; i++) {
		const ProtobufCFieldDescriptor *field = &type->fields[i];
		const void *at = (const char *)message + field->offset;
		uint32_t number;

		memcpy(&number, at, sizeof number);
		if (field->type == PROTOBUF_C_TYPE_STRING &&
		    field->label == PROTOBUF_C_LABEL_REPEATED)
			cr_assert_not_null(*(char **const *)at, "%s.%s", type->name, field->name);
		else if (field->type == PROTOBUF_C_TYPE_STRING)
			cr_assert(**(char *const *)at, "%s.%s", type->name, field->name);
		else if (field->type != PROTOBUF_C_TYPE_MESSAGE)
			/* Fractions of a second, which not every time has. */
			cr_assert(number || strcmp(field->name, "nanos") == 0, "%s.%s", type->name,
				  field->name);
		else
			check_message(field, at);
	}
}

/* NOLINTEND(misc-no-recursion) */

Test(ctl_json, the_whole_spec_leaves_no_field_out)
{
	Error err = { 0 };
	cleanup_(message_freep) ProtobufCMessage *message = read_spec(full_spec, &err);

	cr_assert_not_null(message, "%s", err.what);
	check_full(message);
}

Test(ctl_json, names_of_the_proto_and_null_are_read_too)
{
	cleanup_free char *written = round_trip("{\"machine\":{\"memory_mib\":64,\"vcpus\":null},"
						"\"boot\":null,\"restart_policy\":{}}");

	cr_assert_str_eq(written, "{\"machine\":{\"memoryMib\":\"64\"},\"restartPolicy\":{}}");
}

Test(ctl_json, a_time_with_an_offset_is_read_as_utc)
{
	cleanup_free char *written = round_trip("{\"expiresAt\":\"2027-01-01T00:30:00+01:00\"}");

	cr_assert_str_eq(written, "{\"expiresAt\":\"2026-12-31T23:30:00Z\"}");
}

Test(ctl_json, what_does_not_fit_is_named_by_its_path)
{
	cr_assert(blames("{\"bot\":{}}", "bot"));
	cr_assert(blames("{\"machine\":{\"foo\":1}}", "machine.foo"));
	cr_assert(blames("{\"machine\":7}", "machine"));
	cr_assert(blames("{\"machine\":{\"vcpus\":-1}}", "machine.vcpus"));
	cr_assert(blames("{\"machine\":{\"vcpus\":4294967296}}", "machine.vcpus"));
	cr_assert(blames("{\"machine\":{\"memoryMib\":\"18446744073709551616\"}}",
			 "machine.memoryMib"));
	cr_assert(blames("{\"drives\":{}}", "drives"));
	cr_assert(blames("{\"drives\":[{},{\"path\":3}]}", "drives[1].path"));
	cr_assert(blames("{\"labels\":{\"a\":\"x\",\"b\":1}}", "labels.b"));
	cr_assert(blames("{\"backend\":\"QEMU\"}", "backend"));
	cr_assert(blames("{\"restartPolicy\":{\"maxBackoff\":\"1\"}}", "restartPolicy.maxBackoff"));
	cr_assert(blames("{\"expiresAt\":\"2026-02-30T00:00:00Z\"}", "expiresAt"));
	cr_assert(blames("{\"restart_policy\":{},\"restartPolicy\":{}}", "restartPolicy"));
	cr_assert(blames("{\"devices\":{\"entropy\":{\"rateLimiter\":{\"ops\":{\"size\":-1}}}}}",
			 "devices.entropy.rateLimiter.ops.size"));
	cr_assert(blames("{\"machine\":{\"hugePages\":\"2m\"}}", "machine.hugePages"));
	cr_assert(blames("[]", "(document)"));
}

Test(ctl_json, every_fault_is_reported_at_once)
{
	Error err = { 0 };

	cr_assert_null(
		read_spec("{\"a\":1,\"machine\":{\"b\":1},\"boot\":{\"kernelPath\":1}}", &err));

	cr_assert_eq(err.kind, ERROR_INVALID_REQUEST);
	cr_assert_eq(err.violation_count, 3);
}

Test(ctl_json, error_details_are_expanded)
{
	Google__Rpc__ErrorInfo info;
	Google__Protobuf__Any any;
	uint8_t packed[64];
	cleanup_(json_freep) json_t *json = NULL;

	google__rpc__error_info__init(&info);
	google__protobuf__any__init(&any);
	info.reason = (char[]){ "VM_NOT_FOUND" };
	any.type_url = (char[]){ "type.googleapis.com/google.rpc.ErrorInfo" };
	any.value.data = packed;
	any.value.len = google__rpc__error_info__pack(&info, packed);
	json = json_from_message(&any.base);

	cr_assert_str_eq(json_string_value(json_object_get(json, "@type")), any.type_url);
	cr_assert_str_eq(json_string_value(json_object_get(json, "reason")), "VM_NOT_FOUND");
}

Test(ctl_json, details_of_unknown_type_are_kept_in_base64)
{
	Google__Protobuf__Any any;
	cleanup_(json_freep) json_t *json = NULL;

	google__protobuf__any__init(&any);
	any.type_url = (char[]){ "example.org/some.Thing" };
	any.value.data = (uint8_t[]){ 0xff, 0x00, 0x10, 0x83 };
	any.value.len = 4;
	json = json_from_message(&any.base);

	cr_assert_str_eq(json_string_value(json_object_get(json, "value")), "/wAQgw==");
}

Test(ctl_json, text_that_is_not_utf8_is_still_written)
{
	Hearth__V1__Vm vm;
	cleanup_(json_freep) json_t *json = NULL;

	hearth__v1__vm__init(&vm);
	vm.vm_id = (char[]){ "a\xff" };
	json = json_from_message(&vm.base);

	cr_assert_str_eq(json_string_value(json_object_get(json, "vmId")), "a\xef\xbf\xbd");
}
