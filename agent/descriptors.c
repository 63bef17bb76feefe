/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/descriptors.h"

#include <string.h>

/* Generated; see cmake/embed.cmake. */
extern const unsigned char proto_descriptors[];
extern const size_t proto_descriptors_size;

typedef Google__Protobuf__DescriptorProto Message;
typedef Google__Protobuf__EnumDescriptorProto Enum;
typedef Google__Protobuf__ServiceDescriptorProto Service;

DescriptorSet *descriptors_open(void)
{
	DescriptorSet *set = google__protobuf__file_descriptor_set__unpack(
		NULL, proto_descriptors_size, proto_descriptors);

	if (!set)
		abort(); /* built in: broken, or no memory */
	return set;
}

void descriptors_close(DescriptorSet *set)
{
	google__protobuf__file_descriptor_set__free_unpacked(set, NULL);
}

/*
 * What remains of @name after the prefix @scope and a dot: "" if it is @scope
 * itself, NULL if it lies elsewhere. The empty scope contains everything.
 */
static const char *within(const char *name, const char *scope)
{
	size_t length = scope ? strlen(scope) : 0;

	if (!length)
		return name;
	if (strncmp(name, scope, length) != 0)
		return NULL;
	if (name[length] == '\0')
		return name + length;
	return name[length] == '.' ? name + length + 1 : NULL;
}

static bool enum_has(const Enum *type, const char *name)
{
	const char *rest = within(name, type->name);

	if (!rest)
		return false;
	for (size_t i = 0; i < type->n_value; i++)
		if (strcmp(type->value[i]->name, rest) == 0)
			return true;
	return *rest == '\0';
}

/* NOLINTNEXTLINE(misc-no-recursion): as deep as the contract's own messages nest */
static bool message_has(const Message *type, const char *name)
{
	const char *rest = within(name, type->name);

	if (!rest)
		return false;
	if (*rest == '\0')
		return true;
	for (size_t i = 0; i < type->n_field; i++)
		if (strcmp(type->field[i]->name, rest) == 0)
			return true;
	for (size_t i = 0; i < type->n_enum_type; i++)
		if (enum_has(type->enum_type[i], rest))
			return true;
	for (size_t i = 0; i < type->n_nested_type; i++)
		if (message_has(type->nested_type[i], rest))
			return true;
	return false;
}

static bool service_has(const Service *service, const char *name)
{
	const char *rest = within(name, service->name);

	if (!rest)
		return false;
	for (size_t i = 0; i < service->n_method; i++)
		if (strcmp(service->method[i]->name, rest) == 0)
			return true;
	return *rest == '\0';
}

static bool file_has(const DescriptorFile *file, const char *symbol)
{
	const char *rest = within(symbol, file->package);

	if (!rest || *rest == '\0')
		return false;
	for (size_t i = 0; i < file->n_service; i++)
		if (service_has(file->service[i], rest))
			return true;
	for (size_t i = 0; i < file->n_message_type; i++)
		if (message_has(file->message_type[i], rest))
			return true;
	for (size_t i = 0; i < file->n_enum_type; i++)
		if (enum_has(file->enum_type[i], rest))
			return true;
	return false;
}

static const Google__Protobuf__MethodDescriptorProto *method_in(const Service *service,
								const char *name)
{
	for (size_t i = 0; i < service->n_method; i++)
		if (strcmp(service->method[i]->name, name) == 0)
			return service->method[i];
	return NULL;
}

const Google__Protobuf__MethodDescriptorProto *
descriptors_method(const DescriptorSet *set, const char *service, const char *method)
{
	const DescriptorFile *file = descriptors_file_of(set, service);

	for (size_t i = 0; file && i < file->n_service; i++) {
		const char *rest = within(service, file->package);

		if (strcmp(file->service[i]->name, rest) == 0)
			return method_in(file->service[i], method);
	}
	return NULL;
}

const DescriptorFile *descriptors_file(const DescriptorSet *set, const char *name)
{
	for (size_t i = 0; i < set->n_file; i++)
		if (strcmp(set->file[i]->name, name) == 0)
			return set->file[i];
	return NULL;
}

const DescriptorFile *descriptors_file_of(const DescriptorSet *set, const char *symbol)
{
	for (size_t i = 0; i < set->n_file; i++)
		if (file_has(set->file[i], symbol))
			return set->file[i];
	return NULL;
}
