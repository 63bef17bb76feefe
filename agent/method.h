/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The methods of a server, one row each: from protobuf-c's service
 * descriptors, with what streams from the embedded descriptor set. Filled
 * before the server starts, read-only from then on.
 */

#include "agent/call.h"
#include "agent/roles.h"

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>

/* Says what else is wrong with a request whose values were refused already (@err): ends the call.
 */
typedef void MethodInspect(Call *call, const ProtobufCMessage *request, Error *err);

typedef struct Method {
	ProtobufCService *service;
	unsigned index;
	char *path; /* "/hearth.v1.VmService/GetVm" */
	const ProtobufCMessageDescriptor *input;
	const ProtobufCFieldDescriptor *vm_id; /* of the input, or NULL */
	MethodInspect *inspect;                /* or NULL */
	Role needs;                            /* of whoever calls it */
	bool requests_stream;
	bool replies_stream;
	bool mutates;     /* fields not known are refused rather than ignored */
	bool urgent;      /* answered even when max_calls are in flight */
	void *registered; /* gRPC core's handle */
} Method;

typedef struct MethodTable {
	Method *rows;
	size_t count;
	ProtobufCService **services;
	size_t service_count;
} MethodTable;

/* Every method of @service must have a handler and stand in the descriptor set. */
void methods_add(MethodTable *table, ProtobufCService *service);
/* @path's requests are inspected further when they are refused. */
void methods_inspect(MethodTable *table, const char *path, MethodInspect *inspect);
void methods_clear(MethodTable *table);

/* Calls the handler; @request is NULL once a client that streams has sent its last message. */
void method_invoke(const Method *method, const ProtobufCMessage *request, void *call);
