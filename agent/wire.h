/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Between the API's messages and the runtime's structures.
 *
 * Field tables are paired with protobuf-c's descriptors by name, once; a
 * conversion then walks the pairs. A field of the API without a row, or a row
 * without a field, ends the agent at the first use, and so fails every test.
 * Safe from any thread.
 *
 * Answers live in an Arena (arena_init(&arena, SIZE_MAX)) and borrow their
 * texts from the record: pack them before either goes.
 */

#include "agent/arena.h"
#include "runtime/store.h"
#include "runtime/vmm_metrics.h"

#include <hearth/v1/vm.pb-c.h>

Hearth__V1__Vm *wire_vm(Arena *arena, const VmRecord *record);

/* @with_vm: as WatchVms has it, with the whole VM; else as ListVmEvents has it. */
Hearth__V1__VmEvent *wire_event(Arena *arena, const Change *change, bool with_vm);
/* As ListVmEvents has it. */
Hearth__V1__VmEvent *wire_store_event(Arena *arena, const StoreEvent *event);

/**
 * wire_spec() - @message as a spec with one reference; all unset for NULL
 * @path:	of the message in its request, such as "spec"
 * @err:	a violation is added for each time and duration that is none
 *
 * spec_check() finds the rest, so call both before looking at @err.
 * Digits below a microsecond are cut off.
 */
VmSpec *wire_spec(const Hearth__V1__VmSpec *message, const char *path, Error *err);

/* The same of a policy; NULL for NULL. The caller's to clear (vm_egress_policy_table) and free. */
VmEgressPolicy *wire_take_egress(const Hearth__V1__EgressPolicy *message, const char *path,
				 Error *err);
/* @policy as a message; NULL for NULL. */
Hearth__V1__EgressPolicy *wire_egress(Arena *arena, const VmEgressPolicy *policy);

/* @spec as a message; NULL for NULL. */
Hearth__V1__VmSpec *wire_spec_message(Arena *arena, const VmSpec *spec);

/* These fill @to, which need not have been initialised. */
void wire_time(Google__Protobuf__Timestamp *to, int64_t usec);
void wire_usage(Hearth__V1__Usage *to, const VmUsage *from);
