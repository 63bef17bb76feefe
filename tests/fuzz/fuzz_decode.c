/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Requests from arbitrary bytes. The first byte chooses the method's request
 * type and strictness. What the scan lets through, protobuf-c must unpack
 * within its budget, or refuse for memory alone; and what it gave, packed
 * again, must pass once more.
 */

#include "agent/decode.h"
#include "agent/scan.h"

#include <assert.h>
#include <grpc/reflection/v1/reflection.pb-c.h>
#include <hearth/v1/egress.pb-c.h>
#include <hearth/v1/node.pb-c.h>
#include <hearth/v1/vm.pb-c.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const ProtobufCServiceDescriptor *const services[] = {
	&hearth__v1__vm_service__descriptor,
	&hearth__v1__node_service__descriptor,
	&hearth__v1__egress_service__descriptor,
	&grpc__reflection__v1__server_reflection__descriptor,
};

static const ProtobufCMessageDescriptor *choose(unsigned number)
{
	unsigned total = 0;

	for (size_t i = 0; i < array_size(services); i++)
		total += services[i]->n_methods;
	number %= total;
	for (size_t i = 0; i < array_size(services); i++) {
		if (number < services[i]->n_methods)
			return services[i]->methods[number].input;
		number -= services[i]->n_methods;
	}
	return NULL;
}

static void pack_again(const ProtobufCMessageDescriptor *type, const ProtobufCMessage *message)
{
	size_t size = protobuf_c_message_get_packed_size(message);
	cleanup_free uint8_t *bytes = must_calloc(1, size);
	Error err = { 0 };
	int r;

	(void)protobuf_c_message_pack(message, bytes);
	r = scan_message(type, bytes, size, false, &err);
	assert(r == 0);
	(void)r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	Method method = { 0 };
	ProtobufCMessage *message = NULL;
	Error err = { 0 };
	Arena arena;

	if (!size)
		return 0;
	method.input = choose(data[0] >> 1);
	method.mutates = data[0] & 1;
	if (decode(&message, &arena, &method, data + 1, size - 1, &err) == 0)
		pack_again(method.input, message);
	else if (err.violation_count == 1 && strstr(err.what, "too much memory"))
		assert(size > 1000);
	arena_clear(&arena);
	return 0;
}
