/* SPDX-License-Identifier: Apache-2.0 */
#include "base/cleanup.h"

#include <criterion/criterion.h>
#include <grpc/health/v1/health.pb-c.h>
#include <grpc/reflection/v1/reflection.pb-c.h>
#include <grpc/reflection/v1alpha/reflection.pb-c.h>
#include <hearth/v1/egress.pb-c.h>
#include <hearth/v1/image.pb-c.h>
#include <hearth/v1/node.pb-c.h>
#include <hearth/v1/vm.pb-c.h>
#include <string.h>

enum {
	DEPTH_MAX = 16, /* what the decoder lets pass */
};

static const ProtobufCServiceDescriptor *const services[] = {
	&hearth__v1__vm_service__descriptor,
	&hearth__v1__node_service__descriptor,
	&hearth__v1__egress_service__descriptor,
	&hearth__v1__image_service__descriptor,
	&grpc__health__v1__health__descriptor,
	&grpc__reflection__v1__server_reflection__descriptor,
	&grpc__reflection__v1alpha__server_reflection__descriptor,
	NULL,
};

typedef struct Walk {
	const ProtobufCMessageDescriptor *within[DEPTH_MAX];
	unsigned depth;
} Walk;

static const ProtobufCMessageDescriptor *sub_message(const ProtobufCFieldDescriptor *field)
{
	return field->type == PROTOBUF_C_TYPE_MESSAGE ? field->descriptor : NULL;
}

/* NOLINTNEXTLINE(misc-no-recursion): it ends at the first message that is within itself */
static void walk(Walk *at, const ProtobufCMessageDescriptor *type)
{
	for (unsigned i = 0; i < at->depth; i++)
		cr_assert_neq(at->within[i], type, "%s is within itself", type->name);
	cr_assert_lt(at->depth, DEPTH_MAX, "%s is too deep", type->name);

	at->within[at->depth++] = type;
	for (unsigned i = 0; i < type->n_fields; i++)
		if (sub_message(&type->fields[i]))
			walk(at, sub_message(&type->fields[i]));
	at->depth--;
}

Test(contract, no_message_type_is_recursive)
{
	for (size_t i = 0; services[i]; i++) {
		for (unsigned k = 0; k < services[i]->n_methods; k++) {
			Walk at = { .depth = 0 };

			walk(&at, services[i]->methods[k].input);
		}
	}
}

Test(contract, every_request_about_a_vm_begins_with_its_id)
{
	const ProtobufCServiceDescriptor *vms = &hearth__v1__vm_service__descriptor;
	const ProtobufCServiceDescriptor *egress = &hearth__v1__egress_service__descriptor;

	for (unsigned i = 0; i < vms->n_methods + egress->n_methods; i++) {
		const ProtobufCMessageDescriptor *input =
			i < vms->n_methods ? vms->methods[i].input
					   : egress->methods[i - vms->n_methods].input;
		const ProtobufCFieldDescriptor *field =
			protobuf_c_message_descriptor_get_field_by_name(input, "vm_id");

		if (input == &hearth__v1__list_vms_request__descriptor ||
		    input == &hearth__v1__watch_vms_request__descriptor)
			continue;

		cr_assert(field, "%s", input->name);
		cr_assert_eq(field->id, 1, "%s", input->name);
		cr_assert_eq(field->type, PROTOBUF_C_TYPE_STRING, "%s", input->name);
	}
}

/* Verbs share their first fields: one macro fills a VmCall from each of them. */
Test(contract, mutations_of_a_vm_carry_the_same_guards_under_the_same_numbers)
{
	static const ProtobufCMessageDescriptor *const mutations[] = {
		&hearth__v1__start_vm_request__descriptor,
		&hearth__v1__stop_vm_request__descriptor,
		&hearth__v1__pause_vm_request__descriptor,
		&hearth__v1__resume_vm_request__descriptor,
		&hearth__v1__destroy_vm_request__descriptor,
		&hearth__v1__update_vm_request__descriptor,
		&hearth__v1__set_egress_policy_request__descriptor,
		NULL,
	};
	static const char *const names[] = {
		"expected_uid",
		"expected_revision",
		"expected_generation",
		"validate_only",
	};

	for (size_t i = 0; mutations[i]; i++) {
		for (size_t k = 0; k < array_size(names); k++) {
			const ProtobufCFieldDescriptor *field =
				protobuf_c_message_descriptor_get_field_by_name(mutations[i],
										names[k]);

			cr_assert(field, "%s %s", mutations[i]->name, names[k]);
			cr_assert_eq(field->id, k + 2, "%s %s", mutations[i]->name, names[k]);
		}
	}
}

/* The enums a message and those within it use. NOLINTNEXTLINE(misc-no-recursion) */
static void check_enums(const ProtobufCMessageDescriptor *type)
{
	for (unsigned i = 0; i < type->n_fields; i++) {
		const ProtobufCFieldDescriptor *field = &type->fields[i];
		const ProtobufCEnumDescriptor *values = field->descriptor;

		if (sub_message(field))
			check_enums(sub_message(field));
		if (field->type != PROTOBUF_C_TYPE_ENUM)
			continue;
		cr_assert_eq(values->values[0].value, 0, "%s", values->name);
		cr_assert(strstr(values->values[0].name, "_UNSPECIFIED"), "%s", values->name);
	}
}

Test(contract, enums_begin_with_unspecified)
{
	check_enums(&hearth__v1__vm__descriptor);
	check_enums(&hearth__v1__vm_event__descriptor);
	check_enums(&hearth__v1__node__descriptor);
	for (size_t i = 0; i < 3; i++)
		for (unsigned k = 0; k < services[i]->n_methods; k++)
			check_enums(services[i]->methods[k].input);
}
