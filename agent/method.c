/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/method.h"

#include "agent/descriptors.h"
#include "base/text.h"

#include <assert.h>
#include <string.h>

/* Methods that begin with one of these change nothing. */
static const char *const reads[] = {
	"Get",    "List",    "Watch", "Wait",     "Read",
	"Doctor", "Explain", "Check", "Diagnose", "ServerReflectionInfo",
};

static bool is_read(const char *name)
{
	for (size_t i = 0; i < array_size(reads); i++)
		if (strncmp(name, reads[i], strlen(reads[i])) == 0)
			return true;
	return false;
}

/* protobuf-c lays a service's handlers out behind its base, in the descriptor's order. */
static bool has_handler(const ProtobufCService *service, unsigned index)
{
	void (*handler)(void);

	memcpy(&handler, (const char *)(service + 1) + index * sizeof handler, sizeof handler);
	return handler != NULL;
}

static void row_fill(Method *row, const DescriptorSet *set, ProtobufCService *service,
		     unsigned index)
{
	const char *owner = service->descriptor->name;
	const ProtobufCMethodDescriptor *method = &service->descriptor->methods[index];
	const Google__Protobuf__MethodDescriptorProto *known =
		descriptors_method(set, owner, method->name);

	char *path = text_printf("/%s/%s", owner, method->name);

	assert(known && has_handler(service, index));
	*row = (Method){
		.service = service,
		.index = index,
		.path = path,
		.input = method->input,
		.vm_id = protobuf_c_message_descriptor_get_field_by_name(method->input, "vm_id"),
		.requests_stream = known->client_streaming,
		.replies_stream = known->server_streaming,
		.mutates = !is_read(method->name),
		.needs = role_needed(path, !is_read(method->name)),
		.urgent = strcmp(owner, "grpc.health.v1.Health") == 0 && !known->server_streaming,
	};
}

void methods_add(MethodTable *table, ProtobufCService *service)
{
	cleanup_(descriptors_closep) DescriptorSet *set = descriptors_open();
	unsigned count = service->descriptor->n_methods;

	table->services =
		must_realloc(table->services, table->service_count + 1, sizeof(ProtobufCService *));
	table->services[table->service_count++] = service;
	table->rows = must_realloc(table->rows, table->count + count, sizeof(Method));
	for (unsigned i = 0; i < count; i++)
		row_fill(&table->rows[table->count++], set, service, i);
}

void methods_inspect(MethodTable *table, const char *path, MethodInspect *inspect)
{
	for (size_t i = 0; i < table->count; i++)
		if (strcmp(table->rows[i].path, path) == 0)
			table->rows[i].inspect = inspect;
}

void methods_clear(MethodTable *table)
{
	for (size_t i = 0; i < table->count; i++)
		free(table->rows[i].path);
	free(table->rows);
	free(table->services);
	*table = (MethodTable){ 0 };
}

void method_invoke(const Method *method, const ProtobufCMessage *request, void *call)
{
	method->service->invoke(method->service, method->index, request, NULL, call);
}
