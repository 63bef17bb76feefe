/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/reflection.h"

#include "agent/call.h"
#include "agent/descriptors.h"
#include "agent/lend.h"

#include <grpc/reflection/v1/reflection.pb-c.h>
#include <grpc/status.h>

typedef Grpc__Reflection__V1__ServerReflectionRequest Request;
typedef Grpc__Reflection__V1__ServerReflectionResponse Response;
typedef Grpc__Reflection__V1__ServiceResponse ServiceName;
typedef Grpc__Reflection__V1__ServerReflection_Service Service;

#define ASKED(what) GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_##what
#define ANSWER(what) GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_##what

/* What handlers are given: once for each version of the service. */
typedef struct Version {
	Service service;
	Reflection *reflection;
} Version;

struct Reflection {
	const MethodTable *methods;
	Version v1, alpha;
	ProtobufCServiceDescriptor alpha_descriptor;
};

static void send(Call *call, const Request *request, Response *response)
{
	Request echo = *request;

	response->valid_host = echo.host;
	response->original_request = &echo;
	call_write(call, &response->base);
	response->original_request = NULL;
}

static void send_error(Call *call, const Request *request, grpc_status_code code, char *message)
{
	Grpc__Reflection__V1__ErrorResponse error;
	Response response;

	grpc__reflection__v1__error_response__init(&error);
	grpc__reflection__v1__server_reflection_response__init(&response);
	error.error_code = (int32_t)code;
	error.error_message = message;
	response.message_response_case = ANSWER(ERROR_RESPONSE);
	response.error_response = &error;
	send(call, request, &response);
}

static void send_services(Call *call, const Request *request, const MethodTable *methods)
{
	Grpc__Reflection__V1__ListServiceResponse list;
	Response response;
	cleanup_free ServiceName *names = new0_array(ServiceName, methods->service_count);
	cleanup_free ServiceName **pointers = new0_array(ServiceName *, methods->service_count);

	grpc__reflection__v1__list_service_response__init(&list);
	grpc__reflection__v1__server_reflection_response__init(&response);
	for (size_t i = 0; i < methods->service_count; i++) {
		const char *name = methods->services[i]->descriptor->name;

		grpc__reflection__v1__service_response__init(&names[i]);
		names[i].name = lend(name);
		pointers[i] = &names[i];
	}
	list.n_service = methods->service_count;
	list.service = pointers;
	response.message_response_case = ANSWER(LIST_SERVICES_RESPONSE);
	response.list_services_response = &list;
	send(call, request, &response);
}

/* A file and, through imports, all it depends on, each once. */
typedef struct Closure {
	const DescriptorFile **files; /* room for all there are */
	size_t count;
} Closure;

static void closure_add(Closure *closure, const DescriptorFile *file)
{
	for (size_t i = 0; i < closure->count; i++)
		if (closure->files[i] == file)
			return;
	closure->files[closure->count++] = file;
}

static void send_file(Call *call, const Request *request, const DescriptorSet *set,
		      const DescriptorFile *file)
{
	cleanup_free const DescriptorFile **files = new0_array(const DescriptorFile *, set->n_file);
	cleanup_free ProtobufCBinaryData *packed = new0_array(ProtobufCBinaryData, set->n_file);
	Closure closure = { .files = files };
	Grpc__Reflection__V1__FileDescriptorResponse answer;
	Response response;

	closure_add(&closure, file);
	for (size_t i = 0; i < closure.count; i++) /* it grows meanwhile */
		for (size_t k = 0; k < files[i]->n_dependency; k++)
			closure_add(&closure, descriptors_file(set, files[i]->dependency[k]));
	for (size_t i = 0; i < closure.count; i++) {
		packed[i].data = must_calloc(
			1, google__protobuf__file_descriptor_proto__get_packed_size(files[i]));
		packed[i].len =
			google__protobuf__file_descriptor_proto__pack(files[i], packed[i].data);
	}
	grpc__reflection__v1__file_descriptor_response__init(&answer);
	grpc__reflection__v1__server_reflection_response__init(&response);
	answer.n_file_descriptor_proto = closure.count;
	answer.file_descriptor_proto = packed;
	response.message_response_case = ANSWER(FILE_DESCRIPTOR_RESPONSE);
	response.file_descriptor_response = &answer;
	send(call, request, &response);
	for (size_t i = 0; i < closure.count; i++)
		free(packed[i].data);
}

static void answer_file(Call *call, const Request *request)
{
	cleanup_(descriptors_closep) DescriptorSet *set = descriptors_open();
	const DescriptorFile *file;

	if (request->message_request_case == ASKED(FILE_BY_FILENAME))
		file = descriptors_file(set, request->file_by_filename);
	else
		file = descriptors_file_of(set, request->file_containing_symbol);
	if (file)
		send_file(call, request, set, file);
	else
		send_error(call, request, GRPC_STATUS_NOT_FOUND, (char[]){ "not found" });
}

static void server_reflection_info(Service *service, const Request *request,
				   Grpc__Reflection__V1__ServerReflectionResponse_Closure closure,
				   void *data)
{
	const Version *version = container_of(service, Version, service);

	(void)closure;
	if (!request) {
		call_finish(data);
		return;
	}
	switch (request->message_request_case) {
	case ASKED(LIST_SERVICES):
		send_services(data, request, version->reflection->methods);
		break;
	case ASKED(FILE_BY_FILENAME):
	case ASKED(FILE_CONTAINING_SYMBOL):
		answer_file(data, request);
		break;
	default: /* proto3 has no extensions */
		send_error(data, request, GRPC_STATUS_UNIMPLEMENTED, (char[]){ "no extensions" });
	}
}

static void version_init(Version *version, Reflection *reflection)
{
	grpc__reflection__v1__server_reflection__init(&version->service, NULL);
	version->service.server_reflection_info = server_reflection_info;
	version->reflection = reflection;
}

Reflection *reflection_new(const MethodTable *methods)
{
	Reflection *reflection = new0(Reflection);

	reflection->methods = methods;
	version_init(&reflection->v1, reflection);
	version_init(&reflection->alpha, reflection);
	reflection->alpha_descriptor = grpc__reflection__v1__server_reflection__descriptor;
	reflection->alpha_descriptor.name = "grpc.reflection.v1alpha.ServerReflection";
	reflection->alpha.service.base.descriptor = &reflection->alpha_descriptor;
	return reflection;
}

void reflection_free(Reflection *reflection)
{
	free(reflection);
}

ProtobufCService *reflection_service(Reflection *reflection)
{
	return &reflection->v1.service.base;
}

ProtobufCService *reflection_service_alpha(Reflection *reflection)
{
	return &reflection->alpha.service.base;
}
