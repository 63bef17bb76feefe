/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Checks that requests have in common. Each adds its violations to an Error,
 * so that a caller hears of every bad field at once; request_fail() tells it.
 * Values are never echoed: they may be long, or no text at all.
 */

#include "agent/call.h"
#include "runtime/runtime.h"

#include <google/protobuf/duration.pb-c.h>
#include <google/protobuf/field_mask.pb-c.h>
#include <hearth/v1/vm.pb-c.h>

enum {
	REQUEST_PAGE_SIZE = 100,
	REQUEST_PAGE_SIZE_MAX = 1000,
	REQUEST_REASON_MAX = 255, /* bytes of a cordon's */
};

/* The prefix that all requests for a verb share. */
#define REQUEST_VM_CALL(request)                                       \
	((VmCall){                                                     \
		.vm_id = (request)->vm_id,                             \
		.expected_uid = (request)->expected_uid,               \
		.expected_revision = (request)->expected_revision,     \
		.expected_generation = (request)->expected_generation, \
		.validate_only = (request)->validate_only,             \
	})

void request_check_vm_id(const char *vm_id, Error *err);
/* Of what else is called as VMs are: a snapshot, a template. */
void request_check_id(const char *field, const char *id, Error *err);
/* Empty is fine for these. */
void request_check_uid(const char *uid, Error *err);
void request_check_tenant(const char *tenant, Error *err);
/* 1 to 63 bytes of [A-Za-z0-9._/-]. */
void request_check_owner(const char *owner, Error *err);
/* Why, of a cordon: 0 to REQUEST_REASON_MAX bytes. */
void request_check_reason(const char *reason, Error *err);

/* The page size meant by @asked. */
uint32_t request_page_size(uint32_t asked, Error *err);

/* Microseconds, or @unset if there is none; @max in seconds, as @min is. */
int64_t request_duration(const Google__Protobuf__Duration *duration, const char *field, int64_t min,
			 int64_t max, int64_t unset, Error *err);
/* bookmark_interval: 1 s to 1 h, by default 60 s. */
int64_t request_bookmark_interval(const Google__Protobuf__Duration *duration, Error *err);

/* RUNTIME_UPDATE_* of update_mask. */
unsigned request_update_mask(const Google__Protobuf__FieldMask *mask, Error *err);

/* Bits (1 << state) of @states, none of which may be unspecified. */
unsigned request_states(const Hearth__V1__VmState *states, size_t count, Error *err);

/* If @err is set: fails @call with it, about @vm_id if that is one; else answers false. */
bool request_fail(Call *call, const char *vm_id, Error *err);
